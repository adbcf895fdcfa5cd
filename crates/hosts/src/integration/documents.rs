//! What of a folder is no code: skills, the README, the icon, fixtures. It is there though nothing runs.

use crate::{Fixtures, Problem};
use std::{fs, io, path::Path};
use tercel_sdk::{Integration, Skill};

pub fn documents(id: &str, code: &Path) -> (Integration, Vec<Problem>) {
    let mut made = Integration::new(id);
    let mut problems = Vec::new();
    for stem in stems(&code.join("skills")) {
        let file = format!("skills/{stem}.md");
        match fs::read_to_string(code.join(&file)).map(|text| Skill::parse(id, &stem, &text)) {
            Ok(Ok(skill)) => made.skills.push(skill),
            Ok(Err(error)) => problems.push(Problem::new(file, error.message)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                problems.push(Problem::new(file, "is not UTF-8"))
            }
            Err(error) => problems.push(Problem::new(file, error.to_string())),
        }
    }
    made.readme = fs::read_to_string(code.join("README.md")).unwrap_or_default();
    if code.join("icon.svg").is_file() {
        made.icon = "icon.svg".into();
    }
    // Those that cannot be read hinder nothing but rehearsals.
    let fixtures = Fixtures::read(code);
    (made.samples, made.exchanges) = (fixtures.samples, fixtures.exchanges);
    (made, problems)
}

fn stems(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut stems: Vec<String> = names
        .filter(|name| !name.starts_with(['_', '.']))
        .filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()))
        .collect();
    stems.sort();
    stems
}
