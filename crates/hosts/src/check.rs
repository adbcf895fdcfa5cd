//! What is wrong with a folder, found without a server and without running anything of it.

mod declared;
mod node;
mod skills;

use crate::{
    Fixtures, Problem, environment,
    load::{self, has_python},
    manifest::{self, FILE, Manifest},
    recording,
};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Below the folder; `.` is the folder itself.
    pub file: String,
    pub line: Option<u32>,
    pub level: Level,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It does not work.
    Error,
    /// It works, and will hurt somebody.
    Warning,
}

#[derive(Deserialize)]
struct Report {
    problems: Vec<Finding>,
}

const NAMES: [&str; 5] = ["python3", "python3.11", "python3.12", "python3.13", "python3.14"];

/// Looks at a folder. The worker package is put into `directory`; programs are looked for in `path`.
///
/// # Errors
/// When there is nothing to look with, or the folder cannot be read.
pub async fn check(folder: &Path, directory: &Path, path: &str) -> Result<Vec<Finding>> {
    let id = folder.file_name().and_then(|name| name.to_str()).context("The folder has no name")?;
    let manifest = manifest::read(id, folder, has_python(folder));
    let is_manifest_only = matches!(&manifest, Some(Ok(read)) if read.command.is_empty() && !has_python(folder));
    let mut found = match manifest {
        Some(Err(problems)) => told(problems),
        Some(Ok(read)) => {
            let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
            let mut found = declared::look(id, folder, &text, &read, path);
            if is_manifest_only {
                found.extend(told(without_code(id, folder, &read).await));
            }
            found
        }
        None => Vec::new(),
    };
    found.extend(skills::look(id, folder));
    if !is_manifest_only {
        found.extend(told(Fixtures::read(folder).problems));
        found.extend(node::look(folder, path).await?);
        found.extend(by_python(folder, directory, path).await?);
    }
    Ok(found)
}

/// Of one that is written in Rust, what is not the compiler's: fixtures and skills, and whether it is built at all.
///
/// # Errors
/// When the folder has no name.
pub fn check_native(folder: &Path) -> Result<Vec<Finding>> {
    let id = folder.file_name().and_then(|name| name.to_str()).context("The folder has no name")?;
    let mut found = told(Fixtures::read(folder).problems);
    found.extend(skills::look(id, folder));
    if let Ok(list) = fs::read_to_string(folder.with_file_name("lib.rs")) {
        for wanted in [format!("mod {id};"), format!("{id}::integration()")] {
            if !list.contains(&wanted) {
                let message = format!("Nothing builds this folder: `{wanted}` is not in the file beside it, lib.rs");
                found.push(Finding { file: "mod.rs".into(), line: Some(1), level: Level::Error, message });
            }
        }
    }
    Ok(found)
}

/// What is wrong with a folder that has no code, and what it does otherwise than when it was recorded.
async fn without_code(id: &str, folder: &Path, manifest: &Manifest) -> Vec<Problem> {
    let (integration, mut problems) = load::of_manifest(id, manifest, folder);
    for (file, recording) in recording::recordings(folder).0 {
        if let Err(wrong) = recording::replay(&integration, &recording).await {
            problems.push(Problem::new(file, wrong.to_string()));
        }
    }
    problems
}

fn told(problems: Vec<Problem>) -> Vec<Finding> {
    let told = |Problem { file, line, message }: Problem| Finding { file, line, level: Level::Error, message };
    problems.into_iter().map(told).collect()
}

/// A program by its name.
fn program(name: &str, path: &str) -> Option<PathBuf> {
    path.split(':').map(|place| Path::new(place).join(name)).find(|file| file.is_file())
}

async fn by_python(folder: &Path, directory: &Path, path: &str) -> Result<Vec<Finding>> {
    let modules = python_path(directory)?;
    let interpreter = match interpreter(path).await {
        Err(_) if !has_python(folder) => return Ok(Vec::new()),
        found => found?,
    };
    let mut command = Command::new(interpreter);
    command.args(["-B", "-m", "tercel_worker.check"]).arg(folder).env_clear().env("PYTHONPATH", modules);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("Python cannot be started")?;
    if !output.status.success() {
        bail!("{} could not be looked at: {}", folder.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let report: Report = serde_json::from_slice(&output.stdout).context("The check did not answer in JSON")?;
    Ok(report.problems)
}

/// Puts the worker package into a directory; what `PYTHONPATH` has to be.
///
/// # Errors
/// When the directory cannot be written.
pub fn python_path(directory: &Path) -> Result<PathBuf> {
    let cannot = || format!("The Python package cannot be put into {}", directory.display());
    Ok(environment::unpacked(directory).with_context(cannot)?.0)
}

/// The first Python that is new enough. Nothing of the folder runs in it, so that whose it is does not matter.
async fn interpreter(path: &str) -> Result<PathBuf> {
    const QUESTION: &str = "import sys; sys.exit(sys.version_info < (3, 11))";
    let programs = NAMES.iter().flat_map(|name| path.split(':').map(move |place| Path::new(place).join(name)));
    for program in programs.filter(|program| program.is_file()) {
        let mut command = Command::new(&program);
        command.args(["-I", "-c", QUESTION]).env_clear().env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        if command.status().await.is_ok_and(|status| status.success()) {
            return Ok(program);
        }
    }
    bail!("A check needs Python 3.11 or newer, and there is none in {path}")
}
