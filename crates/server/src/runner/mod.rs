//! Executes runs: claims what is due, asks `agent::next`, does it, commits, asks again.

mod answer;
mod calling;
pub mod client;
mod ending;
mod log;
mod pictures;
mod prepare;
mod run;
mod showing;
mod starting;
pub mod stateless;
mod tools;

pub use client::USUAL_WAIT;
pub use ending::cancel;
pub use prepare::{RunConfig, Wanted, from};
pub use tools::execute;

use crate::{
    app::App,
    queue::{Queue, work_on},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
};
use tercel_store::{Task, Uuid};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// Milliseconds between two counts of what waits, usually and when there may be too much.
const COUNTED_EVERY: i64 = 1_000;
const COUNTED_NEAR: i64 = 20;

/// The runs of this process.
pub struct Runs {
    /// Room for work on steps; waiting for a model takes none.
    steps: Semaphore,
    open: Mutex<Open>,
    /// At the most as many tasks wait: those of the last count, and what was let in since.
    waiting: AtomicI64,
    /// Milliseconds after the start when they were counted.
    counted_at: AtomicI64,
    /// Models that runs wait for.
    missed: Mutex<HashSet<String>>,
    /// Runs that waited when the server started: they show whether what they waited for is there again.
    doubted: Mutex<HashSet<Uuid>>,
    /// Rings when a run begins to wait for its client.
    asked: Notify,
}

#[derive(Default)]
struct Open {
    /// With the attempt: a task that waited can be taken up again before its earlier run has left.
    runs: HashMap<Uuid, (i64, CancellationToken)>,
    /// Whom somebody asked to stop while tasks are being claimed: it may be one of those.
    asked: Option<HashSet<Uuid>>,
}

