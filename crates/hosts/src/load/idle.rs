//! The worker of a folder that has none.

use crate::{LogLine, Ring, Worker, WorkerState};
use futures::future::{BoxFuture, ready};

pub const PREPARING: &str = "preparing";

pub struct Idle {
    state: &'static str,
    reason: Option<String>,
    log: Ring,
}

impl Idle {
    pub fn new(state: &'static str, reason: Option<String>, log: Ring) -> Self {
        Self { state, reason, log }
    }
}

impl Worker for Idle {
    fn state(&self) -> WorkerState {
        WorkerState { state: self.state, pid: None, restarts: 0, reason: self.reason.clone() }
    }

    fn log(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    fn drain(&self) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}
