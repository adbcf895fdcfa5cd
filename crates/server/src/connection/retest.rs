//! Testing connections again and again, so that one that stops working is told before somebody needs it.

use super::{check, check_doubted, state};
use crate::{app::App, catalog::Entry, succession};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tercel_store::now;
use tokio::{sync::Notify, task::JoinSet};

/// Tests at the same time.
const AT_ONCE: usize = 4;

/// How often.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub healthy: Duration,
    /// The same where a process has to be started for it.
    pub asleep: Duration,
    /// After the first failure; twice as long after each further one, up to `healthy`.
    pub failing: Duration,
}

const PACE: Pace = Pace {
    healthy: Duration::from_secs(3_600),
    asleep: Duration::from_secs(6 * 3_600),
    failing: Duration::from_secs(60),
};

/// Rung when connections came, went or were tested.
#[derive(Default)]
pub struct Bell {
    rung: Notify,
    /// To be looked at now, because something of them was refused.
    doubted: Mutex<BTreeSet<Key>>,
}

/// Integration and connection.
type Key = (String, String);

impl Bell {
    pub fn ring(&self) {
        self.rung.notify_one();
    }

    /// What is used says that a connection does not work.
    pub fn doubt(&self, integration: &str, connection: &str) {
        self.lock().insert((integration.into(), connection.into()));
        self.ring();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Key>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tests until the server stops.
pub async fn run_all(app: Arc<App>) {
    run_by(app, PACE).await;
}

/// The same so often.
pub async fn run_by(app: Arc<App>, pace: Pace) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    let (mut at_work, mut open) = (JoinSet::new(), BTreeSet::<Key>::new());
    let mut tested = Tested::new();
    loop {
        succession::is_ours(&app).await;
        let doubted = std::mem::take(&mut *app.retests.lock());
        let mut next = i64::MAX;
        let all = all(&app, pace, &tested);
        tested.retain(|key, _| all.iter().any(|(known, _)| known == key));
        for (key, due) in all {
            let is_doubted = doubted.contains(&key);
            let due = if is_doubted { 0 } else { due };
            if open.contains(&key) {
                continue;
            }
            if due <= now() && open.len() < AT_ONCE {
                open.insert(key.clone());
                tested.insert(key.clone(), Instant::now());
                let app = app.clone();
                at_work.spawn(async move {
                    match is_doubted {
                        true => check_doubted(&app, &key.0, &key.1).await,
                        false => _ = check(&app, &key.0, &key.1).await,
                    }
                    key
                });
            } else {
                if is_doubted {
                    app.retests.lock().insert(key);
                }
                next = next.min(due);
            }
        }
        // A clock that is put forward is noticed within a minute.
        let wait = Duration::from_micros((next - now()).clamp(0, 60_000_000).unsigned_abs());
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.retests.rung.notified() => {}
            () = tokio::time::sleep(wait), if open.len() < AT_ONCE => {}
            Some(ended) = at_work.join_next() => if let Ok(key) = ended { open.remove(&key); },
        }
    }
}

/// When a test of each was begun last, since the start.
type Tested = HashMap<Key, Instant>;

/// Every connection that can be tested, and when.
fn all(app: &App, pace: Pace, tested: &Tested) -> Vec<(Key, i64)> {
    let catalog = app.catalog();
    let mut all = Vec::new();
    for (id, entry) in &catalog.integrations {
        if !entry.listed.works() || entry.integration.connector.is_none() {
            continue;
        }
        for connection in entry.connections.keys() {
            let key = (id.clone(), connection.clone());
            let tested = tested.get(&key).map(Instant::elapsed);
            all.extend(due(entry, connection, pace, tested).map(|due| (key, due)));
        }
    }
    all
}

/// `None`: not before somebody tests it. `tested` is how long ago it was tested here, whatever became of that.
fn due(entry: &Entry, connection: &str, pace: Pace, tested: Option<Duration>) -> Option<i64> {
    if state::of(entry, connection) == state::State::NotConfigured {
        return None;
    }
    let of_code = entry.listed.place.as_ref().filter(|_| entry.listed.is_code());
    let is_asleep = of_code.is_some_and(|code| code.worker.as_ref().is_none_or(|worker| worker.state().pid.is_none()));
    let health = entry.healths.get(connection);
    let is_new = health.is_none_or(|health| health.code == "not_configured");
    let Some(health) = health.filter(|_| !is_new || tested.is_some()) else {
        // No process is started for what nobody has asked for.
        return of_code.is_none().then(|| tested.map_or(0, |ago| in_time(pace.failing.saturating_sub(ago))));
    };
    let wait = match (health.failing_since, is_asleep) {
        (None, true) => pace.asleep,
        (None, false) => pace.healthy,
        // What failed when the server stopped may be well by now.
        (Some(_), false) if tested.is_none() => return Some(0),
        (Some(_), _) => {
            let doubled = 2_u32.saturating_pow(u32::try_from(health.failures - 1).unwrap_or(0).min(20));
            pace.failing.saturating_mul(doubled).min(pace.healthy)
        }
    };
    // A clock that was put back must not put a test off, and what could not be stored must not make it come at once.
    let due = health.checked_at.min(now()).saturating_add(micros(spread(&health.integration, connection, wait)));
    let soonest = tested.map_or(0, |ago| in_time(pace.failing.saturating_sub(ago)));
    Some(due.max(soonest))
}

fn in_time(wait: Duration) -> i64 {
    now().saturating_add(micros(wait))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Up to a tenth longer, always the same for one connection, so that many are not tested at once.
fn spread(integration: &str, connection: &str, wait: Duration) -> Duration {
    let sum =
        integration.bytes().chain(connection.bytes()).fold(7_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
    wait.mul_f64(1.0 + f64::from(sum % 100) / 1000.0)
}
