//! `tercel check`: what is wrong with a folder, with file and line, without running anything of it.

use super::{
    places,
    terminal::{Ink, harmless, say},
};
use crate::config::Config;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use tercel_hosts::{Finding, Level};

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

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let Some(folder) = arguments.folder else {
        let modules = tercel_hosts::python_path(&places::environments(&config)?)?;
        say(&modules.display().to_string())?;
        return Ok(ExitCode::SUCCESS);
    };
    let folder = folder.canonicalize().with_context(|| format!("There is no {}", folder.display()))?;
    if !folder.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    let is_native = folder.join("mod.rs").is_file();
    let found = match is_native {
        true => tercel_hosts::check_native(&folder)?,
        false => {
            let package = tempfile::tempdir().context("No temporary directory can be made")?;
            tercel_hosts::check(&folder, package.path(), &config.folders.path).await?
        }
    };
    match arguments.json {
        true => say(&serde_json::to_string_pretty(&json!({"problems": found}))?)?,
        false => {
            say(&shown(&folder, &found, Ink::of_output()))?;
            if is_native {
                say("It is written in Rust: `cargo clippy` and its own tests say what is wrong with the code")?;
            }
        }
    }
    let failed = found.iter().any(|one| one.level == Level::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn shown(folder: &Path, found: &[Finding], ink: Ink) -> String {
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

    fn found(file: &str, line: Option<u32>, level: Level) -> Finding {
        Finding { file: file.into(), line, level, message: "no\u{1b}pe".into() }
    }

    #[test]
    fn what_was_found_stands_where_editors_jump_to() {
        let folder = Path::new("board");
        let all = [found("a.py", Some(3), Level::Error), found(".", None, Level::Warning)];
        assert_eq!(shown(folder, &all, Ink::Plain), "a.py:3: error: nope\nboard: warning: nope\n1 error, 1 warning");
        assert_eq!(shown(folder, &all[1..], Ink::Plain), "board: warning: nope\n1 warning; it loads");
        assert_eq!(shown(folder, &[], Ink::Plain), "Nothing is wrong with it");
    }
}
