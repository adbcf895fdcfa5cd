//! Telling integrations, and who else wants to know, what happens in runs: in the order in which it happened, and
//! without holding a run up.

use crate::{
    app::{App, Call},
    catalog::{Catalog, Entry},
    connection::choice,
    emission,
    part::within,
};
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tercel_sdk::{
    Handler, Kind,
    hook::{Hook, HookEvent, Watches},
    host::Ids,
};
use tercel_store::Uuid;
use tokio::sync::Semaphore;

/// Calls of one integration's hooks that may be open at once: one that hangs must not use up the room of the others.
const ROOM: usize = 16;
/// Calls of one integration's hooks that may wait, those that are open among them. What comes then is dropped.
const QUEUE: usize = 256;
/// Failures in a row after which a hook rests.
const PATIENCE: u32 = 5;
const REST: Duration = Duration::from_secs(60);

/// What is known of each hook, and what hooks are still to be told.
#[derive(Default)]
pub struct Hooks {
    watches: Mutex<HashMap<Key, Watch>>,
    lines: Mutex<HashMap<String, Lines>>,
}

/// An integration and an event.
type Key = (String, &'static str);

#[derive(Default)]
struct Watch {
    /// In a row.
    failures: u32,
    rests_until: Option<Instant>,
}

/// What one integration is still to be told, by run: each run is told in order, and none waits for another.
struct Lines {
    waiting: usize,
    room: Arc<Semaphore>,
    of_runs: HashMap<Option<Uuid>, VecDeque<Telling>>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { waiting: 0, room: Arc::new(Semaphore::new(ROOM)), of_runs: HashMap::new() }
    }
}

struct Telling {
    key: Key,
    handler: Handler,
    ids: Ids,
    event: serde_json::Value,
}

/// Tells everybody who watches `E`. The event is made only when somebody does.
pub fn fire<E: HookEvent>(app: &Arc<App>, ids: &Ids, event: impl FnOnce() -> E) {
    if !is_watched::<E>(app, ids) && !app.emission.hears(E::NAME) {
        return;
    }
    let Ok(event) = serde_json::to_value(event()) else { return };
    emission::emit(app, ids, E::NAME, &event);
    pass_on::<E>(app, ids, &event);
}

/// The same for what managed hooks were told already: it is committed.
pub fn fire_recorded<E: HookEvent>(app: &Arc<App>, ids: &Ids, event: &Value) {
    emission::shout(app, E::NAME, event);
    pass_on::<E>(app, ids, event);
}

fn is_watched<E: HookEvent>(app: &App, ids: &Ids) -> bool {
    let catalog = app.catalog();
    let is_told = |entry: &Entry, hook: &Hook| hook.event == E::NAME && has_stake(&catalog, entry, hook, ids);
    catalog.integrations.values().any(|entry| entry.integration.hooks.iter().any(|hook| is_told(entry, hook)))
}

