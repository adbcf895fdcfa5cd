//! What happens at a ceiling: who is told, what waits, when it goes on.

use crate::{
    app::App,
    budgets::{HOUR, Limit, Rules, Whose, counter},
    config,
    consent::over,
    pause::{self, Paused},
    queue::patiently,
    runner::RunConfig,
    unpriced::{self, Unpriced},
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, RwLock},
    time::Duration,
};
use tercel_sdk::{Error, Kind, chat::Usage};
use tercel_store::{Action, Ceiling, Counts, Held, NewNotice, Notice, Release, Result, Spent, Store, Task, Uuid, now};
use tokio::sync::Notify;

const NOTICE: &str = "ceiling:";
/// What waits is looked through in pieces of so many.
const PIECE: i64 = 200;

/// The rules, and which scopes people were told of.
#[derive(Default)]
pub struct Ceilings {
    rules: RwLock<Arc<Rules>>,
    told: Mutex<HashSet<String>>,
    pub unpriced: Unpriced,
    pub paused: Paused,
    changed: Notify,
}

impl Ceilings {
    pub async fn load(store: &Store, defaults: config::Ceilings) -> Result<Self> {
        let open = store.notices(Some(true), None, 1000).await?;
        let told = told(&open);
        let rules = Arc::new(Rules::load(store, defaults).await?);
        let (unpriced, paused) = (Unpriced::among(&open), Paused::load(store).await?);
        Ok(Self { rules: RwLock::new(rules), told: Mutex::new(told), unpriced, paused, changed: Notify::new() })
    }

    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().expect("no holder of this lock panics").clone()
    }

    fn told(&self) -> MutexGuard<'_, HashSet<String>> {
        self.told.lock().expect("no holder of this lock panics")
    }
}

/// Reads the rules anew, after a change, and lets go on what they let.
pub async fn reload(app: &App) -> Result<()> {
    let rules = Rules::load(&app.store, app.config.ceilings).await?;
    *app.ceilings.rules.write().expect("no holder of this lock panics") = Arc::new(rules);
    app.ceilings.changed.notify_one();
    unpriced::look_again(app).await;
    Ok(())
}

/// The same, and whom it is about that people were told of, after another server was there.
pub async fn read_anew(app: &App) -> Result<()> {
    let open = app.store.notices(Some(true), None, 1000).await?;
    *app.ceilings.told() = told(&open);
    app.ceilings.unpriced.read(&open);
    app.ceilings.paused.read(&app.store).await?;
    reload(app).await
}

fn told(open: &[Notice]) -> HashSet<String> {
    open.iter().filter_map(|notice| Some(notice.key.strip_prefix(NOTICE)?.to_owned())).collect()
}

/// Lets go on what waits, as far as it may.
pub fn look(app: &App) {
    app.ceilings.changed.notify_one();
}

/// Hours since 1970.
pub fn this_hour() -> i64 {
    now() / HOUR
}

/// The counters of a run, with their limits. A rehearsal costs nothing. Nothing of a paused integration runs.
pub fn of_run(app: &App, bot_id: &str, origin: &str, client_id: &str, rehearse: bool) -> Vec<Ceiling> {
    let mut all: Vec<Ceiling> = pause::ceiling(app, origin, this_hour()).into_iter().collect();
    if !rehearse {
        all.extend(app.ceilings.rules().ceilings(&whose(app, bot_id, origin, client_id), this_hour()));
    }
    all
}

pub fn whose<'a>(app: &App, bot_id: &'a str, origin: &'a str, client_id: &'a str) -> Whose<'a> {
    Whose { bot_id, origin, client_id, is_outside: app.catalog().integrations.contains_key(origin) }
}

/// The ceiling that a run which has begun has to wait for: what was accepted before it was reached must not go far
/// beyond it.
pub async fn in_the_way(app: &App, task: &Task, client_id: &str) -> Result<Option<Ceiling>> {
    first_spent(app, of_run(app, &task.bot_id, &task.origin, client_id, task.rehearse)).await
}

/// The first of the ceilings that leaves no tokens and no money, however many runs it leaves.
pub async fn first_spent(app: &App, ceilings: Vec<Ceiling>) -> Result<Option<Ceiling>> {
    for ceiling in ceilings {
        if ceiling.tokens.is_none() && ceiling.cost.is_none() {
            continue;
        }
        let read = || app.store.spent(&ceiling.scope, ceiling.since);
        if ceiling.is_full(&patiently("Reading what was spent", read).await?, true) {
            return Ok(Some(ceiling));
        }
    }
    Ok(None)
}

