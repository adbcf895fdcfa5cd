//! Telling integrations what happens in runs. A hook never holds a run up.

use crate::{app::App, app::Call, catalog::DEFAULT};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tercel_sdk::{hook::HookEvent, host::Ids};
use tokio::sync::Semaphore;

const LIMIT: Duration = Duration::from_secs(10);
/// Failures in a row after which a hook rests.
const PATIENCE: u32 = 5;
const REST: Duration = Duration::from_secs(60);

pub struct Hooks {
    room: Arc<Semaphore>,
    /// Failures in a row, and until when it rests.
    failing: Mutex<HashMap<Key, (u32, Option<Instant>)>>,
}

/// An integration and an event.
type Key = (String, &'static str);

impl Default for Hooks {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(256)), failing: Mutex::default() }
    }
}

/// Tells everybody who watches `E`. The event is made only when somebody does.
pub fn fire<E: HookEvent>(app: &Arc<App>, ids: &Ids, event: impl FnOnce() -> E) {
    let catalog = app.catalog();
    let watched = |entry: &crate::catalog::Entry| entry.integration.hooks.iter().any(|hook| hook.event == E::NAME);
    if !catalog.integrations.values().any(|entry| watched(entry)) {
        return;
    }
    let Ok(event) = serde_json::to_value(event()) else { return };
    for (name, entry) in &catalog.integrations {
        for hook in entry.integration.hooks.iter().filter(|hook| hook.event == E::NAME) {
            let key = (name.clone(), hook.event);
            if app.hooks.rests(&key) {
                continue;
            }
            let Ok(permit) = app.hooks.room.clone().try_acquire_owned() else {
                metrics::counter!("tercel_hooks_dropped_total", "integration" => name.clone()).increment(1);
                continue;
            };
            let call = Call { ids: ids.clone(), timeout: Some(LIMIT), ..Call::default() };
            let Some(host) = app.host(name, DEFAULT, call) else { continue };
            let (app, handler, event) = (app.clone(), hook.handler.clone(), event.clone());
            app.clone().work.spawn(async move {
                let outcome = tokio::time::timeout(LIMIT, handler(host, event.into())).await;
                let failure = match outcome {
                    Ok(Ok(_)) => None,
                    Ok(Err(error)) => Some(error.message),
                    Err(_) => Some(format!("it took longer than {} seconds", LIMIT.as_secs())),
                };
                app.hooks.note(key, failure);
                drop(permit);
            });
        }
    }
}

impl Hooks {
    fn rests(&self, key: &Key) -> bool {
        let failing = self.failing.lock().expect("no holder of this lock panics");
        failing.get(key).and_then(|(_, until)| *until).is_some_and(|until| until > Instant::now())
    }

    fn note(&self, key: Key, failure: Option<String>) {
        let mut failing = self.failing.lock().expect("no holder of this lock panics");
        let Some(failure) = failure else {
            failing.remove(&key);
            return;
        };
        tracing::warn!(integration = %key.0, "The hook for `{}` failed: {failure}", key.1);
        let (count, until) = failing.entry(key).or_default();
        *count += 1;
        *until = (*count >= PATIENCE).then(|| Instant::now() + REST);
    }
}
