//! Starts what belongs to a folder, confined, and gathers what it prints.

use crate::{
    Ring,
    sandbox::{Policy, Running, Sandbox},
};
use anyhow::Result;
use std::{collections::BTreeMap, os::fd::OwnedFd, path::PathBuf, process::ExitStatus, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// How long a process has between being asked to end and being ended.
pub const GRACE: Duration = Duration::from_secs(5);

/// What to start, and with what.
pub struct Launch {
    /// Program and arguments. A name without a `/` is looked for in the environment's `PATH`.
    pub command: Vec<String>,
    pub directory: PathBuf,
    /// All that it is given.
    pub environment: BTreeMap<String, String>,
    pub policy: Policy,
}

/// A process whose output goes into a log.
pub struct Started {
    pub running: Running,
    reading: JoinHandle<()>,
}

impl Launch {
    /// Starts it. `socket` is inherited, and its number is in the variable that is named with it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(self, sandbox: &Arc<Sandbox>, socket: Option<(&str, OwnedFd)>, log: &Ring) -> Result<Started> {
        let mut words = self.command.into_iter();
        let mut command = sandbox
            .command(words.next().unwrap_or_default(), self.policy)
            .args(words)
            .envs(self.environment)
            .current_dir(self.directory);
        if let Some((name, socket)) = socket {
            let number = command.inherit(socket);
            command = command.env(name, number.to_string());
        }
        let mut running = command.spawn().await?;
        let (output, errors) = (running.stdout.take(), running.stderr.take());
        let log = log.clone();
        let reading = tokio::spawn(async move {
            let output = async {
                if let Some(output) = output {
                    log.clone().fill(output).await
                }
            };
            let errors = async {
                if let Some(errors) = errors {
                    log.clone().fill(errors).await
                }
            };
            tokio::join!(output, errors);
        });
        Ok(Started { running, reading })
    }
}

impl Started {
    /// Waits for its end, and for what it said last.
    pub async fn end(&mut self) -> Result<ExitStatus> {
        let status = self.running.wait().await;
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.reading).await;
        status
    }
}

/// How a process ended, in words.
pub fn ending<E: std::fmt::Display>(status: Result<ExitStatus, E>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (_, Some(signal)) => format!("was ended by {}", name(signal)),
            _ => "ended".into(),
        },
        Err(error) => format!("ended in a way that is not known: {error}"),
    }
}

fn name(signal: i32) -> String {
    let name = match signal {
        4 => "an illegal instruction (SIGILL)",
        6 => "itself (SIGABRT)",
        7 => "a bus error (SIGBUS)",
        8 => "an arithmetic error (SIGFPE)",
        9 => "SIGKILL, as when memory runs out",
        11 => "a segmentation fault (SIGSEGV)",
        15 => "SIGTERM",
        31 => "a system call that it may not make (SIGSYS)",
        other => return format!("signal {other}"),
    };
    name.into()
}
