//! Keeps the process of one folder: starts it when something needs it, stops it when nothing does, and waits longer and
//! longer when it fails.

mod client;
mod dump;
mod failures;
mod process;
mod socket;
mod start;
mod stuck;

use crate::{
    Failed, LogLine, Ring, RootKind, Server, Variable, Worker, WorkerState, confine::Confines, log::now,
    sandbox::Sandbox,
};
use failures::Failures;
use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tercel_sdk::{Error, Kind, Result};

pub use client::{Body, Failure, HOST, empty, full};
pub use dump::{Place, dump};
pub use process::{Open, Process};
pub use socket::clear as clear_sockets;
pub use start::is_reserved;

/// How a worker is started, and how long it may take for what.
#[derive(Debug, Clone)]
pub struct Spec {
    pub integration: String,
    pub command: Vec<String>,
    /// Whether it is ours, which tells what its threads do. To other programs the signal means something else.
    pub dumps: bool,
    /// Where its command starts.
    pub directory: PathBuf,
    pub confines: Confines,
    /// What it was granted of the network.
    pub hosts: Vec<String>,
    pub root: RootKind,
    /// Where the server keeps its sockets.
    pub sockets: PathBuf,
    pub path: String,
    /// Further environment, which is not the operator's.
    pub environment: BTreeMap<String, String>,
    pub variables: Vec<Variable>,
    pub times: Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Until it answers.
    pub start: Duration,
    /// One call, where nobody says less.
    pub call: Duration,
    /// Without a call, until it is stopped.
    pub idle: Duration,
    /// For calls that are open when it shall stop.
    pub drain: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(20),
            call: Duration::from_secs(120),
            idle: Duration::from_secs(600),
            drain: Duration::from_secs(60),
        }
    }
}

#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    spec: Spec,
    server: Arc<dyn Server>,
    sandbox: Arc<Sandbox>,
    log: Ring,
    phase: Mutex<Phase>,
    /// Who holds it starts the process; the others wait for that.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Phase {
    running: Option<Arc<Process>>,
    starting: bool,
    draining: bool,
    /// What has taken its place.
    next: Option<Arc<dyn Worker>>,
    restarts: u32,
    failures: Failures,
    reason: Option<String>,
    /// Of the process, or of a call.
    failed: Option<Failed>,
}

enum AtHand {
    Running(Open),
    /// Calls are this one's.
    Replaced(Arc<dyn Worker>),
    /// There is no process, and one may be started.
    Nothing,
}

impl Supervisor {
    pub fn new(spec: Spec, server: Arc<dyn Server>, sandbox: Arc<Sandbox>, log: Ring) -> Self {
        let phase = Mutex::default();
        Self(Arc::new(Inner { spec, server, sandbox, log, phase, turn: Arc::default() }))
    }

    pub fn spec(&self) -> &Spec {
        &self.0.spec
    }

    pub fn ring(&self) -> &Ring {
        &self.0.log
    }

    pub async fn enter(&self) -> Result<Open> {
        loop {
            match self.at_hand()? {
                AtHand::Running(open) => return Ok(open),
                AtHand::Replaced(next) => return next.enter().await,
                AtHand::Nothing => {}
            }
            let turn = self.0.turn.clone().lock_owned().await;
            if !matches!(self.at_hand()?, AtHand::Nothing) {
                continue;
            }
            // A task of its own, so that it goes on when the call that needed it is given up.
            let supervisor = self.clone();
            let started = tokio::spawn(async move {
                let _turn = turn;
                supervisor.start().await
            });
            started.await.map_err(|_| self.unavailable("it could not be started"))??;
        }
    }

