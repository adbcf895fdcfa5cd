//! Programs that integrations want to have running: how they are, and starting and stopping them.

use super::{
    error::{Error, Result},
    folders::Log,
    integrations::find,
    request::{Body, Ids},
    time::Time,
};
use crate::{
    app::App,
    processes::{self, Said},
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_hosts::process::{Phase, ProcessState};

#[derive(Serialize, utoipa::ToSchema)]
pub struct Process {
    integration_id: String,
    description: String,
    command: Vec<String>,
    /// Variables that must have a value.
    required: Vec<String>,
    /// Those of them that have none.
    missing: Vec<String>,
    /// Files that it is started anew for when they change.
    watch: Vec<String>,
    /// Whether it is started by itself.
    auto_start: bool,
    /// `stopped`, `waiting` for a variable, `starting`, `running`, `resting` before its next start, `stopping`, or
    /// `failing`: it ended five times in a row and is left alone.
    status: String,
    pid: Option<u32>,
    started_at: Option<Time>,
    /// Starts after the first.
    restarts: u32,
    /// Why it does not run, or why it ended last.
    reason: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoStart {
    auto_start: bool,
}

/// Show the process of an integration
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/process", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Process)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Process>> {
    shown(&app, &id).map(Json)
}

/// Start the process of an integration, also when it is not started by itself
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/process/start", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Process)))]
pub async fn start(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Process>> {
    shown(&app, &id)?;
    processes::say(&app, &id, Said::Start);
    if app.processes.state(&id).phase == Phase::Failing {
        again(&app, &id);
    }
    shown(&app, &id).map(Json)
}

/// Stop the process of an integration, until somebody starts it or the server starts
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/process/stop", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Process)))]
pub async fn stop(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Process>> {
    shown(&app, &id)?;
    processes::say(&app, &id, Said::Stop);
    shown(&app, &id).map(Json)
}

/// Stop the process of an integration, if it runs, and start it
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/process/restart", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Process)))]
pub async fn restart(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Process>> {
    shown(&app, &id)?;
    again(&app, &id);
    processes::say(&app, &id, Said::Start);
    shown(&app, &id).map(Json)
}

/// Show what the process of an integration printed lately, the oldest first
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/process/logs", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Log)))]
pub async fn logs(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Log>> {
    shown(&app, &id)?;
    let lines = app.processes.get(&id).map(|kept| kept.log()).unwrap_or_default();
    Ok(Json(Log::of(&app, lines)))
}

/// Say whether the process of an integration is started by itself
#[utoipa::path(put, path = "/api/v1/admin/integrations/{id}/process/auto-start", tag = "integrations", params(("id" = String, Path)), request_body = AutoStart, responses((status = 200, body = Process)))]
pub async fn auto_start(
    State(app): State<Arc<App>>,
    Ids(id): Ids<String>,
    Body(AutoStart { auto_start }): Body<AutoStart>,
) -> Result<Json<Process>> {
    shown(&app, &id)?;
    processes::start_by_itself(&app, &id, auto_start).await?;
    shown(&app, &id).map(Json)
}

fn again(app: &App, id: &str) {
    if let Some(kept) = app.processes.get(id) {
        kept.restart();
    }
}

fn shown(app: &App, id: &str) -> Result<Process> {
    let entry = find(app, id)?;
    if !entry.listed.abilities.process {
        return Err(Error::not_found(format!("`{id}` has no process")));
    }
    let declared = entry.listed.integration.process.clone();
    let ProcessState { pid, started_at, restarts, reason, missing, .. } = app.processes.state(id);
    let catalog = app.catalog();
    Ok(Process {
        integration_id: id.into(),
        description: declared.as_ref().map(|process| process.description.clone()).unwrap_or_default(),
        command: declared.as_ref().map(|process| process.command.clone()).unwrap_or_default(),
        required: declared.as_ref().map(|process| process.required.clone()).unwrap_or_default(),
        watch: declared.map(|process| process.watch).unwrap_or_default(),
        missing,
        auto_start: app.processes.starts_by_itself(id),
        status: app.processes.status(id),
        pid,
        started_at: started_at.filter(|_| pid.is_some()).map(Time),
        restarts,
        reason: reason.map(|reason| catalog.redactor.text(&reason).into_owned()),
    })
}
