//! A confined process that runs, and its end: nothing that it started outlives it.

use super::Group;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{process::ExitStatus, time::Duration};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::timeout,
};

/// Dropped, it and all it started are killed.
pub struct Running {
    child: Child,
    pid: Pid,
    group: Option<Group>,
    ended: bool,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
}

impl Running {
    pub(super) fn new(mut child: Child, group: Option<Group>) -> Result<Self> {
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("The process ended at once")?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self { child, pid, group, ended: false, stdin, stdout, stderr })
    }

    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Waits for its end; what it left behind is killed.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await.context("The end of the process cannot be waited for")?;
        self.kill_all();
        self.ended = true;
        Ok(status)
    }

    /// Signals the process itself, as long as it runs.
    pub fn signal(&self, signal: Signal) {
        if self.child.id().is_some() {
            // It may end in this moment; then there is nobody to tell.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Asks it to end, and kills it and all it started when it has not done so in this time.
    pub async fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        drop(self.stdin.take());
        // Until it has confined itself it is in no group of its own.
        if !self.ended && kill_process_group(self.pid, Signal::TERM).is_err() {
            self.signal(Signal::TERM);
        }
        if let Ok(status) = timeout(grace, self.wait()).await {
            return status;
        }
        self.kill_all();
        self.wait().await
    }

    fn kill_all(&mut self) {
        // Once it has ended, its number is somebody else's.
        if self.ended {
            return;
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        if let Some(group) = &self.group {
            group.kill();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_all();
    }
}
