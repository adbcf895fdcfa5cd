//! Whether the server is held, what waits, and letting it go on.

use super::{
    error::{Error, Result},
    syncs::Sync,
    time::Time,
};
use crate::{app::App, hold};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use tercel_sdk::text::cut;
use tercel_store::Uuid;

/// What is listed at the most.
const MOST: i64 = 100;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Held {
    held: bool,
    since: Option<Time>,
    reason: Option<String>,
    /// Runs that are not over and answers that did not leave, all of them.
    runs: i64,
    answers: i64,
    /// The newest of them.
    next_runs: Vec<Run>,
    next_answers: Vec<Answer>,
    /// Syncs that have not ended.
    next_syncs: Vec<Sync>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Run {
    id: Uuid,
    bot_id: String,
    /// The integration that started it, or `api`.
    origin: String,
    created_at: Time,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Answer {
    id: Uuid,
    task_id: Option<Uuid>,
    dispatch_type: String,
    /// The beginning of what would be sent.
    text: String,
    /// A rehearsal's: it is shown and not sent.
    rehearse: bool,
    created_at: Time,
}

/// Whether the server is held, and what waits
#[utoipa::path(get, path = "/api/v1/held", tag = "held", responses((status = 200, body = Held)))]
pub async fn show(State(app): State<Arc<App>>) -> Result<Json<Held>> {
    Ok(Json(of(&app).await?))
}

/// Let a server that is held go on
#[utoipa::path(post, path = "/api/v1/held/resume", tag = "held", responses((status = 200, body = Held)))]
pub async fn resume(State(app): State<Arc<App>>) -> Result<Json<Held>> {
    if app.hold.held().is_none() {
        return Err(Error::conflict("The server is not held"));
    }
    let waited = of(&app).await?;
    hold::resume(&app).await.map_err(|error| Error::unavailable(format!("{error:#}")))?;
    Ok(Json(Held { held: false, ..waited }))
}

async fn of(app: &App) -> Result<Held> {
    let held = app.hold.held();
    let (tasks, _) = app.store.queue().await?;
    let (outbox, _) = app.store.outbox_backlog().await?;
    let count = |counts: &[(String, i64)], wanted: &str| {
        counts.iter().filter(|(state, _)| state == wanted).map(|(_, count)| count).sum()
    };
    let next_runs = app.store.tasks(Some("pending"), None, None, MOST).await?;
    let next_answers = app.store.outbox(Some("pending"), None, MOST).await?;
    let next_syncs = app.store.open_syncs(MOST).await?;
    Ok(Held {
        held: held.is_some(),
        since: held.as_ref().map(|held| Time(held.since)),
        reason: held.map(|held| held.reason),
        runs: count(&tasks, "pending"),
        answers: count(&outbox, "pending"),
        next_runs: next_runs
            .into_iter()
            .map(|task| Run {
                id: task.id,
                bot_id: task.bot_id,
                origin: task.origin,
                created_at: Time(task.created_at),
            })
            .collect(),
        next_answers: next_answers
            .into_iter()
            .map(|row| Answer {
                id: row.id,
                task_id: row.task_id,
                dispatch_type: row.dispatch_type,
                text: cut(&row.text, 200).to_string(),
                rehearse: row.rehearse,
                created_at: Time(row.created_at),
            })
            .collect(),
        next_syncs: next_syncs.into_iter().map(Sync::from).collect(),
    })
}
