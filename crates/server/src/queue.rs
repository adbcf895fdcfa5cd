//! What runs and answers have in common: take what is due as far as there is room, work on each, wait for more.

use crate::{app::App, succession};
use std::{future::Future, sync::Arc, time::Duration};
use tercel_store::{Error, Result, now};
use tokio::sync::{Notify, Semaphore};

/// What one claim takes at the most: it holds the writer that long.
const MOST: usize = 256;

/// Work that lies in the database.
pub trait Queue: Send + Sync + 'static {
    type Item: Send + 'static;

    /// How much may be worked on at once.
    fn room(app: &App) -> usize;

    /// Rung when there may be something due.
    fn bell(app: &App) -> &Notify;

    /// Takes what is due; says when the next will be.
    fn claim(app: &App, limit: usize) -> impl Future<Output = Result<(Vec<Self::Item>, Option<i64>)>> + Send;

    /// Never panics, and ends by itself.
    fn work(app: Arc<App>, item: Self::Item) -> impl Future<Output = ()> + Send + 'static;

    /// What was taken and not begun because the server stops.
    fn put_back(app: &App, item: Self::Item) -> impl Future<Output = ()> + Send;
}

/// Works until the server stops. With no room at all, everything stays where it is.
pub async fn work_on<Q: Queue>(app: Arc<App>) {
    let most = Q::room(&app);
    if most == 0 {
        return;
    }
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    let room = Arc::new(Semaphore::new(most));
    loop {
        let mut permits = tokio::select! {
            biased;
            () = app.stopping.cancelled() => return,
            permit = room.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let more = room.available_permits().min(MOST - 1) as u32;
        if let Ok(rest) = room.clone().try_acquire_many_owned(more) {
            permits.merge(rest);
        }
        let limit = permits.num_permits();
        succession::is_ours(&app).await;
        // Not given up in the middle: what was taken would belong to nobody.
        let (items, next_at) = match Q::claim(&app, limit).await {
            Ok(claimed) => claimed,
            Err(Error::Stopping) => return,
            Err(error) => {
                tracing::error!("What is due cannot be read from the database and is asked for again: {error}");
                drop(permits);
                wait(&app, Duration::from_secs(1)).await;
                continue;
            }
        };
        let all = items.len() == limit;
        for item in items {
            if app.stopping.is_cancelled() {
                Q::put_back(&app, item).await;
                continue;
            }
            let permit = permits.split(1).expect("no more was taken than there is room for");
            let work = Q::work(app.clone(), item);
            app.work.spawn(async move {
                work.await;
                drop(permit);
            });
        }
        drop(permits);
        if all {
            continue;
        }
        let due = next_at.map_or(Duration::MAX, |at| Duration::from_micros((at - now()).max(0) as u64));
        tokio::select! {
            () = Q::bell(&app).notified() => {}
            () = wait(&app, due) => {}
        }
    }
}

/// Until then, or until the server stops.
async fn wait(app: &App, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = app.stopping.cancelled() => {}
    }
}

/// Tries what the database refuses for now (the disk is full, the file locked) until it does not: what was done outside
/// must not be forgotten.
pub async fn patiently<T, F: Future<Output = Result<T>>>(what: &str, attempt: impl Fn() -> F) -> Result<T> {
    let mut pause = Duration::from_millis(100);
    loop {
        match attempt().await {
            Err(error) if error.is_passing() && !matches!(error, Error::Stopping) => {
                tracing::error!("{what} is tried again: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            outcome => return outcome,
        }
    }
}
