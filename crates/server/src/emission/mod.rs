//! Telling addresses outside what happens in runs. Nothing here holds a run up.
//!
//! Those of `HOOK_WEBHOOK_URLS` are told at once, and once. Managed hooks read a log: what happened in a run is committed
//! to it together with the next steps of that run, and each of them has its place in it.

mod deliver;
mod event;
mod hook;
mod outcome;
mod urls;

pub use deliver::{once, run_all, test_event};
pub use hook::{Wants, new_secret, notice, place, secrets};

use self::{event::Event, urls::Urls};
use crate::app::App;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, RwLock},
};
use tercel_sdk::host::Ids;
use tercel_store::{HookEvent, Store, Task, Uuid};
use tokio::sync::watch;

#[derive(Default)]
pub struct Emission {
    urls: Urls,
    /// What the hooks want that are enabled.
    wanted: RwLock<Vec<Wants>>,
    runs: Mutex<HashMap<Uuid, Run>>,
    /// Rung when hooks were changed.
    changed: watch::Sender<()>,
    /// Rung when the log became longer.
    news: watch::Sender<()>,
}

/// A run that this process has open.
struct Run {
    attempt: i64,
    origin: String,
    /// For its next commit.
    events: Vec<HookEvent>,
}

impl Emission {
    /// Reads what is wanted anew, and tells whoever looks after hooks.
    pub async fn read(&self, store: &Store) -> tercel_store::Result<()> {
        let hooks = store.hooks().await?;
        let wanted = hooks.iter().filter(|hook| hook.enabled).map(Wants::of).collect();
        *self.wanted.write().expect("no holder of this lock panics") = wanted;
        self.changed.send_replace(());
        Ok(())
    }

    /// Whether anybody outside wants events of this name.
    pub fn hears(&self, name: &str) -> bool {
        !self.urls.is_empty() || self.records(name)
    }

    fn records(&self, name: &str) -> bool {
        self.wanted.read().expect("no holder of this lock panics").iter().any(|wants| wants.has(name))
    }

    pub fn begins(&self, task: &Task) {
        let run = Run { attempt: task.attempt, origin: task.origin.clone(), events: Vec::new() };
        self.runs().insert(task.id, run);
    }

    /// What a run did not commit did not happen.
    pub fn leaves(&self, task: Uuid, attempt: i64) {
        let mut runs = self.runs();
        if runs.get(&task).is_some_and(|run| run.attempt == attempt) {
            runs.remove(&task);
        }
    }

    /// What the next commit of a run takes along.
    pub fn take(&self, task: Uuid) -> Vec<HookEvent> {
        self.runs().get_mut(&task).map(|run| std::mem::take(&mut run.events)).unwrap_or_default()
    }

    /// It is committed.
    pub fn ring(&self) {
        self.news.send_replace(());
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<Uuid, Run>> {
        self.runs.lock().expect("no holder of this lock panics")
    }
}

/// Tells everybody outside.
pub fn emit(app: &Arc<App>, ids: &Ids, name: &'static str, event: &Value) {
    let event = Event::new(app, name, event);
    app.emission.urls.send(&event);
    note(app, ids, event);
}

/// Tells those of `HOOK_WEBHOOK_URLS` only.
pub fn shout(app: &Arc<App>, name: &'static str, event: &Value) {
    if !app.emission.urls.is_empty() {
        app.emission.urls.send(&Event::new(app, name, event));
    }
}

/// Tells managed hooks only: with the next commit of the run.
pub fn record(app: &Arc<App>, ids: &Ids, name: &'static str, event: &Value) {
    if app.emission.records(name) {
        note(app, ids, Event::new(app, name, event));
    }
}

/// The same for a run that is not open.
pub fn record_outside(app: &Arc<App>, ids: &Ids, origin: &str, name: &'static str, event: &Value) {
    if app.emission.records(name) {
        store(app, HookEvent { origin: Some(origin.into()), ..Event::new(app, name, event).row(ids) });
    }
}

fn note(app: &Arc<App>, ids: &Ids, event: Event) {
    if !app.emission.records(event.name) {
        return;
    }
    let mut row = event.row(ids);
    if let Some(task) = ids.task {
        if let Some(run) = app.emission.runs().get_mut(&task) {
            row.origin = Some(run.origin.clone());
            run.events.push(row);
        }
        return;
    }
    store(app, row);
}

/// It belongs to no run that is open, so that no commit takes it along.
fn store(app: &Arc<App>, row: HookEvent) {
    let app = app.clone();
    app.work.clone().spawn(async move {
        match app.store.note_hook_events(vec![row]).await {
            Ok(()) => app.emission.ring(),
            Err(error) => {
                metrics::counter!("tercel_hook_events_dropped_total").increment(1);
                tracing::warn!("An event for hooks could not be stored: {error}");
            }
        }
    });
}
