//! The Python that confined processes run: the first that is new enough and that their user can run.

use super::{Policy, Sandbox};
use anyhow::{Result, bail};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{io::AsyncReadExt, time::timeout};

const OLDEST: (u32, u32) = (3, 11);
const NAMES: [&str; 6] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"];
const USUAL: [&str; 2] = ["/usr/local/bin", "/usr/bin"];
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the program is, its version, and the directories that it is made of.
const QUESTION: &str = "import json, os, sys
print(json.dumps({'program': os.path.realpath(sys.executable), 'version': sys.version_info[:3],
    'prefixes': sorted({sys.base_prefix, sys.base_exec_prefix})}))";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Interpreter {
    pub program: PathBuf,
    pub version: (u32, u32, u32),
    /// What a process that runs it must be able to read.
    pub prefixes: Vec<PathBuf>,
    /// Whether users of integrations can run it; if not, they keep the server's user.
    #[serde(default)]
    pub for_users: bool,
}

/// Looks through `path`, which is the server's, and the usual places.
pub async fn python(sandbox: &Arc<Sandbox>, path: &str) -> Result<Interpreter> {
    let mut own = None;
    let mut seen = Vec::new();
    for candidate in candidates(path) {
        let Some(found) = asked(&candidate).await else { continue };
        if (found.version.0, found.version.1) < OLDEST || seen.contains(&found.program) {
            continue;
        }
        seen.push(found.program.clone());
        if runs_confined(sandbox, &found).await {
            return Ok(Interpreter { for_users: sandbox.abilities().users, ..found });
        }
        own = own.or(Some(found));
    }
    match own {
        Some(found) => Ok(found),
        None => bail!(
            "No Python {}.{} or newer was found: install one, for example the package python3, and start the server again",
            OLDEST.0,
            OLDEST.1
        ),
    }
}

fn candidates(path: &str) -> Vec<PathBuf> {
    let directories: Vec<&Path> =
        path.split(':').filter(|entry| entry.starts_with('/')).chain(USUAL).map(Path::new).collect();
    let all = directories.iter().flat_map(|directory| NAMES.map(|name| directory.join(name)));
    all.filter(|file| file.is_file()).collect()
}

/// What a Python says of itself. Some are scripts that look for the one that is meant, so it is asked as the server.
async fn asked(candidate: &Path) -> Option<Interpreter> {
    let mut command = tokio::process::Command::new(candidate);
    command.args(["-I", "-S", "-c", QUESTION]).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

async fn runs_confined(sandbox: &Arc<Sandbox>, found: &Interpreter) -> bool {
    let Some(identity) = sandbox.stranger() else { return true };
    let answer = async {
        let mut policy = Policy::closed(Some(identity));
        policy.readable.clone_from(&found.prefixes);
        let command = sandbox.command(found.program.to_string_lossy(), policy);
        let mut running = command.args(["-I", "-c", "print('runs')"]).spawn().await.ok()?;
        let mut said = String::new();
        running.stdout.take()?.read_to_string(&mut said).await.ok()?;
        running.wait().await.ok()?.success().then_some(said == "runs\n")
    };
    timeout(PATIENCE, answer).await.ok().flatten().unwrap_or(false)
}
