//! Starts a program for a folder: with what it may have, in a group of its own, and so that it does not outlive us.

mod spawner;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{net::unix::pipe, process};

/// The descriptor that an inherited socket has.
pub const SOCKET: i32 = 3;
/// How long a process has between being asked to end and being ended.
const GRACE: Duration = Duration::from_secs(5);

/// What to start, and with what.
pub struct Launch {
    /// Program and arguments. A name without a `/` is looked for in the environment's `PATH`.
    pub command: Vec<String>,
    pub directory: PathBuf,
    /// All that it is given.
    pub environment: BTreeMap<String, String>,
    /// Is inherited as descriptor 3.
    pub socket: Option<OwnedFd>,
    pub limits: Limits,
}

/// For each process of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    pub processes: u64,
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 512 << 20, processes: 64, files: 1024 }
    }
}

/// A process that was started, its group, and its standard input, whose end tells it that we are gone.
pub struct Child {
    process: process::Child,
    group: Pid,
}

/// Starts it. What it prints comes out of the pipe.
///
/// # Errors
/// When the program is not there or cannot be run.
pub async fn spawn(launch: Launch) -> io::Result<(Child, pipe::Receiver)> {
    spawner::run(move || launch.start()).await
}

impl Launch {
    fn start(self) -> io::Result<(Child, pipe::Receiver)> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
        };
        let (output, input) = io::pipe()?;
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(input.try_clone()?)
            .stderr(input)
            .process_group(0);
        if let Some(socket) = self.socket {
            let mapping = FdMapping { parent_fd: socket, child_fd: SOCKET };
            command.fd_mappings(vec![mapping]).map_err(io::Error::other)?;
        }
        let process = process::Command::from(command).kill_on_drop(true).spawn()?;
        let id = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = id.ok_or_else(|| io::Error::other("it ended at once"))?;
        self.limits.apply(group);
        Ok((Child { process, group }, pipe::Receiver::from_owned_fd(output.into())?))
    }
}

impl Limits {
    fn apply(self, process: Pid) {
        let limit = |resource, most: u64| {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            // It has ended already: then there is nothing to limit.
            let _ = rustix::process::prlimit(Some(process), resource, limit);
        };
        // Data, not address space: runtimes reserve much more of that than they ever use.
        limit(Resource::Data, self.memory);
        limit(Resource::Nproc, self.processes);
        limit(Resource::Nofile, self.files);
        limit(Resource::Core, 0);
    }
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Until it has ended. Whatever it started ends with it.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await;
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        status
    }

    pub fn signal(&self, signal: Signal) {
        // After its end the number could be somebody else's.
        if self.process.id().is_some() {
            let _ = rustix::process::kill_process(self.group, signal);
        }
    }

    /// Asks it to end, and ends it when it does not.
    pub async fn end(&mut self) -> io::Result<ExitStatus> {
        drop(self.process.stdin.take());
        if self.process.id().is_some() {
            let _ = rustix::process::kill_process_group(self.group, Signal::TERM);
        }
        match tokio::time::timeout(GRACE, self.process.wait()).await {
            Ok(_) => {}
            Err(_) => self.kill(),
        }
        self.wait().await
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if self.process.id().is_some() {
            let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a process ended, in words.
pub fn ending(status: io::Result<ExitStatus>) -> String {
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
