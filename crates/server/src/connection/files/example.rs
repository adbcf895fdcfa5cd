//! `<id>.yaml.example`: what a connection file has in it, for people who copy it.

use std::{collections::BTreeMap, fs, path::Path};
use tercel_sdk::Integration;

/// By which an example of ours is known.
const MARK: &str = "# This file is gitignored — never commit the live credentials.";

/// Writes the example of an integration that has a form, unless somebody has one of their own there.
pub fn write(directory: &Path, integration: &Integration, written: &mut BTreeMap<String, String>) {
    if integration.fields.is_empty() {
        return;
    }
    let text = of(integration);
    if written.get(&integration.name) == Some(&text) {
        return;
    }
    let path = directory.join(format!("{}.yaml.example", integration.name));
    let there = fs::read_to_string(&path).ok();
    let is_ours = there.as_ref().is_none_or(|there| there.contains(MARK));
    if is_ours
        && there.as_ref() != Some(&text)
        && let Err(error) = fs::write(&path, &text)
    {
        tracing::warn!("{} cannot be written: {error}", path.display());
    }
    written.insert(integration.name.clone(), text);
}

fn of(integration: &Integration) -> String {
    let name = &integration.name;
    let mut text = format!(
        "# config/integrations/{name}.yaml.example\n\
         # Copy to config/integrations/{name}.yaml and fill in your credentials.\n{MARK}\n"
    );
    for field in &integration.fields {
        let words = if field.help.is_empty() { &field.label } else { &field.help };
        let needed = if field.required { " (required)" } else { "" };
        let default = field.default.as_deref().filter(|_| !field.secret).unwrap_or_default();
        let words = words.replace(['\n', '\r'], " ");
        text.push_str(&format!(
            "\n# {words}{needed}\n{}: {}\n",
            field.key,
            super::text::value_or_blank(field, default)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercel_sdk::Field;

    #[test]
    fn an_example_has_every_field_and_somebodys_own_stays() {
        let integration = Integration::new("crm")
            .field(Field::password("api_key", "API key").required().help("From crm.example"))
            .field(Field::url("url", "Address").default("https://crm.example"));
        let (place, mut written) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        let path = place.path().join("crm.yaml.example");
        write(place.path(), &integration, &mut written);
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.ends_with(
                "\n# From crm.example (required)\napi_key: \"\"\n\n# Address\nurl: \"https://crm.example\"\n"
            ),
            "{text}"
        );
        assert_eq!(super::super::text::parse(&text).unwrap().len(), 2);
        fs::write(&path, "mine: 1\n").unwrap();
        write(place.path(), &integration, &mut BTreeMap::new());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine: 1\n");
    }
}
