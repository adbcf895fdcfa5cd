//! The syntax of programs for Node, where there is one: it parses them and runs nothing.

use super::{Finding, Level};
use anyhow::Result;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// Files of the folder itself, tests among them.
pub async fn look(folder: &Path, path: &str) -> Result<Vec<Finding>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.is_file() && file.extension().is_some_and(|end| end == "mjs" || end == "cjs" || end == "js")
    });
    files.sort();
    let Some(node) = super::program("node", path).filter(|_| !files.is_empty()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for file in files {
        let mut command = Command::new(&node);
        command.arg("--check").arg(&file).current_dir(folder).env_clear().env("PATH", path);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        if !output.status.success() {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            found.push(complaint(&name, &String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(found)
}

/// `/path/worker.mjs:3`, the line, marks below it, and `SyntaxError: …`.
fn complaint(name: &str, said: &str) -> Finding {
    let line = said.lines().find_map(|line| line.rsplit_once(&format!("{name}:"))?.1.trim().parse().ok());
    let message = said.lines().find(|line| line.contains("Error: ")).unwrap_or("This cannot be read by Node");
    Finding { file: name.into(), line, level: Level::Error, message: message.trim().into() }
}
