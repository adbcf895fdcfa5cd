//! Looks after managed hooks: each is told in the order of the log, one event after the other, until it was taken.

use super::{
    Wants, event,
    hook::{notice, signed},
    outcome::{Answer, Tell, Verdict, verdict},
    urls::Urls,
};
use crate::app::App;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_sdk::hook::Context;
use tercel_store::{Hook, HookAttempt, HookEvent, NewNotice, Told, Uuid, now};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use url::Url;

/// Hooks that are told something at the same time.
const AT_ONCE: usize = 16;
/// Events that are read at once.
const PIECE: i64 = 64;
/// What an address may take for its answer.
const LIMIT: Duration = Duration::from_secs(15);
/// Between two looks when nothing rings, or when the database is away.
const PAUSE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(1);

/// The name of the event that only shows whether a hook gets through.
pub const TEST: &str = "test";

/// Tells everybody outside until the server stops.
pub async fn run_all(app: Arc<App>) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    Urls::begin(&app);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let (mut changed, mut at_work, mut known) = (app.emission.changed.subscribe(), JoinSet::new(), HashSet::new());
    loop {
        changed.borrow_and_update();
        let pause = match app.store.hooks().await {
            Ok(hooks) => {
                for hook in hooks.into_iter().filter(|hook| hook.enabled && known.insert(hook.id)) {
                    at_work.spawn(look_after(app.clone(), hook.id, room.clone()));
                }
                PAUSE
            }
            Err(_) => SHORT,
        };
        tokio::select! {
            () = app.stopping.cancelled() => break,
            _ = changed.changed() => {}
            Some(Ok(id)) = at_work.join_next() => { known.remove(&id); }
            () = tokio::time::sleep(pause) => {}
        }
    }
    // What is on its way is noted.
    while at_work.join_next().await.is_some() {}
}

/// Until the hook is disabled or gone, or the server stops. Answers which it was.
async fn look_after(app: Arc<App>, id: Uuid, room: Arc<Semaphore>) -> Uuid {
    let (mut changed, mut news) = (app.emission.changed.subscribe(), app.emission.news.subscribe());
    while !app.stopping.is_cancelled() {
        changed.borrow_and_update();
        news.borrow_and_update();
        let wait = match app.store.hook(id).await {
            Ok(Some(hook)) if hook.enabled => match go_on(&app, hook, &room, &changed).await {
                Ok(wait) => wait,
                Err(_) => SHORT,
            },
            Ok(_) => return id,
            Err(_) => SHORT,
        };
        if wait.is_zero() {
            continue;
        }
        let is_idle = wait == PAUSE;
        tokio::select! {
            () = app.stopping.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
            _ = changed.changed() => {}
            _ = news.changed(), if is_idle => {}
        }
    }
    id
}

/// Tells one hook what comes next. Answers how long there is nothing to do.
async fn go_on(
    app: &Arc<App>,
    hook: Hook,
    room: &Semaphore,
    changed: &watch::Receiver<()>,
) -> tercel_store::Result<Duration> {
    let mut progress = hook.progress;
    let early = progress.next_at - now();
    if early > 0 {
        return Ok(Duration::from_micros(early.unsigned_abs()).min(PAUSE - SHORT));
    }
    let events = app.store.hook_events(progress.reached, PIECE).await?;
    let Some(last) = events.last().map(|event| event.seq) else { return Ok(PAUSE) };
    let wants = Wants::of(&hook);
    for event in events.into_iter().filter(|event| wants.takes(event)) {
        // Its address may be another one by now.
        if app.stopping.is_cancelled() || changed.has_changed().unwrap_or(true) {
            return Ok(Duration::ZERO);
        }
        let (attempt, answer) = {
            let _room = room.acquire().await.expect("the semaphore is never closed");
            once(app, &hook, &event).await
        };
        if app.stopping.is_cancelled() && attempt.error.is_some() {
            // It was cut off, which says nothing about the address.
            return Ok(Duration::ZERO);
        }
        let why = attempt.error.clone();
        let verdict = verdict(progress, event.seq, &answer, now(), 0.8 + 0.4 * rand::random::<f64>());
        let told = Told {
            hook: hook.id,
            attempt: Some(HookAttempt { outcome: verdict.outcome.into(), ..attempt }),
            moved: Some((progress.reached, verdict.progress)),
            stopped: verdict.stopped.map(str::to_owned),
        };
        if !app.store.told(told).await? {
            return Ok(Duration::ZERO);
        }
        progress = verdict.progress;
        say(app, &hook, &event, &verdict, why.as_deref()).await;
        if verdict.stopped.is_some() {
            app.emission.read(&app.store).await?;
        }
        if verdict.outcome != "delivered" {
            return Ok(Duration::ZERO);
        }
    }
    if progress.reached < last {
        let passed = tercel_store::Progress { reached: last, ..progress };
        let moved = Some((progress.reached, passed));
        app.store.told(Told { hook: hook.id, attempt: None, moved, stopped: None }).await?;
    }
    Ok(Duration::ZERO)
}

