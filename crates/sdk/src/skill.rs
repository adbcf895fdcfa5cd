//! Skill documents: Markdown with a front matter.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// `integrations/<name>/<stem>`.
    pub id: String,
    pub name: String,
    pub description: String,
    /// Without the front matter.
    pub content: String,
}

#[derive(Default, Deserialize)]
struct FrontMatter {
    name: Option<String>,
    #[serde(default)]
    description: String,
}

impl Skill {
    /// Reads `skills/<stem>.md` of an integration.
    ///
    /// # Errors
    /// `schema` when the front matter is not YAML.
    pub fn parse(integration: &str, stem: &str, text: &str) -> Result<Self> {
        let (front, content) = split_front_matter(text);
        let front: FrontMatter = match front {
            Some(yaml) if !yaml.trim().is_empty() => serde_saphyr::from_str(yaml)
                .map_err(|e| Error::schema(format!("The front matter of skill `{stem}` is not valid: {e}")))?,
            _ => FrontMatter::default(),
        };
        Ok(Self {
            id: format!("integrations/{integration}/{stem}"),
            name: front.name.unwrap_or_else(|| stem.into()),
            description: front.description,
            content: content.trim().into(),
        })
    }
}

fn split_front_matter(text: &str) -> (Option<&str>, &str) {
    let text = text.trim_start_matches('\u{feff}');
    let Some(rest) = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n")) else { return (None, text) };
    match rest.find("\n---") {
        Some(end) => {
            let after = &rest[end + 4..];
            (Some(&rest[..end]), after.split_once('\n').map_or("", |(_, body)| body))
        }
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_read_and_cut_off() {
        let skill = Skill::parse("forge", "review", "---\nname: Review\ndescription: How to\n---\n# Body\n").unwrap();
        assert_eq!((skill.id.as_str(), skill.name.as_str()), ("integrations/forge/review", "Review"));
        assert_eq!((skill.description.as_str(), skill.content.as_str()), ("How to", "# Body"));
    }

    #[test]
    fn a_skill_needs_no_front_matter() {
        assert_eq!(Skill::parse("a", "b", "Just text --- here").unwrap().content, "Just text --- here");
    }
}
