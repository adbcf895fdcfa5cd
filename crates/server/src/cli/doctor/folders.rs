//! Where folders of integrations lie, and what is wrong with them.

use super::Finding;
use crate::{cli::client::Client, config::Config};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Directories that somebody named, or that are there all the same.
pub fn roots(config: &Config) -> Vec<Finding> {
    let folders = &config.folders;
    let workspace = folders.workspace.join("integrations");
    let usual = [PathBuf::from("integrations"), config.data_dir.join("integrations"), workspace];
    let usual = usual.into_iter().filter(|path| path.is_dir());
    let there = |path: PathBuf| Finding::ok("folders", format!("{} has {}", path.display(), count(&path)));
    let mut findings: Vec<Finding> = usual.map(there).collect();
    for (path, name) in folders
        .directories
        .iter()
        .map(|path| (path, "INTEGRATION_DIRS"))
        .chain(folders.tools.iter().map(|path| (path, "TOOL_DIRS")))
    {
        findings.push(match path.is_dir() {
            true => there(path.clone()),
            false => {
                let detail = format!("{} is not a directory", path.display());
                Finding::warn("folders", detail, format!("Make it, or take it out of {name}"))
            }
        });
    }
    findings
}

fn count(path: &Path) -> String {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let count = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with(['_', '.'])).count();
    match count {
        1 => "one entry".into(),
        count => format!("{count} entries"),
    }
}

/// What the running server says of its folders.
pub async fn problems(client: Option<&Client>) -> Vec<Finding> {
    let Some(client) = client else { return Vec::new() };
    let Ok(answer) = client.get("/api/v1/admin/integrations").await else { return Vec::new() };
    let all = answer["integrations"].as_array().cloned().unwrap_or_default();
    all.iter().filter_map(problem).collect()
}

fn problem(one: &Value) -> Option<Finding> {
    let text = |field: &str| one[field].as_str().unwrap_or_default();
    let id = text("id");
    let why = one["error"].as_str().or(one["worker"]["reason"].as_str());
    match text("status") {
        "error" => Some(Finding::warn(
            "folder",
            format!("`{id}`: {}", why.unwrap_or("it could not be loaded")),
            format!("Mend it in {}: it is loaded when it is saved", text("path")),
        )),
        "missing" => Some(Finding::warn(
            "folder",
            format!("`{id}` is missing: {} is gone", text("path")),
            format!("Put it back, or `tercel integrations remove {id}`"),
        )),
        "awaiting_approval" => Some(Finding::warn(
            "folder",
            format!("`{id}` waits for an approval: {}", text("path")),
            format!("Look at it, then `tercel integrations approve {id}`"),
        )),
        _ => None,
    }
}

/// What an interpreter may be called.
const PYTHONS: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/// What folders in Python need of the machine.
pub fn python(config: &Config) -> Finding {
    let found = |name: &str| {
        let mut places = config.folders.path.split(':').map(|place| Path::new(place).join(name));
        places.find(|path| path.is_file())
    };
    let python = PYTHONS.iter().find_map(|name| found(name));
    match (python, found("uv")) {
        (Some(python), Some(uv)) => {
            Finding::ok("python", format!("{}; packages are installed by {}", python.display(), uv.display()))
        }
        (Some(python), None) => Finding::ok(
            "python",
            format!("{}; uv, which installs packages, is fetched when it is needed", python.display()),
        ),
        (None, _) => Finding::warn(
            "python",
            "There is none: folders in Python cannot be loaded",
            "Install Python 3.11 or later; nothing else needs it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_folder_that_needs_somebody_is_told_with_what_mends_it() {
        let one =
            |status: &str| json!({"id": "forge", "status": status, "path": "/srv/forge", "error": "tools/a.py:3: no"});
        let told = |status: &str| problem(&one(status)).map(|finding| (finding.detail, finding.repair.unwrap()));
        assert_eq!(told("ready"), None);
        let (detail, repair) = told("error").unwrap();
        assert!(detail.contains("tools/a.py:3") && repair.contains("/srv/forge"), "{detail} {repair}");
        assert!(told("missing").unwrap().1.contains("tercel integrations remove forge"));
        assert!(told("awaiting_approval").unwrap().1.contains("tercel integrations approve forge"));
    }
}
