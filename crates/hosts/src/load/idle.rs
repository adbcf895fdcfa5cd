//! The worker of a folder that has none.

use crate::{LogLine, Ring, Worker, WorkerState, environment::Progress};
use futures::future::{BoxFuture, ready};

pub struct Idle {
    why: Why,
    log: Ring,
}

pub enum Why {
    /// There is nothing to run.
    Nothing,
    Preparing(Progress),
    Failing(Option<String>),
}

impl Idle {
    pub fn new(why: Why, log: Ring) -> Self {
        Self { why, log }
    }
}

impl Worker for Idle {
    fn state(&self) -> WorkerState {
        let (state, reason) = match &self.why {
            Why::Nothing => ("stopped", None),
            Why::Preparing(progress) => ("preparing", Some(progress.words())),
            Why::Failing(reason) => ("failing", reason.clone()),
        };
        WorkerState { reason, ..WorkerState::new(state) }
    }

    fn log(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    fn drain(&self) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}