fn pass_on<E: HookEvent>(app: &Arc<App>, ids: &Ids, event: &Value) {
    let catalog = app.catalog();
    let is_told = |entry: &Entry, hook: &Hook| hook.event == E::NAME && has_stake(&catalog, entry, hook, ids);
    for (name, entry) in &catalog.integrations {
        for hook in entry.integration.hooks.iter().filter(|hook| is_told(entry, hook)) {
            let key = (name.clone(), hook.event);
            let telling = Telling { key, handler: hook.handler.clone(), ids: ids.clone(), event: event.clone() };
            match app.hooks.join(name, ids.task, telling) {
                Joined::First => _ = app.work.spawn(tell_all(app.clone(), name.clone(), ids.task)),
                Joined::Behind => {}
                Joined::Dropped => dropped(name),
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

/// Asks one hook that may answer, unless it rests. It is told to its end, even when who asks has gone.
pub async fn ask(
    app: &Arc<App>,
    integration: &str,
    hook: &tercel_sdk::hook::Hook,
    host: tercel_sdk::Host,
    call: tercel_sdk::Call,
) -> Option<serde_json::Value> {
    let key = (integration.to_owned(), hook.event);
    if app.hooks.rests(&key) {
        dropped(integration);
        return None;
    }
    let (app, handler) = (app.clone(), hook.handler.clone());
    let asked = async move {
        let limit = app.config.limits.hook;
        let what = format!("The hook of `{}` for `{}`", key.0, key.1);
        let answer = within(limit, &what, Kind::Timeout, async move { handler(host, call).await }).await;
        let answer = answer.map_err(|error| app.catalog().redactor.error(error).message);
        app.hooks.told(key, answer.as_ref().err().cloned());
        answer.ok()
    };
    tokio::spawn(asked).await.ok()?
}

/// Tells one integration what happens in one run until nothing waits.
async fn tell_all(app: Arc<App>, integration: String, run: Option<Uuid>) {
    while let Some((telling, room)) = app.hooks.next(&integration, run) {
        let _room = room.acquire_owned().await.expect("the semaphore is never closed");
        match app.hooks.rests(&telling.key) {
            true => dropped(&integration),
            false => tell(&app, telling).await,
        }
    }
}

async fn tell(app: &Arc<App>, Telling { key, handler, ids, event }: Telling) {
    let limit = app.config.limits.hook;
    let catalog = app.catalog();
    let Some(entry) = catalog.integrations.get(&key.0) else { return };
    let connection = choice::of_run(&catalog, entry, &ids).to_owned();
    let call = Call { mode: ids.mode, ids, timeout: Some(limit), ..Call::default() };
    let Some(host) = app.host(&key.0, &connection, call) else { return };
    let what = format!("The hook of `{}` for `{}`", key.0, key.1);
    let told = within(limit, &what, Kind::Timeout, async move { handler(host, event.into()).await }).await;
    let failure = told.err().map(|error| app.catalog().redactor.error(error).message);
    app.hooks.told(key, failure);
}

fn dropped(integration: &str) {
    metrics::counter!("tercel_hooks_dropped_total", "integration" => integration.to_owned()).increment(1);
}

enum Joined {
    /// Somebody has to begin telling.
    First,
    Behind,
    Dropped,
}

impl Hooks {
    fn join(&self, integration: &str, run: Option<Uuid>, telling: Telling) -> Joined {
        let mut lines = self.lines();
        let lines = lines.entry(integration.into()).or_default();
        if lines.waiting >= QUEUE {
            return Joined::Dropped;
        }
        lines.waiting += 1;
        let line = lines.of_runs.entry(run);
        let joined = match &line {
            std::collections::hash_map::Entry::Occupied(_) => Joined::Behind,
            std::collections::hash_map::Entry::Vacant(_) => Joined::First,
        };
        line.or_default().push_back(telling);
        joined
    }

    /// The next of a run, and the room it needs. When there is none the line is gone.
    fn next(&self, integration: &str, run: Option<Uuid>) -> Option<(Telling, Arc<Semaphore>)> {
        let mut lines = self.lines();
        let lines = lines.get_mut(integration)?;
        match lines.of_runs.get_mut(&run)?.pop_front() {
            Some(telling) => {
                lines.waiting -= 1;
                Some((telling, lines.room.clone()))
            }
            None => {
                lines.of_runs.remove(&run);
                None
            }
        }
    }

    fn rests(&self, key: &Key) -> bool {
        self.watches().get(key).and_then(|watch| watch.rests_until).is_some_and(|until| until > Instant::now())
    }

    fn told(&self, key: Key, failure: Option<String>) {
        let mut watches = self.watches();
        let watch = watches.entry(key.clone()).or_default();
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

    fn watches(&self) -> MutexGuard<'_, HashMap<Key, Watch>> {
        self.watches.lock().expect("no holder of this lock panics")
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Lines>> {
        self.lines.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling() -> Telling {
        let handler: Handler = Arc::new(|_, _| Box::pin(async { Ok(serde_json::Value::Null) }));
        Telling {
            key: ("board".into(), "after_response"),
            handler,
            ids: Ids::default(),
            event: serde_json::Value::Null,
        }
    }

    #[test]
    fn what_waits_is_bounded_for_each_integration_and_leaves_in_order() {
        let hooks = Hooks::default();
        let (one, other) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        let begins = |joined: Joined| matches!(joined, Joined::First);
        assert!(begins(hooks.join("board", one, telling())));
        assert!(begins(hooks.join("board", other, telling())), "each run has a line of its own");
        for _ in 2..QUEUE {
            assert!(matches!(hooks.join("board", one, telling()), Joined::Behind));
        }
        assert!(matches!(hooks.join("board", one, telling()), Joined::Dropped));
        assert!(begins(hooks.join("chat", one, telling())), "another integration has room");

        assert!(hooks.next("board", other).is_some() && hooks.next("board", other).is_none());
        assert!(begins(hooks.join("board", other, telling())), "there is room again, and the line begins anew");
        let rest = std::iter::from_fn(|| hooks.next("board", one)).count();
        assert_eq!(rest, QUEUE - 1);
    }
}