    fn at_hand(&self) -> Result<AtHand> {
        let phase = self.phase();
        if let Some(next) = &phase.next {
            return Ok(AtHand::Replaced(next.clone()));
        }
        if phase.draining {
            return Err(self.unavailable("it has been stopped"));
        }
        if let Some(process) = &phase.running {
            return Ok(AtHand::Running(process.enter()));
        }
        if let Some(rest) = phase.failures.rest() {
            let reason = phase.reason.as_deref().unwrap_or("it failed");
            let seconds = rest.as_secs() + 1;
            let error = self.unavailable(&format!("{reason}; it is tried again in {seconds} s"));
            return Err(error.retry_after(Some(rest)));
        }
        Ok(AtHand::Nothing)
    }

    /// Something went wrong in its code.
    pub fn note(&self, reason: String) {
        self.phase().failed = Some(Failed { at: now(), reason });
    }

    fn unavailable(&self, reason: &str) -> Error {
        Error::new(Kind::Network, format!("The code of `{}` does not run: {reason}", self.0.spec.integration))
            .hint(format!("Its log says more: tercel logs {}", self.0.spec.integration))
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.phase.lock().expect("nothing panics while it holds the phase of a worker")
    }

    /// Stops it until something needs it, if nothing does now.
    pub fn rest(&self) {
        let process = self.phase().running.clone();
        if let Some(process) = process.filter(|process| process.is_idle(Duration::ZERO)) {
            process.leave();
        }
    }

    /// Stops it without a call being open, in the same moment.
    fn leave_if_idle(&self, process: &Arc<Process>, idle: Duration) -> bool {
        let mut phase = self.phase();
        let idle = process.is_idle(idle);
        if idle {
            phase.release(process);
        }
        idle
    }

    /// A process has ended that nobody asked to end, or has to: how, and what it said last.
    fn failed(&self, process: &Arc<Process>, how: &str, last: Option<String>) {
        let said = last.map(|last| format!("; the last it said: {last}")).unwrap_or_default();
        let mut phase = self.phase();
        phase.release(process);
        phase.fail(&format!("it {how}{said}"));
        // What it said is in its own log, where secrets are masked.
        tracing::warn!(integration = %self.0.spec.integration, "The worker of `{}` {how}", self.0.spec.integration);
    }
}

impl Phase {
    fn release(&mut self, process: &Arc<Process>) {
        if self.running.as_ref().is_some_and(|running| Arc::ptr_eq(running, process)) {
            self.running = None;
        }
    }

    fn fail(&mut self, reason: &str) {
        self.failures.add();
        self.reason = Some(reason.to_owned());
        self.failed = Some(Failed { at: now(), reason: reason.to_owned() });
    }
}

impl Worker for Supervisor {
    fn state(&self) -> WorkerState {
        let phase = self.phase();
        let state = match &*phase {
            Phase { draining: true, running: Some(_), .. } => "draining",
            Phase { draining: true, .. } => "stopped",
            Phase { running: Some(_), .. } => "running",
            Phase { starting: true, .. } => "starting",
            Phase { failures, .. } if failures.is_failing() => "failing",
            _ => "stopped",
        };
        WorkerState {
            state,
            pid: phase.running.as_ref().map(|process| process.pid()),
            restarts: phase.restarts,
            reason: phase.reason.clone().filter(|_| phase.running.is_none()),
            failure: phase.failed.clone(),
            lines_lost: self.0.log.lost(),
        }
    }

    fn log(&self) -> Vec<LogLine> {
        self.0.log.lines()
    }

    fn enter(&self) -> BoxFuture<'_, Result<Open>> {
        Box::pin(Self::enter(self))
    }

    fn drain(&self, next: Option<Arc<dyn Worker>>) -> BoxFuture<'static, ()> {
        let supervisor = self.clone();
        Box::pin(async move {
            {
                let mut phase = supervisor.phase();
                (phase.draining, phase.next) = (true, next);
            }
            // One that is being started is waited for, or nobody would stop it.
            let _turn = supervisor.0.turn.lock().await;
            let process = supervisor.phase().running.clone();
            if let Some(process) = process {
                process.drain(supervisor.0.spec.times.drain).await;
            }
        })
    }
}
