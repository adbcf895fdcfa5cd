//! Keeps programs running that integrations want to have running all the time.

mod crashes;
mod keep;
mod spec;
mod watched;

pub use keep::Kept;
pub use spec::{Spec, missing};

use crate::Hosts;
use serde::Serialize;
use std::time::Duration;

/// How a process is, for the person who looks after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProcessState {
    pub phase: Phase,
    pub pid: Option<u32>,
    /// Microseconds since 1970.
    pub started_at: Option<i64>,
    /// Starts after the first one, since it was last told to run.
    pub restarts: u32,
    /// Why it does not run, or why it ended last.
    pub reason: Option<String>,
    /// Required variables that have no value.
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It shall not run.
    #[default]
    Stopped,
    /// A required variable has no value.
    Waiting,
    Starting,
    Running,
    /// It has ended by itself, and is started again in a moment.
    Resting,
    Stopping,
    /// It ended by itself too often: somebody has to look.
    Failing,
}

impl Hosts {
    /// Keeps a process. Nothing runs before it is told what.
    pub fn process(&self, times: Times) -> Kept {
        Kept::new(self.0.sandbox.clone(), self.0.server.clone(), times)
    }
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Before the second start; twice as long before each further one.
    pub rest: Duration,
    /// What ran for so long has not crashed at its start.
    pub steady: Duration,
    /// Between two looks at files that it watches, and at variables that have no value.
    pub look: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { rest: Duration::from_secs(1), steady: Duration::from_secs(60), look: Duration::from_secs(2) }
    }
}
