//! What was sent to a hook, how that went, and sending it again.

use super::find;
use crate::{
    api::{
        error::{Error, Result},
        page::{List, Page, Piece},
        request::{Body, Id, Ids},
        time::Time,
    },
    app::App,
    emission::{notice, once, test_event},
};
use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_store::{Hook, HookEvent, Progress, Told, Uuid};

/// One request to a hook's address.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HookAttempt {
    /// Null for one that is not kept.
    n: Option<i64>,
    /// The `webhook-id`: the same for each attempt at an event.
    event_id: Uuid,
    event: String,
    /// `delivered`; `failed`: it is tried again; `given_up`; `gone`: the address answered 410.
    outcome: String,
    status: Option<i64>,
    error: Option<String>,
    duration_ms: i64,
    at: Time,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    since: DateTime<Utc>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Replayed {
    /// Events from here to the newest, as far as they are kept and the hook wants them, are sent again.
    since: Time,
}

/// What was sent to a hook, newest first; the last 200 are kept
#[utoipa::path(get, path = "/api/v1/hooks/{id}/attempts", tag = "hooks", params(("id" = Uuid, Path), Piece), responses((status = 200, body = Vec<HookAttempt>)))]
pub async fn list(State(app): State<Arc<App>>, Ids(id): Id, page: Page) -> Result<List<HookAttempt>> {
    find(&app, id).await?;
    let rows = app.store.hook_attempts(id, page.before()?, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.n.to_string());
    Ok(page.list(rows.into_iter().map(HookAttempt::from).collect(), next))
}

/// Send an event `test`; when it gets through, what waits goes at once
#[utoipa::path(post, path = "/api/v1/hooks/{id}/test", tag = "hooks", params(("id" = Uuid, Path)), responses((status = 200, body = HookAttempt)))]
pub async fn test(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<HookAttempt>> {
    let hook = find(&app, id).await?;
    send(&app, &hook, &test_event(id)).await.map(Json)
}

/// Send the event of an attempt again, under the same `webhook-id`
#[utoipa::path(
    post,
    path = "/api/v1/hooks/{id}/attempts/{n}/redeliver",
    tag = "hooks",
    params(("id" = Uuid, Path), ("n" = i64, Path)),
    responses((status = 200, body = HookAttempt), (status = 409, description = "The event is not kept any more")),
)]
pub async fn redeliver(State(app): State<Arc<App>>, Ids((id, n)): Ids<(Uuid, i64)>) -> Result<Json<HookAttempt>> {
    let hook = find(&app, id).await?;
    let attempts = app.store.hook_attempts(id, n.checked_add(1), 1).await?;
    let missing = || Error::not_found(format!("There is no attempt {n} of the hook {id}"));
    let attempt = attempts.into_iter().find(|attempt| attempt.n == n).ok_or_else(missing)?;
    let seq = attempt.seq.ok_or_else(|| Error::conflict("It was a test; POST …/test sends another"))?;
    let events = app.store.hook_events(seq - 1, 1).await?;
    let gone = || Error::conflict("Its event is not kept any more; TERCEL_KEEP_BODIES says how long events are");
    let event = events.into_iter().find(|event| event.seq == seq).ok_or_else(gone)?;
    send(&app, &hook, &event).await.map(Json)
}

/// Send everything again that happened since a time
#[utoipa::path(post, path = "/api/v1/hooks/{id}/replay", tag = "hooks", params(("id" = Uuid, Path)), request_body = Replay, responses((status = 200, body = Replayed)))]
pub async fn replay(
    State(app): State<Arc<App>>,
    Ids(id): Id,
    Body(Replay { since }): Body<Replay>,
) -> Result<Json<Replayed>> {
    let hook = find(&app, id).await?;
    if !hook.enabled {
        return Err(Error::conflict("The hook is disabled; enable it first"));
    }
    let since = since.timestamp_micros();
    let reached = app.store.hook_events_before(since).await?;
    app.store.move_hook(id, reached.min(hook.progress.reached)).await?;
    app.emission.read(&app.store).await?;
    Ok(Json(Replayed { since: Time(since) }))
}

/// Beside what is sent in order.
async fn send(app: &Arc<App>, hook: &Hook, event: &HookEvent) -> Result<HookAttempt> {
    let (attempt, _) = once(app, hook, event).await;
    let is_back = attempt.outcome == "delivered" && hook.progress.failing_since.is_some();
    let Progress { reached, .. } = hook.progress;
    let moved = is_back.then_some((reached, Progress { reached, ..Progress::default() }));
    app.store.told(Told { hook: hook.id, attempt: Some(attempt.clone()), moved, stopped: None }).await?;
    if is_back {
        app.close_notice(&notice(hook.id)).await;
        app.emission.read(&app.store).await?;
    }
    let shown = HookAttempt::from(attempt);
    Ok(HookAttempt { n: None, ..shown })
}

impl From<tercel_store::HookAttempt> for HookAttempt {
    fn from(row: tercel_store::HookAttempt) -> Self {
        Self {
            n: Some(row.n),
            event_id: row.event_id,
            event: row.event,
            outcome: row.outcome,
            status: row.status,
            error: row.error,
            duration_ms: row.duration_ms,
            at: Time(row.at),
        }
    }
}
