//! Executes runs: claims what is due, asks `agent::next`, does it, commits, asks again.

mod answer;
mod log;
mod prepare;
mod run;
mod tools;

pub use tools::{LIMIT as TOOL_LIMIT, execute};

use crate::app::App;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};
use tercel_store::{Task, Uuid, now};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Tasks that one claim takes at the most: it holds the writer that long.
const CLAIM: usize = 256;

/// The runs of this process.
pub struct Runs {
    /// Room for work on steps; waiting for a model takes none.
    steps: Semaphore,
    open: Mutex<HashMap<Uuid, CancellationToken>>,
    /// Tasks that waited at the last count, and the second of that count.
    waiting: AtomicI64,
    counted_at: AtomicI64,
    /// A run was parked because no model answered.
    parked: AtomicBool,
}

impl Runs {
    pub fn new(steps: usize) -> Self {
        Self {
            steps: Semaphore::new(steps.max(1)),
            open: Mutex::default(),
            waiting: AtomicI64::new(0),
            counted_at: AtomicI64::new(0),
            parked: AtomicBool::new(false),
        }
    }

    /// Stops a run that this process has open.
    pub fn cancel(&self, task: Uuid) {
        if let Some(token) = self.open.lock().expect("no holder of this lock panics").get(&task) {
            token.cancel();
        }
    }

    /// How many runs are open.
    pub fn open(&self) -> usize {
        self.open.lock().expect("no holder of this lock panics").len()
    }

    /// Whether as many tasks wait as may wait. They pile up only while there is no room for another run, and are
    /// counted at most once a second.
    pub async fn is_backed_up(&self, app: &App) -> bool {
        let capacity = app.config.capacity;
        if self.open() < capacity.open_runs {
            return false;
        }
        let second = app.started.elapsed().as_secs() as i64 + 1;
        if self.counted_at.swap(second, Ordering::Relaxed) != second
            && let Ok((counts, _)) = app.store.queue().await
        {
            let pending = counts.iter().find(|(status, _)| status == "pending").map_or(0, |(_, count)| *count);
            self.waiting.store(pending, Ordering::Relaxed);
        }
        self.waiting.load(Ordering::Relaxed) >= capacity.queue
    }

    fn enter(&self, task: Uuid) -> CancellationToken {
        let token = CancellationToken::new();
        self.open.lock().expect("no holder of this lock panics").insert(task, token.clone());
        token
    }

    fn leave(&self, task: Uuid) {
        self.open.lock().expect("no holder of this lock panics").remove(&task);
    }
}

/// Claims and runs until the server stops. With no room for open runs at all, everything stays queued.
pub async fn run_all(app: Arc<App>) {
    let most = app.config.capacity.open_runs;
    if most == 0 {
        return;
    }
    let room = Arc::new(Semaphore::new(most));
    loop {
        // Waits until at least one run may be opened.
        let first = tokio::select! {
            permit = room.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = app.stopping.cancelled() => return,
        };
        let limit = (room.available_permits() + 1).min(CLAIM);
        let claimed = match app.store.claim_tasks(limit as i64).await {
            Ok(claimed) => claimed,
            Err(tercel_store::Error::Stopping) => return,
            Err(error) => {
                tracing::error!("Tasks cannot be claimed: {error}");
                pause(&app, Duration::from_secs(1)).await;
                continue;
            }
        };
        let all = claimed.tasks.len() == limit;
        let mut first = Some(first);
        for task in claimed.tasks {
            let permit = match first.take() {
                Some(permit) => permit,
                None => room.clone().acquire_owned().await.expect("the semaphore is never closed"),
            };
            let app = app.clone();
            app.clone().work.spawn(async move {
                open_run(&app, task).await;
                drop(permit);
            });
        }
        drop(first);
        if all {
            continue;
        }
        let due = claimed.next_at.map(|at| Duration::from_micros((at - now()).max(0) as u64));
        tokio::select! {
            () = app.store.wake().tasks.notified() => {}
            () = tokio::time::sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => {}
            () = app.stopping.cancelled() => return,
        }
    }
}

async fn open_run(app: &Arc<App>, task: Task) {
    let id = task.id;
    let cancel = app.runs.enter(id);
    if task.cancelled {
        cancel.cancel();
    }
    run::run(app, task, cancel).await;
    app.runs.leave(id);
}

async fn pause(app: &App, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = app.stopping.cancelled() => {}
    }
}
