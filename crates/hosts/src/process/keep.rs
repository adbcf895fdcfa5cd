//! One process: started when it may run, started again when it ends, stopped when it shall not run any more.

use super::{Phase, ProcessState, Spec, Times, crashes::Crashes, watched};
use crate::{
    LogLine, Ring, Server,
    launch::{GRACE, ending},
    log::now,
    sandbox::Sandbox,
};
use std::{collections::BTreeMap, sync::Arc, time::Instant};
use tokio::sync::watch;

/// What became of a process is asked here. Dropped, it is killed.
pub struct Kept {
    wish: watch::Sender<Wish>,
    state: watch::Receiver<ProcessState>,
    log: Ring,
}

/// What shall be.
#[derive(Clone, Default)]
struct Wish {
    spec: Option<Arc<Spec>>,
    /// Why it shall not run now.
    why_not: Option<String>,
    /// Raised by whoever wants it to be started anew.
    fresh: u64,
    is_over: bool,
}

impl Kept {
    /// Nothing runs before it is told to.
    pub fn new(sandbox: Arc<Sandbox>, server: Arc<dyn Server>, times: Times) -> Self {
        let (wish, wanted) = watch::channel(Wish::default());
        let (says, state) = watch::channel(ProcessState::default());
        let log = Ring::default();
        let keeper = Keeper { sandbox, server, times, wanted, says, log: log.clone() };
        tokio::spawn(keeper.keep());
        Self { wish, state, log }
    }

    /// It runs like that from now on, or does not, for a reason. What runs already and is the same goes on.
    pub fn set(&self, spec: Option<Spec>, why_not: Option<String>) {
        self.wish.send_modify(|wish| (wish.spec, wish.why_not) = (spec.map(Arc::new), why_not));
    }

    /// Stops it, if it runs, and starts it, if it may run, whatever happened before.
    pub fn restart(&self) {
        self.wish.send_modify(|wish| wish.fresh += 1);
    }

    pub fn state(&self) -> ProcessState {
        self.state.borrow().clone()
    }

    /// Each state from now on.
    pub fn states(&self) -> watch::Receiver<ProcessState> {
        self.state.clone()
    }

    /// What it printed lately, the oldest first.
    pub fn log(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    /// Stops it for good, and waits until it has ended.
    pub async fn end(&self) {
        self.wish.send_modify(|wish| wish.is_over = true);
        let mut state = self.state.clone();
        // An error: the keeper has gone, and the process with it.
        while state.changed().await.is_ok() {}
    }
}

struct Keeper {
    sandbox: Arc<Sandbox>,
    server: Arc<dyn Server>,
    times: Times,
    wanted: watch::Receiver<Wish>,
    says: watch::Sender<ProcessState>,
    log: Ring,
}

/// Everything that makes a difference to a process.
#[derive(Clone)]
struct Given {
    spec: Arc<Spec>,
    values: BTreeMap<String, String>,
    fresh: u64,
}

impl Given {
    fn is_same(&self, other: &Self) -> bool {
        self.fresh == other.fresh && self.values == other.values && self.spec.is_same(&other.spec)
    }
}

enum Ended {
    ByItself(String),
    AsTold,
}

impl Keeper {
    async fn keep(mut self) {
        let (mut crashes, mut last) = (Crashes::default(), None::<Given>);
        loop {
            let wish = self.wanted.borrow_and_update().clone();
            if wish.is_over || self.wanted.has_changed().is_err() {
                return;
            }
            let (Some(spec), None) = (wish.spec, &wish.why_not) else {
                self.say(Phase::Stopped, wish.why_not, Vec::new());
                last = None;
                if self.wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let (values, missing) = spec.values(&*self.server).await;
            let given = Given { spec: spec.clone(), values, fresh: wish.fresh };
            if last.as_ref().is_none_or(|last| !last.is_same(&given)) {
                // What it is now has not failed yet.
                crashes = Crashes::default();
                self.says.send_modify(|state| (state.restarts, state.reason) = (0, None));
                last = Some(given.clone());
            }
            let reason = self.says.borrow().reason.clone();
            let wait = if !missing.is_empty() {
                let words = format!("{} must have a value first", missing.join(", "));
                self.say(Phase::Waiting, Some(words), missing);
                // Whoever gives it a value says so; a value that could not be read may be there next time.
                Some(self.times.look * 30)
            } else if spec.lacks_python() {
                self.say(Phase::Waiting, Some("It needs a Python environment, which is looked for".into()), Vec::new());
                Some(self.times.look)
            } else if crashes.are_too_many() {
                self.say(Phase::Failing, reason, Vec::new());
                None
            } else if let Some(rest) = crashes.rest(&self.times) {
                self.say(Phase::Resting, reason, Vec::new());
                Some(rest)
            } else {
                let begun = Instant::now();
                if let Ended::ByItself(how) = self.run(&given).await {
                    crashes.add(begun.elapsed(), &self.times);
                    self.log.push(&format!("— it {how}"));
                    self.says.send_modify(|state| state.reason = Some(format!("It {how}")));
                }
                continue;
            };
            let waited = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waited => {}
                changed = self.wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    /// From its start to its end. Its key dies with it.
    async fn run(&mut self, given: &Given) -> Ended {
        self.say(Phase::Starting, None, Vec::new());
        let minted = self.server.mint(&given.spec.integration);
        let launch = given.spec.launch(&self.sandbox, &*self.server, given.values.clone(), &minted.key);
        let started = match launch {
            Ok(launch) => launch.start(&self.sandbox, None, &self.log).await,
            Err(error) => Err(error),
        };
        let ended = match started {
            Err(error) => Ended::ByItself(format!("could not be started: {error:#}")),
            Ok(mut started) => {
                self.says.send_modify(|state| {
                    state.restarts += u32::from(state.started_at.is_some() && state.reason.is_some());
                    (state.phase, state.pid, state.started_at) =
                        (Phase::Running, Some(started.running.id()), Some(now()));
                });
                let mut changed = std::pin::pin!(watched::changed(given.spec.watched(), self.times.look));
                loop {
                    tokio::select! {
                        status = started.end() => break Ended::ByItself(ending(status)),
                        () = &mut changed => {}
                        change = self.wanted.changed() => {
                            if change.is_ok() && self.is_still(given).await {
                                continue;
                            }
                        }
                    }
                    self.say(Phase::Stopping, None, Vec::new());
                    if let Err(error) = started.running.stop(GRACE).await {
                        self.log.push(&format!("— {error:#}"));
                    }
                    break Ended::AsTold;
                }
            }
        };
        self.server.revoke(minted.id);
        self.says.send_modify(|state| state.pid = None);
        ended
    }

    /// Whether what runs is what shall run.
    async fn is_still(&mut self, given: &Given) -> bool {
        let wish = self.wanted.borrow_and_update().clone();
        let (Some(spec), None, false) = (wish.spec, wish.why_not, wish.is_over) else { return false };
        let (values, missing) = spec.values(&*self.server).await;
        missing.is_empty() && Given { spec, values, fresh: wish.fresh }.is_same(given)
    }

    fn say(&self, phase: Phase, reason: Option<String>, missing: Vec<String>) {
        self.says.send_modify(|state| {
            let reason = if phase == Phase::Starting { state.reason.take() } else { reason };
            *state = ProcessState { phase, reason, missing, pid: state.pid, ..*state };
        });
    }
}
