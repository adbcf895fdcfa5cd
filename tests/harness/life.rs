//! A server that may die of a failpoint once, and goes on without it.

use crate::{Options, Server};
use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

/// What `abort` ends a process with.
const SIGABRT: i32 = 6;

/// A server that is started again without the failpoint when it has died of it.
pub struct Life {
    pub server: Server,
    calm: Options,
    died: bool,
}

impl Life {
    /// `place` is that of the failpoint, as TERCEL_FAILPOINT has it.
    pub fn begin(calm: Options, place: &str) -> Self {
        match Server::try_start(calm.clone().env("TERCEL_FAILPOINT", place)) {
            Ok(server) => Self { server, calm, died: false },
            Err(failure) => {
                assert!(is_abort(failure.status), "{place}: it did not start: {}\n{}", failure.status, failure.log);
                Self { server: Server::start(calm.clone()), calm, died: true }
            }
        }
    }

    pub fn died(&self) -> bool {
        self.died
    }

    pub fn revive(&mut self) {
        if self.server.has_exited() {
            self.bury();
        }
    }

    /// A last death may come while it stops. What is checked is what a start finds: that after its death, or the next one.
    pub fn end(&mut self) {
        self.revive();
        if self.died {
            return;
        }
        self.server.ask_to_stop();
        let status = self.server.wait_exit();
        if status.success() {
            self.server = Server::start(self.calm.clone());
        } else {
            self.bury();
        }
    }

    /// Only the failpoint may end it, and only once.
    fn bury(&mut self) {
        let status = self.server.wait_exit();
        assert!(
            is_abort(status) && !self.died,
            "it ended with {status} (died before: {}): {}",
            self.died,
            self.server.log()
        );
        self.died = true;
        self.server = Server::start(self.calm.clone());
    }
}

fn is_abort(status: ExitStatus) -> bool {
    status.signal() == Some(SIGABRT)
}
