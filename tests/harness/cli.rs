//! Running a command of the program and reading what it says.

use crate::{Options, wait::until_within};
use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Options {
    /// # Panics
    /// When the command takes more than a minute.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Said {
        let mut child =
            self.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let read = |pipe| std::thread::spawn(move || std::io::read_to_string(pipe).unwrap());
        let out = read(Box::new(out) as Box<dyn std::io::Read + Send>);
        let err = read(Box::new(err));
        // Where it makes an environment for Python it fetches packages.
        let status = until_within(Duration::from_secs(180), "the command ends", || child.try_wait().unwrap());
        Said { status, out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

impl Said {
    /// The standard output of a command that went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "the command ended with {}:\n{}\n{}", self.status, self.out, self.err);
        self.out
    }

    /// What a command that failed said to the person who ran it.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(!self.status.success(), "the command should have failed:\n{}\n{}", self.out, self.err);
        self.err
    }
}
