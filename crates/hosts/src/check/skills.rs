//! Skills whose front matter is none, or says nothing.

use super::{Finding, Level};
use std::{fs, path::Path};
use tercel_sdk::Skill;

pub fn look(id: &str, folder: &Path) -> Vec<Finding> {
    let Ok(entries) = fs::read_dir(folder.join("skills")) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let stems = names.iter().filter(|name| !name.starts_with(['_', '.'])).filter_map(|name| name.strip_suffix(".md"));
    stems.filter_map(|stem| skill(id, folder, stem)).collect()
}

fn skill(id: &str, folder: &Path, stem: &str) -> Option<Finding> {
    let file = format!("skills/{stem}.md");
    let finding =
        |line, level, message: &str| Some(Finding { file: file.clone(), line, level, message: message.into() });
    let text = match fs::read(folder.join(&file)).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = u32::try_from(before.iter().filter(|byte| **byte == b'\n').count() + 1).ok();
            return finding(line, Level::Error, "This is not UTF-8");
        }
        Err(error) => return finding(None, Level::Error, &format!("This cannot be read: {error}")),
    };
    if text.starts_with("---\n") && !text[4..].contains("\n---") {
        return finding(Some(1), Level::Error, "The front matter does not end: put a line `---` below it");
    }
    match Skill::parse(id, stem, &text) {
        Err(error) => {
            // Of the front matter, above which there is one line.
            let line = number_after(&error.message, "line ").map(|line| line + 1);
            finding(line.or(Some(2)), Level::Error, &error.message)
        }
        Ok(skill) if skill.content.is_empty() => finding(Some(1), Level::Warning, "There is nothing in this skill"),
        Ok(skill) if skill.description.trim().is_empty() => {
            let words = "There is no `description` in front, by which an agent would know when to read this";
            finding(Some(1), Level::Warning, words)
        }
        Ok(_) => None,
    }
}

fn number_after(text: &str, word: &str) -> Option<u32> {
    let (_, rest) = text.split_once(word)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) -> Option<(Option<u32>, Level, String)> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("skills")).unwrap();
        fs::write(folder.path().join("skills/a.md"), text).unwrap();
        let found = look("board", folder.path());
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next().map(|one| (one.line, one.level, one.message))
    }

    #[test]
    fn a_skill_that_says_what_it_is_has_nothing_wrong() {
        assert_eq!(check(b"---\nname: A\ndescription: When to read this\n---\nText\n"), None);
    }

    #[test]
    fn what_is_wrong_with_a_skill_is_told_with_its_line() {
        for (text, line, level, words) in [
            (&b"---\nname: [\n---\nText\n"[..], 2, Level::Error, "is not valid"),
            (b"---\nname: A\nText\n", 1, Level::Error, "does not end"),
            (b"Text\n", 1, Level::Warning, "no `description`"),
            (b"---\ndescription: d\n---\n", 1, Level::Warning, "nothing in this skill"),
            (b"---\n---\n\xff\n", 3, Level::Error, "not UTF-8"),
        ] {
            let (at, of, said) = check(text).unwrap();
            assert!(at.is_some() && (at, of) == (Some(line), level) && said.contains(words), "{at:?} {said}");
        }
    }
}
