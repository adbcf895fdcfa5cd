//! The program that makes environments: found on the machine, or installed beside them.

use super::{Environments, Interpreter};
use crate::{
    Ring,
    launch::{self, Launch, Limits, ending},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// A large package on a slow line takes minutes.
const LONGEST: Duration = Duration::from_secs(1800);
/// What is told of what a program printed.
const TOLD: usize = 600;

impl Environments {
    pub(super) async fn uv(&self, bare: &Interpreter, progress: &Ring) -> Result<PathBuf, String> {
        let _turn = self.0.uv.lock().await;
        let settings = &self.0.settings;
        let directories = settings.path.split(':').map(Path::new);
        if let Some(found) = directories.map(|directory| directory.join("uv")).find(|file| file.is_file()) {
            return Ok(found);
        }
        let own = settings.directory.join("uv");
        let program = own.join("bin/uv");
        if program.is_file() {
            return Ok(program);
        }
        progress.push("installing uv");
        let python = bare.program.display().to_string();
        self.run(&[&python, "-m", "venv", "--clear", &own.display().to_string()], progress).await.map_err(
            |reason| {
                format!(
                    "{python} cannot make environments ({reason}). Install its venv module, or uv: `pip install uv`"
                )
            },
        )?;
        let pip = own.join("bin/python").display().to_string();
        self.run(&[&pip, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "uv"], progress).await.map_err(
            |reason| format!("uv is not on this machine and could not be installed: {reason}. Install it, or connect the machine to PyPI"),
        )?;
        Ok(program)
    }

    /// Runs a program to its end.
    pub(super) async fn run(&self, command: &[&str], progress: &Ring) -> Result<(), String> {
        let settings = &self.0.settings;
        std::fs::create_dir_all(&settings.directory).map_err(|error| error.to_string())?;
        let mut environment = settings.environment.clone();
        let ours = [
            ("PATH", settings.path.clone()),
            ("HOME", settings.directory.display().to_string()),
            ("UV_CACHE_DIR", settings.directory.join("cache").display().to_string()),
            ("UV_NO_CONFIG", "1".into()),
            ("UV_PYTHON_DOWNLOADS", "never".into()),
            ("UV_NO_PROGRESS", "1".into()),
            ("NO_COLOR", "1".into()),
            ("LANG", "C.UTF-8".into()),
        ];
        environment.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        let launch = Launch {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            directory: settings.directory.clone(),
            environment,
            socket: None,
            limits: Limits { memory: 8 << 30, processes: 4096, files: 4096 },
        };
        let mark = progress.mark();
        let (mut child, output) = launch::spawn(launch).await.map_err(|error| format!("{}: {error}", command[0]))?;
        let reading = tokio::spawn(progress.clone().fill(output));
        let Ok(status) = tokio::time::timeout(LONGEST, child.wait()).await else {
            return Err(format!("it was not ready after {} minutes", LONGEST.as_secs() / 60));
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
        match status {
            Ok(status) if status.success() => Ok(()),
            other => {
                let told = progress.since(mark).join(" ");
                let told: String = told.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TOLD).collect();
                Err(if told.is_empty() { ending(other) } else { told })
            }
        }
    }
}
