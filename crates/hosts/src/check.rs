//! What is wrong with a folder, found without a server and without running anything of it.

use crate::{
    Problem, environment,
    load::{self, has_python},
    manifest::{self, FILE, Manifest},
    recording,
};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
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

/// Looks at a folder. The worker package is put into `directory`; interpreters are looked for in `path`.
///
/// # Errors
/// When there is nothing to look with, or the folder cannot be read.
pub async fn check(folder: &Path, directory: &Path, path: &str) -> Result<Vec<Finding>> {
    let id = folder.file_name().and_then(|name| name.to_str()).context("The folder has no name")?;
    let has_python = has_python(folder);
    let manifest = manifest::read(id, folder, has_python);
    let is_manifest_only = matches!(&manifest, Some(Ok(manifest)) if manifest.command.is_empty() && !has_python);
    let mut found = match manifest {
        Some(Err(problems)) => problems,
        Some(Ok(manifest)) if is_manifest_only => of_manifest(id, folder, &manifest).await,
        Some(Ok(_)) | None => Vec::new(),
    }
    .into_iter()
    .map(|problem| Finding { file: problem.file, line: problem.line, level: Level::Error, message: problem.message })
    .collect::<Vec<_>>();
    if is_manifest_only {
        return Ok(found);
    }
    found.extend(missing_program(id, folder));
    found.extend(by_python(folder, directory, path).await?);
    Ok(found)
}

/// What is wrong with a folder that has no code, and what it does otherwise than when it was recorded.
async fn of_manifest(id: &str, folder: &Path, manifest: &Manifest) -> Vec<Problem> {
    let (integration, mut problems) = load::of_manifest(id, manifest, folder);
    for (file, recording) in recording::recordings(folder).0 {
        if let Err(wrong) = recording::replay(&integration, &recording).await {
            problems.push(Problem::new(file, wrong.to_string()));
        }
    }
    problems
}

/// A worker whose command names a file that is not there.
fn missing_program(id: &str, folder: &Path) -> Option<Finding> {
    let manifest = manifest::read(id, folder, has_python(folder))?.ok()?;
    let is_file = |word: &&String| {
        let name = Path::new(word.as_str());
        name.is_relative() && name.extension().is_some()
    };
    let file = manifest.command.iter().skip(1).find(is_file)?;
    let message = format!("The command names `{file}`, which is not in this folder");
    let gone = !folder.join(file).is_file();
    gone.then(|| Finding { file: FILE.into(), line: None, level: Level::Error, message })
}

async fn by_python(folder: &Path, directory: &Path, path: &str) -> Result<Vec<Finding>> {
    let modules = python_path(directory)?;
    let mut command = Command::new(interpreter(path).await?);
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
