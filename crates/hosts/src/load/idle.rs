//! The worker of a folder that has none.

use crate::{LogLine, Ring, Worker, WorkerState, environment::Progress, worker::Open};
use futures::future::{BoxFuture, ready};
use std::sync::Arc;
use tercel_sdk::{Error, Kind, Result};

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

impl Why {
    pub fn failing(reason: impl Into<String>) -> Self {
        Self::Failing(Some(reason.into()))
    }

    /// What tells one from another.
    pub fn word(&self) -> &str {
        match self {
            Self::Nothing => "nothing",
            Self::Preparing(_) => "preparing",
            Self::Failing(reason) => reason.as_deref().unwrap_or("failing"),
        }
    }
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

    fn enter(&self) -> BoxFuture<'_, Result<Open>> {
        let why = self.state().reason.unwrap_or_else(|| "it has none any more".into());
        Box::pin(ready(Err(Error::new(Kind::Network, format!("The code of this integration does not run: {why}")))))
    }

    fn drain(&self, _next: Option<Arc<dyn Worker>>) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}
