//! Telling integrations, and who else wants to know, what happens in runs. A hook never holds a run up.

use crate::{
    app::{App, Call},
    catalog::{Catalog, DEFAULT, Entry},
    emission,
    part::within,
};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tercel_sdk::{
    Handler, Host, Kind,
    hook::{Hook, HookEvent, Watches},
    host::Ids,
};

/// Calls of one hook that may be open at once: one that hangs must not use up the room of the others.
const ROOM: u32 = 64;
/// Failures in a row after which a hook rests.
const PATIENCE: u32 = 5;
const REST: Duration = Duration::from_secs(60);

/// What is known of each hook.
#[derive(Default)]
pub struct Hooks(Mutex<HashMap<Key, Watch>>);

/// An integration and an event.
type Key = (String, &'static str);

#[derive(Default)]
struct Watch {
    open: u32,
    /// In a row.
    failures: u32,
    rests_until: Option<Instant>,
}

/// Tells everybody who watches `E`. The event is made only when somebody does.
pub fn fire<E: HookEvent>(app: &Arc<App>, ids: &Ids, event: impl FnOnce() -> E) {
    if !is_watched::<E>(app, ids) && !app.emission.hears(E::NAME) {
        return;
    }
    let Ok(event) = serde_json::to_value(event()) else { return };
    emission::emit(app, ids, E::NAME, &event);
    tell_all::<E>(app, ids, &event);
}

/// The same for what managed hooks were told already: it is committed.
pub fn fire_recorded<E: HookEvent>(app: &Arc<App>, ids: &Ids, event: &Value) {
    emission::shout(app, E::NAME, event);
    tell_all::<E>(app, ids, event);
}

fn is_watched<E: HookEvent>(app: &App, ids: &Ids) -> bool {
    let catalog = app.catalog();
    let is_told = |entry: &Entry, hook: &Hook| hook.event == E::NAME && has_stake(&catalog, entry, hook, ids);
    catalog.integrations.values().any(|entry| entry.integration.hooks.iter().any(|hook| is_told(entry, hook)))
}

fn tell_all<E: HookEvent>(app: &Arc<App>, ids: &Ids, event: &Value) {
    let catalog = app.catalog();
    let is_told = |entry: &Entry, hook: &Hook| hook.event == E::NAME && has_stake(&catalog, entry, hook, ids);
    for (name, entry) in &catalog.integrations {
        for hook in entry.integration.hooks.iter().filter(|hook| is_told(entry, hook)) {
            let call = Call { ids: ids.clone(), timeout: Some(app.config.limits.hook), ..Call::default() };
            let Some(host) = app.host(name, DEFAULT, call) else { continue };
            let key = (name.clone(), hook.event);
            if app.hooks.begin(&key) {
                let call = tell(app.clone(), key, hook.handler.clone(), host, event.clone());
                app.work.spawn(call);
            } else {
                metrics::counter!("tercel_hooks_dropped_total", "integration" => name.clone()).increment(1);
            }
        }
    }
}

/// Whether a run has to do with an integration: its answer leaves by it, its place is one of its own, or the hook is to
/// know of all. A process is not started for others.
pub fn has_stake(catalog: &Catalog, entry: &Entry, hook: &Hook, ids: &Ids) -> bool {
    let name = entry.integration.name.as_str();
    let is_target = |kind: &str| catalog.dispatchers.get(kind).is_some_and(|owned| owned.integration == name);
    let is_bound = |channel| {
        let mut bindings = catalog.bindings.values().flatten().filter(|binding| binding.channel_id == channel);
        bindings.any(|binding| catalog.owner(&binding.client_id) == Some(name))
    };
    hook.watches == Watches::All
        || ids.target.as_ref().is_some_and(|target| is_target(&target.kind))
        || ids.client_id.as_deref().and_then(|client_id| catalog.owner(client_id)) == Some(name)
        || ids.channel.is_some_and(is_bound)
}

async fn tell(app: Arc<App>, key: Key, handler: Handler, host: Host, event: Value) {
    let call = async { handler(host, event.into()).await };
    let told = within(app.config.limits.hook, "The hook", Kind::Timeout, call).await;
    let failure = told.err().map(|error| app.catalog().redactor.error(error).message);
    app.hooks.end(key, failure);
}

impl Hooks {
    /// Whether the hook may be called now.
    fn begin(&self, key: &Key) -> bool {
        let mut hooks = self.lock();
        let watch = hooks.entry(key.clone()).or_default();
        if watch.open >= ROOM || watch.rests_until.is_some_and(|until| until > Instant::now()) {
            return false;
        }
        watch.open += 1;
        true
    }

    fn end(&self, key: Key, failure: Option<String>) {
        let mut hooks = self.lock();
        let watch = hooks.entry(key.clone()).or_default();
        watch.open = watch.open.saturating_sub(1);
        let Some(failure) = failure else {
            (watch.failures, watch.rests_until) = (0, None);
            return;
        };
        watch.failures += 1;
        if watch.failures < PATIENCE {
            tracing::warn!(integration = %key.0, "The hook for `{}` failed: {failure}", key.1);
        } else {
            watch.rests_until = Some(Instant::now() + REST);
            let (times, rest) = (watch.failures, REST.as_secs());
            tracing::warn!(
                integration = %key.0,
                "The hook for `{}` failed {times} times and rests for {rest} seconds: {failure}", key.1
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Watch>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