/// What a run that waits for a ceiling is told.
pub fn error(ceiling: &Ceiling) -> Error {
    if let Some(paused) = pause::of(ceiling) {
        return Error::new(Kind::RateLimited, format!("`{paused}` is paused"))
            .hint(format!("The run goes on when `{paused}` is resumed"));
    }
    let what = format!("The ceiling of `{}` is reached: {}", ceiling.scope, limits(ceiling));
    Error::new(Kind::RateLimited, what).hint("The run goes on when the window is over, or when the ceiling is raised")
}

/// What a sender is told whose message is not answered now.
pub fn reason(ceiling: &Ceiling) -> String {
    if let Some(paused) = pause::of(ceiling) {
        return format!("`{paused}` is paused: the run waits until it is resumed");
    }
    let then = match ceiling.action {
        Action::Park => "the run waits until it is over",
        Action::Digest => "the message is answered together with others when it is over",
        Action::Store => "the message is kept and not answered",
    };
    format!("The ceiling of `{}` is reached: {then}", ceiling.scope)
}

/// Says once that a ceiling is reached, and what lifts it. Called when what waits for it is stored: if it was lifted
/// meanwhile, who looked then did not see that.
pub async fn report(app: &App, ceiling: &Ceiling) {
    if is_lifted(app, ceiling) {
        return look(app);
    }
    if pause::of(ceiling).is_some() || !app.ceilings.told().insert(ceiling.scope.clone()) {
        return;
    }
    let then = match ceiling.action {
        Action::Park => "runs wait",
        Action::Digest => "messages wait and are answered together",
        Action::Store => "messages are kept and not answered",
    };
    let notice = NewNotice {
        key: format!("{NOTICE}{}", ceiling.scope),
        severity: "warning",
        title: "A ceiling is reached".into(),
        detail: format!("`{}` has had its {}: {then}", ceiling.scope, limits(ceiling)),
        repair: Some(repair(app, ceiling)),
    };
    app.raise(notice).await;
}

/// What lifts a ceiling.
pub fn repair(app: &App, ceiling: &Ceiling) -> String {
    match limit_of(&app.ceilings.rules(), ceiling) {
        Some(Limit { setting: Some(setting), .. }) => {
            format!("Raise {setting} (0 lifts it) and restart, make a budget by POST /api/v1/budgets, or wait")
        }
        Some(Limit { id: Some(id), .. }) => format!("Raise the budget by PUT /api/v1/budgets/{id}, or wait"),
        _ => "Wait for the end of the window".into(),
    }
}

fn limit_of<'a>(rules: &'a Rules, ceiling: &Ceiling) -> Option<&'a Limit> {
    rules.of(&ceiling.scope, true).find(|limit| limit.ceiling(&ceiling.scope, ceiling.hour) == *ceiling)
}

/// Whether a ceiling is not one of now any more: its window is over, or its limit is another one.
fn is_lifted(app: &App, ceiling: &Ceiling) -> bool {
    let rules = app.ceilings.rules();
    let is_over = |limit: &Limit| limit.period.since(this_hour()) != ceiling.since;
    match pause::of(ceiling) {
        Some(paused) => !app.ceilings.paused.has(paused),
        None => limit_of(&rules, ceiling).is_none_or(is_over),
    }
}

/// How long the window of a ceiling goes on.
pub fn left(app: &App, ceiling: &Ceiling) -> Duration {
    let hours = limit_of(&app.ceilings.rules(), ceiling).map_or(1, |limit| limit.period.hours());
    Duration::from_micros(((ceiling.since + hours) * HOUR - now()).max(0).unsigned_abs())
}

/// What models took, at today's prices, for each scope that it counts for.
pub fn account(app: &App, whose: &Whose, spent: &[(String, Usage)]) -> Vec<Spent> {
    let hour = this_hour();
    let rules = app.ceilings.rules();
    let mut all = Vec::with_capacity(spent.len() * 5);
    for (model, usage) in spent {
        let counts = Counts {
            runs: 0,
            calls: 1,
            prompt_tokens: usage.prompt_tokens as i64,
            completion_tokens: usage.completion_tokens as i64,
            cached_tokens: usage.cached_tokens as i64,
            cache_written_tokens: usage.cache_written_tokens as i64,
            cost: rules.cost(&app.providers.names(model), *usage),
        };
        let scopes = whose.counters().into_iter().chain([format!("model:{model}")]);
        all.extend(scopes.map(|scope| Spent { scope, hour, counts }));
    }
    all
}

/// Millionths of a dollar, at today's prices.
pub fn cost(app: &App, model: &str, usage: Usage) -> i64 {
    app.ceilings.rules().cost(&app.providers.names(model), usage)
}