/// Sends an event once. Answers what is noted of it, and what it means.
pub async fn once(app: &Arc<App>, hook: &Hook, event: &HookEvent) -> (HookAttempt, Answer) {
    let (at, began) = (now(), Instant::now());
    let sent = send(app, hook, event).await;
    let (answer, error) = match sent {
        Ok(response) if response.status.is_success() => (answer_of(&response), None),
        Ok(response) => {
            let error = format!("The address answered {}", response.status.as_u16());
            (answer_of(&response), Some(error))
        }
        Err(error) => {
            let error = app.catalog().redactor.error(error);
            let answer = Answer { status: error.status, retry_after: error.retry_after };
            (answer, Some(error.message))
        }
    };
    let attempt = HookAttempt {
        n: 0,
        seq: (event.seq > 0).then_some(event.seq),
        event_id: event.id,
        event: event.event.clone(),
        outcome: if error.is_none() { "delivered" } else { "failed" }.into(),
        status: answer.status.map(i64::from),
        error,
        duration_ms: began.elapsed().as_millis() as i64,
        at,
    };
    metrics::counter!("tercel_hook_attempts_total", "outcome" => attempt.outcome.clone()).increment(1);
    (attempt, answer)
}

fn answer_of(response: &tercel_sdk::http::Response) -> Answer {
    Answer { status: Some(response.status.as_u16()), retry_after: response.retry_after() }
}

async fn send(app: &Arc<App>, hook: &Hook, event: &HookEvent) -> tercel_sdk::Result<tercel_sdk::http::Response> {
    let headers = signed(app, hook, event.id, event.body.as_bytes())
        .map_err(|error| tercel_sdk::Error::not_configured(error.to_string()))?;
    let granted = hook.granted.then_some(hook.url.as_str());
    let http = app.plain_http(granted, None, &app.stopping);
    let mut request = http
        .post(&hook.url)
        .body("application/json", event.body.clone())
        .timeout(LIMIT)
        .max_response(1 << 16)
        .repeatable();
    for (name, value) in &headers {
        request = request.header(name.as_str(), value.to_str().unwrap_or_default());
    }
    request.send().await
}

/// Raises and closes the notice of a hook.
async fn say(app: &Arc<App>, hook: &Hook, event: &HookEvent, verdict: &Verdict, why: Option<&str>) {
    match verdict.tell {
        Tell::Nothing => {}
        Tell::Over => app.close_notice(&notice(hook.id)).await,
        Tell::Trouble => _ = app.raise(trouble(hook, event, verdict, why)).await,
    }
}

fn trouble(hook: &Hook, event: &HookEvent, verdict: &Verdict, why: Option<&str>) -> NewNotice {
    // The rest of the address may be a secret.
    let host = hook.url.parse::<Url>().ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let last = why.unwrap_or_default();
    let (title, detail, repair) = match (verdict.stopped, verdict.outcome) {
        (Some(why), _) => (
            format!("The hook to `{host}` is disabled"),
            format!("{why}. {last}"),
            "Mend the receiver, then enable the hook (PUT /api/v1/hooks/{id}); POST …/replay sends what it missed",
        ),
        (None, "given_up") => (
            format!("The hook to `{host}` refuses an event"),
            format!("`{}` was given up, what came after it is sent. {last}", event.event),
            "GET /api/v1/hooks/{id}/attempts shows it; POST …/attempts/{n}/redeliver sends it again",
        ),
        _ => (
            format!("The hook to `{host}` does not get through"),
            format!("What happens is kept and sent later. {last}"),
            "Mend the receiver; POST /api/v1/hooks/{id}/test tries it at once",
        ),
    };
    let repair = Some(repair.replace("{id}", &hook.id.to_string()));
    NewNotice { key: notice(hook.id), severity: "error", title, detail, repair }
}

/// An event that only shows whether a hook gets through.
pub fn test_event(hook: Uuid) -> HookEvent {
    let at = now();
    let context = serde_json::to_value(Context::default()).unwrap_or(Value::Null);
    HookEvent {
        seq: 0,
        id: Uuid::now_v7(),
        event: TEST.into(),
        origin: None,
        bot_id: None,
        channel_id: None,
        body: event::body(TEST, at, json!({"context": context, "hook_id": hook})),
        created_at: at,
    }
}
