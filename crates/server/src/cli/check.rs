//! `tercel check`: what is wrong with a folder, with file and line, without running anything of it.

use super::{
    python::Python,
    terminal::{Ink, harmless, say},
};
use crate::config::Config;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

mod manifest;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder
    #[arg(required_unless_present = "python_path")]
    folder: Option<PathBuf>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    /// Print what PYTHONPATH has to be for tests of a Python folder, and look at nothing
    #[arg(long, conflicts_with_all = ["folder", "json"])]
    python_path: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    /// Below the folder; `.` is the folder itself.
    file: String,
    line: Option<u32>,
    level: Level,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warning,
}

#[derive(Serialize, Deserialize)]
struct Report {
    problems: Vec<Found>,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let Some(folder) = arguments.folder else {
        say(&Python::find(&config).await?.source.display().to_string())?;
        return Ok(ExitCode::SUCCESS);
    };
    let folder = folder.canonicalize().with_context(|| format!("There is no {}", folder.display()))?;
    if !folder.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    if folder.join("mod.rs").is_file() {
        bail!("{} is written in Rust: `cargo clippy` and its own tests say what is wrong with it", folder.display());
    }
    let found = match manifest::look(&folder)? {
        Some(found) => found,
        None => python(&config, &folder).await?,
    };
    match arguments.json {
        true => say(&serde_json::to_string_pretty(&Report { problems: found.clone() })?)?,
        false => say(&shown(&folder, &found, Ink::of_output()))?,
    }
    let failed = found.iter().any(|one| one.level == Level::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn python(config: &Config, folder: &Path) -> Result<Vec<Found>> {
    let mut command = Python::find(config).await?.command();
    command.args(["-B", "-m", "tercel_worker.check"]).arg(folder);
    let output = command.output().await.context("Python cannot be started")?;
    if !output.status.success() {
        bail!("The check of {} failed: {}", folder.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let report: Report = serde_json::from_slice(&output.stdout).context("The check did not answer in JSON")?;
    Ok(report.problems)
}

fn shown(folder: &Path, found: &[Found], ink: Ink) -> String {
    let mut lines: Vec<String> = found
        .iter()
        .map(|one| {
            let place = match (one.file.as_str(), one.line) {
                (".", _) => folder.display().to_string(),
                (file, Some(line)) => format!("{file}:{line}"),
                (file, None) => file.to_owned(),
            };
            let level = match one.level {
                Level::Error => ink.bad("error"),
                Level::Warning => ink.doubtful("warning"),
            };
            format!("{}: {level}: {}", ink.bold(&harmless(&place)), harmless(&one.message))
        })
        .collect();
    let errors = found.iter().filter(|one| one.level == Level::Error).count();
    let warnings = found.len() - errors;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    lines.push(match (errors, warnings) {
        (0, 0) => ink.good("Nothing is wrong with it"),
        (0, _) => format!("{}; it loads", count(warnings, "warning")),
        _ => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, line: Option<u32>, level: Level) -> Found {
        Found { file: file.into(), line, level, message: "no\u{1b}pe".into() }
    }

    #[test]
    fn what_was_found_stands_where_editors_jump_to() {
        let folder = Path::new("board");
        let all = [found("a.py", Some(3), Level::Error), found(".", None, Level::Warning)];
        assert_eq!(
            shown(folder, &all, Ink::Plain),
            "a.py:3: error: nope\nboard: warning: nope\n1 error, 1 warning"
        );
        assert_eq!(shown(folder, &all[1..], Ink::Plain), "board: warning: nope\n1 warning; it loads");
        assert_eq!(shown(folder, &[], Ink::Plain), "Nothing is wrong with it");
    }
}
