//! A process beside the server that outlives it for a moment: when the server is gone, however that came about, it ends
//! what processes of folders have started themselves and left.

use crate::{leftovers, sandbox::close_all_but};
use rustix::process::setsid;
use std::{
    ffi::OsString,
    io::{self, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
};

/// The hidden command under which the program is this process.
pub const SUBCOMMAND: &str = "sandbox-guard";

/// The server's end. Closed, also by its death, it sends the guard to work.
pub struct Guard {
    line: Option<ChildStdin>,
    child: Child,
}

impl Guard {
    pub fn start(launcher: &Path, data: &Path) -> io::Result<Self> {
        let mut command = Command::new(launcher);
        command.arg(SUBCOMMAND).arg(data).env_clear();
        // What is sent to the server's group is not meant for it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        Ok(Self { line: child.stdin.take(), child })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.line.take());
        // It takes a moment; nobody is left that could wait for it later.
        let _ = self.child.wait();
    }
}

/// Waits for the end of the server whose data directory this is.
pub fn watch(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(data) = arguments.next().map(PathBuf::from) else { return ExitCode::FAILURE };
    let _ = setsid();
    let _ = close_all_but(&[]);
    ignore_signals();
    // Nothing is ever written: this is over when the other end is closed.
    let _ = io::stdin().read(&mut [0]);
    // The next server may be at work already.
    leftovers::end_those_before(&data, leftovers::moment());
    ExitCode::SUCCESS
}

/// Whoever ends all processes of a service asks them first: it is still needed then.
fn ignore_signals() {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None);
}