impl Runs {
    pub fn new(steps: usize) -> Self {
        Self {
            steps: Semaphore::new(steps.max(1)),
            open: Mutex::default(),
            waiting: AtomicI64::new(0),
            counted_at: AtomicI64::new(i64::MIN / 2),
            missed: Mutex::default(),
            doubted: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// Stops a run that this process has open, after the database was told.
    pub fn cancel(&self, task: Uuid) {
        let mut open = self.lock();
        if let Some((_, token)) = open.runs.get(&task) {
            token.cancel();
        }
        if let Some(asked) = &mut open.asked {
            asked.insert(task);
        }
    }

    /// How many runs are open.
    pub fn open(&self) -> usize {
        self.lock().runs.len()
    }

    /// Whether as many tasks wait as may wait: then nothing more that starts one is let in. Asking counts as letting in.
    /// They are counted when there may be too many, or once a second, so that the usual answer costs nothing.
    pub async fn is_backed_up(&self, app: &App) -> bool {
        let most = app.config.capacity.queue;
        let time = app.started.elapsed().as_millis() as i64;
        let counted_at = self.counted_at.load(Ordering::Relaxed);
        let age = time - counted_at;
        let is_near = self.waiting.fetch_add(1, Ordering::Relaxed) >= most;
        if (age >= COUNTED_EVERY || is_near && age >= COUNTED_NEAR)
            && self.counted_at.compare_exchange(counted_at, time, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && let Ok((counts, _)) = app.store.queue().await
        {
            let pending = counts.iter().find(|(status, _)| status == "pending").map_or(0, |(_, count)| *count);
            self.waiting.store(pending + 1, Ordering::Relaxed);
        }
        self.waiting.load(Ordering::Relaxed) > most
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of this lock panics")
    }

    fn enter(open: &mut Open, task: &Task) -> CancellationToken {
        let token = CancellationToken::new();
        if task.cancelled || open.asked.as_ref().is_some_and(|asked| asked.contains(&task.id)) {
            token.cancel();
        }
        open.runs.insert(task.id, (task.attempt, token.clone()));
        token
    }

    fn leave(&self, task: Uuid, attempt: i64) {
        let mut open = self.lock();
        if open.runs.get(&task).is_some_and(|(current, _)| *current == attempt) {
            open.runs.remove(&task);
        }
    }

    /// Notes that runs wait for a model; or that it answers, and whether any waited.
    fn miss(&self, models: Vec<String>) {
        self.missed.lock().expect("no holder of this lock panics").extend(models);
    }

    fn found(&self, model: &str) -> bool {
        self.missed.lock().expect("no holder of this lock panics").remove(model)
    }

    /// Whether the last run in doubt has gone its way, and none of them waits for a model again.
    fn cleared(&self, task: Uuid) -> bool {
        let mut doubted = self.doubted.lock().expect("no holder of this lock panics");
        let was_last = doubted.remove(&task) && doubted.is_empty();
        was_last && self.missed.lock().expect("no holder of this lock panics").is_empty()
    }
}

/// At the start: whether a model answers that runs waited for is known when they have gone on.
pub async fn doubt(app: &App, resumed: Vec<Uuid>) -> tercel_store::Result<()> {
    if !app.store.notices(Some(true), None, 1000).await?.iter().any(|notice| notice.key == ending::NO_MODEL) {
        return Ok(());
    }
    if resumed.is_empty() {
        app.close_notice(ending::NO_MODEL).await;
    }
    app.runs.doubted.lock().expect("no holder of this lock panics").extend(resumed);
    Ok(())
}

/// Claims and runs until the server stops.
pub async fn run_all(app: Arc<App>) {
    work_on::<Tasks>(app).await;
}

struct Tasks;

impl Queue for Tasks {
    type Item = (Task, CancellationToken);

    fn room(app: &App) -> usize {
        app.config.capacity.open_runs
    }

    fn bell(app: &App) -> &Notify {
        &app.store.wake().tasks
    }

    async fn claim(app: &App, limit: usize) -> tercel_store::Result<(Vec<Self::Item>, Option<i64>)> {
        app.runs.lock().asked = Some(HashSet::new());
        let claimed = app.store.claim_tasks(limit as i64).await;
        let mut open = app.runs.lock();
        let entered = claimed.map(|claimed| {
            let enter = |task| {
                let token = Runs::enter(&mut open, &task);
                (task, token)
            };
            (claimed.tasks.into_iter().map(enter).collect(), claimed.next_at)
        });
        open.asked = None;
        entered
    }

    async fn work(app: Arc<App>, (task, cancel): Self::Item) {
        let (id, attempt) = (task.id, task.attempt);
        app.emission.begins(&task);
        run::run(&app, task, cancel).await;
        app.emission.leaves(id, attempt);
        app.runs.leave(id, attempt);
    }

    /// The next start frees it; a task may be claimed often.
    async fn put_back(_: &App, _: Self::Item) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(attempt: i64, cancelled: bool) -> Task {
        Task {
            id: Uuid::from_u128(1),
            session_id: Uuid::nil(),
            message_id: Uuid::nil(),
            channel_id: None,
            delivery_id: None,
            bot_id: "default".into(),
            origin: "api".into(),
            seq: 1,
            status: "running".into(),
            execution_config: None,
            sealed_target: None,
            trusted: true,
            hops: 0,
            rehearse: false,
            attempt,
            cancelled,
            run_at: 0,
            created_at: 0,
            started_at: None,
            completed_at: None,
            context_seq: None,
            result: None,
            error: None,
            tokens: 0,
            completion_tokens: 0,
            cost: 0,
        }
    }

    #[test]
    fn a_run_is_stopped_whenever_it_is_cancelled() {
        let runs = Runs::new(1);
        let enter = |task: &Task| Runs::enter(&mut runs.lock(), task);
        assert!(enter(&task(1, true)).is_cancelled(), "before it was claimed");
        runs.lock().asked = Some(HashSet::new());
        runs.cancel(task(2, false).id);
        assert!(enter(&task(2, false)).is_cancelled(), "between its claim and its start");
        runs.lock().asked = None;
        let token = enter(&task(3, false));
        assert!(!token.is_cancelled());
        runs.cancel(task(3, false).id);
        assert!(token.is_cancelled(), "while it runs");
    }

    #[test]
    fn a_run_that_leaves_late_does_not_take_the_next_attempt_with_it() {
        let runs = Runs::new(1);
        Runs::enter(&mut runs.lock(), &task(1, false));
        let token = Runs::enter(&mut runs.lock(), &task(2, false));
        runs.leave(task(1, false).id, 1);
        assert_eq!(runs.open(), 1);
        runs.cancel(task(2, false).id);
        assert!(token.is_cancelled());
        runs.leave(task(2, false).id, 2);
        assert_eq!(runs.open(), 0);
    }
}
