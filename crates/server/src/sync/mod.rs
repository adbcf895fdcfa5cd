//! Keeping services in step with records: each record is there once and as it is here, whatever dies in the middle.

mod check;
mod look;
mod mapping;
mod page;
mod plan;
mod push;
mod schedule;
mod send;
mod settings;
mod told;
mod work;

pub use self::{
    check::check,
    mapping::{Mapping, hash},
    schedule::run_all as start_due,
    settings::{Settings, first},
    told::notice,
    work::{Ready, locked, ready, settle},
};

use crate::{
    app::App,
    queue::{Queue, work_on},
};
use std::sync::Arc;
use tercel_store::{Sync, SyncEnd, now};
use tokio::sync::Notify;

/// Syncs at the same time, each of another connection.
const AT_ONCE: usize = 8;

/// Works on syncs until the server stops.
pub async fn run_all(app: Arc<App>) {
    work_on::<Syncs>(app).await;
}

struct Syncs;

impl Queue for Syncs {
    type Item = Sync;

    fn room(_: &App) -> usize {
        AT_ONCE
    }

    fn bell(app: &App) -> &Notify {
        &app.store.wake().syncs
    }

    async fn claim(app: &App, limit: usize) -> tercel_store::Result<(Vec<Sync>, Option<i64>)> {
        app.store.claim_syncs(limit as i64).await
    }

    async fn work(app: Arc<App>, sync: Sync) {
        work::work(&app, sync).await;
    }

    async fn put_back(app: &App, sync: Sync) {
        work::end(app, &sync, SyncEnd::Later { at: now(), error: None }).await;
    }
}
