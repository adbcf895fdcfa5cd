//! The program that makes environments: found on the machine, or installed beside them.

use super::{Environments, Interpreter, lock};
use crate::{
    Ring,
    launch::{Launch, ending},
    sandbox::{Limits, Network, Policy},
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
        // Written when all of it is there: an installation that was cut off is made anew.
        let complete = own.join("complete");
        let _alone = lock::alone(settings.directory.join("uv.lock")).await?;
        if complete.is_file() {
            return Ok(program);
        }
        progress.push("installing uv");
        std::fs::create_dir_all(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        let python = bare.program.display().to_string();
        let place = own.display().to_string();
        let make = [&*python, "-m", "venv", "--clear", &place];
        self.run(&make, &[&own], bare, progress).await.map_err(|reason| {
            format!("{python} cannot make environments ({reason}). Install its venv module, or uv: `pip install uv`")
        })?;
        let pip = own.join("bin/python").display().to_string();
        let install = [&*pip, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "uv"];
        self.run(&install, &[&own], bare, progress).await.map_err(|reason| {
            format!(
                "uv is not on this machine and could not be installed: {reason}. Install it (`pip install uv`), or \
                 connect the machine to PyPI"
            )
        })?;
        std::fs::write(&complete, "").map_err(|error| format!("{}: {error}", complete.display()))?;
        Ok(program)
    }

    /// Runs a program to its end: it may reach the network, and write these places and what was fetched. What it
    /// installs may run code of its own, which has nothing to do with other environments.
    pub(super) async fn run(
        &self,
        command: &[&str],
        places: &[&Path],
        bare: &Interpreter,
        progress: &Ring,
    ) -> Result<(), String> {
        let settings = &self.0.settings;
        let home = &settings.directory;
        let shared = ["cache", "tmp"].map(|name| home.join(name));
        for place in &shared {
            std::fs::create_dir_all(place).map_err(|error| format!("{}: {error}", place.display()))?;
        }
        let mut environment = settings.environment.clone();
        let ours = [
            ("PATH", settings.path.clone()),
            ("HOME", home.display().to_string()),
            ("TMPDIR", home.join("tmp").display().to_string()),
            ("UV_CACHE_DIR", home.join("cache").display().to_string()),
            ("PIP_CACHE_DIR", home.join("cache/pip").display().to_string()),
            ("UV_NO_CONFIG", "1".into()),
            ("UV_PYTHON_DOWNLOADS", "never".into()),
            ("UV_NO_PROGRESS", "1".into()),
            ("NO_COLOR", "1".into()),
            ("LANG", "C.UTF-8".into()),
        ];
        environment.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        let mut policy = Policy::closed(None).read(command[0]).read(home);
        policy.writable.extend(shared);
        policy.writable.extend(places.iter().map(|place| place.to_path_buf()));
        policy.readable.extend(bare.readable.iter().cloned());
        policy.readable.extend(settings.readable.iter().cloned());
        policy.network = Network::Open;
        policy.limits = Limits { memory: 8 << 30, processes: 4096, open_files: 4096, file_size: 8 << 30, nice: 10 };
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let launch = Launch { command, directory: home.clone(), environment, policy };
        let mark = progress.mark();
        let mut started = launch.start(&self.0.sandbox, None, progress).await.map_err(|error| format!("{error:#}"))?;
        let Ok(status) = tokio::time::timeout(LONGEST, started.end()).await else {
            return Err(format!("it was not ready after {} minutes", LONGEST.as_secs() / 60));
        };
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