fn limits(ceiling: &Ceiling) -> String {
    let dollars = |cost: i64| format!("${}", cost as f64 / 1e6);
    let all = [
        ceiling.runs.map(|n| format!("{n} runs")),
        ceiling.tokens.map(|n| format!("{n} tokens")),
        ceiling.cost.map(dollars),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    all.join(" or ")
}

/// At the turn of each hour, at the start, and when a ceiling was changed.
pub async fn watch(app: Arc<App>) {
    // What is held does not go on, and is not counted.
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    let mut hour = 0;
    loop {
        let changed = tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.ceilings.changed.notified() => true,
            () = tokio::time::sleep(until_next(hour)) => false,
        };
        if changed || hour != this_hour() {
            hour = this_hour();
            if let Err(error) = go_on(&app, hour).await {
                tracing::error!("What waits for a ceiling cannot go on: {error}");
            }
        }
    }
}

/// Not longer than a minute: a clock may be set.
fn until_next(hour: i64) -> Duration {
    let left = ((hour + 1) * HOUR - now()).clamp(0, HOUR / 60);
    Duration::from_micros(left.unsigned_abs())
}

/// Lets go on what the ceilings of an hour let, the oldest first, and takes back what is over.
pub async fn go_on(app: &Arc<App>, hour: i64) -> Result<()> {
    let mut last: Option<Held> = None;
    loop {
        let all = app.store.parked(last.as_ref(), PIECE).await?;
        last = all.last().cloned();
        if last.is_none() {
            break;
        }
        release(app, all, hour).await?;
    }
    loop {
        let all = app.store.digests(last.as_ref(), PIECE).await?;
        last = all.last().cloned();
        if last.is_none() {
            break;
        }
        release(app, all.into_iter().map(gathered).collect(), hour).await?;
    }
    let told: Vec<String> = app.ceilings.told().iter().cloned().collect();
    for scope in told {
        if !is_full(app, &scope, hour).await? {
            app.ceilings.told().remove(&scope);
            app.close_notice(&format!("{NOTICE}{scope}")).await;
        }
    }
    Ok(())
}

async fn release(app: &Arc<App>, all: Vec<Held>, hour: i64) -> Result<Vec<Uuid>> {
    let rules = app.ceilings.rules();
    let release = |held: Held| {
        let whose = whose(app, &held.bot_id, &held.origin, &held.client_id);
        let mut ceilings = if held.rehearse { Vec::new() } else { rules.ceilings(&whose, hour) };
        ceilings.extend(pause::ceiling(app, &held.origin, hour));
        ceilings.extend(over::ceiling(app, &held.scope, hour));
        Release { held, ceilings, by: "the ceiling that it waited for" }
    };
    let tasks = app.store.release(all.into_iter().map(release).collect()).await?;
    if !tasks.is_empty() {
        tracing::info!("{} runs that waited for a ceiling go on", tasks.len());
    }
    Ok(tasks)
}

/// Says to the one run that it answers several messages.
fn gathered(mut held: Held) -> Held {
    if held.messages < 2 {
        return held;
    }
    let stored = held.execution_config.as_deref();
    // One that cannot be read fails the run, which says so.
    let Ok(mut config) = stored.map_or_else(|| Ok(RunConfig::default()), serde_json::from_str::<RunConfig>) else {
        return held;
    };
    let note = format!(
        "{} messages came here while they could not be answered. The newest comes next, the others stand before it: \
         answer all of them in one answer.",
        held.messages
    );
    let preamble: Vec<String> = config.brief.preamble.take().into_iter().chain([note]).collect();
    config.brief.preamble = Some(preamble.join("\n\n"));
    held.execution_config = serde_json::to_string(&config).ok().or(held.execution_config);
    held
}

/// Lets one task go on that waits for a ceiling, because a person says so. It is counted all the same, unless it is a
/// rehearsal.
pub async fn let_go(app: &App, task: &Task) -> Result<()> {
    let Some(session) = app.store.session(task.session_id).await? else { return Ok(()) };
    let hour = this_hour();
    let whose = whose(app, &task.bot_id, &task.origin, &session.client_id);
    let counters = whose.counters().into_iter().filter(|_| !task.rehearse);
    let ceilings = counters.map(|scope| counter(scope, hour)).collect();
    let held = Held {
        id: task.id,
        bot_id: task.bot_id.clone(),
        origin: task.origin.clone(),
        client_id: session.client_id,
        execution_config: None,
        rehearse: task.rehearse,
        messages: 0,
        scope: String::new(),
        created_at: task.created_at,
    };
    app.store.release(vec![Release { held, ceilings, by: "operator" }]).await.map(drop)
}

/// Whether a scope leaves no room for another run.
async fn is_full(app: &App, scope: &str, hour: i64) -> Result<bool> {
    let rules = app.ceilings.rules();
    for limit in rules.of(scope, true) {
        let ceiling = limit.ceiling(scope, hour);
        if ceiling.is_full(&app.store.spent(scope, ceiling.since).await?, false) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
