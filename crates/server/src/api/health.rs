//! Whether the server lives, and whether it can work.

use crate::{app::App, disk, succession};
use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// A write that waits longer than this waits for something that does not come.
const STUCK: Duration = Duration::from_secs(10);

#[derive(Serialize, utoipa::ToSchema)]
pub struct Alive {
    /// `ok`
    status: String,
    version: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Ready {
    ready: bool,
    /// What stands in the way, in words.
    problems: Vec<String>,
    /// Why runs and answers wait, if they do. It does not keep the server from taking work.
    held: Option<String>,
}

/// Whether the server lives
#[utoipa::path(get, path = "/health", tag = "operation", responses((status = 200, body = Alive)))]
pub async fn health() -> Json<Alive> {
    Json(Alive { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
}

/// Whether the server can take work
#[utoipa::path(get, path = "/ready", tag = "operation", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let lag = app.store.writer_lag();
    let stuck = (lag > STUCK).then(|| format!("The database has not taken a write for {} seconds", lag.as_secs()));
    let refused = (stuck.is_none() && app.store.is_refused())
        .then(|| "The database could not be written when it was tried last; the log says why".to_owned());
    let damaged =
        app.store.is_damaged().then(|| "The database is damaged: stop the server and restore a backup".to_owned());
    let replaced = succession::obstacle(&app).map(str::to_owned);
    let behind = (!app.folders.is_ready()).then(|| "The folders of integrations are being looked at".to_owned());
    let stopping = app.stopping.is_cancelled().then(|| "The server is stopping".to_owned());
    let problems = [stuck, refused, damaged, replaced, disk::floor(&app), behind, stopping];
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready: problems.is_empty(), problems, held: app.hold.held().map(|held| held.reason) }))
}
