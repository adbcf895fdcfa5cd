//! Stopping an answer, and answering the calls of tools that the client has.

use crate::{
    api::{
        error::{Error, Result},
        request::Body,
        sessions, tasks,
    },
    app::App,
    catalog::DEFAULT,
    runner,
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_agent::Step;
use tercel_sdk::Kind;
use tercel_store::{Session, Uuid};

/// The newest runs of a session, in which a call that was answered before is looked for.
const LOOKED_AT: i64 = 50;

/// Which run: one of these.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Cancel {
    task_id: Option<Uuid>,
    /// The run that this session is busy with, or that waits for its client.
    session_id: Option<Uuid>,
    /// The run that the session of this place is busy with; `default` when nothing else is said.
    client_id: Option<String>,
    bot_id: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Cancelled {
    /// False when nothing ran.
    cancelled: bool,
    task_id: Option<Uuid>,
    session_id: Option<Uuid>,
}

/// Stop the answer that is being given
#[utoipa::path(post, path = "/chat/cancel", tag = "chat", request_body = Cancel, responses((status = 200, body = Cancelled)))]
pub async fn cancel(State(app): State<Arc<App>>, Body(body): Body<Cancel>) -> Result<Json<Cancelled>> {
    let (session_id, task_id) = match (body.task_id, body.session_id) {
        (Some(task), _) => (Some(tasks::find(&app, task).await?.session_id), Some(task)),
        (None, Some(session)) => (Some(session), busy_with(&app, &sessions::find(&app, session).await?).await?),
        (None, None) => {
            let client_id = body.client_id.as_deref().unwrap_or(DEFAULT);
            let bot = body.bot_id.as_deref().unwrap_or(DEFAULT);
            let sessions = app.store.sessions(Some(client_id), None, 100).await?;
            let session = sessions.iter().find(|s| s.active && s.bot_id == bot && s.thread.is_empty());
            match session {
                Some(session) => (Some(session.id), busy_with(&app, session).await?),
                None => (None, None),
            }
        }
    };
    let mut cancelled = false;
    if let Some(task) = task_id {
        let status = runner::cancel(&app, task).await?;
        cancelled = !["complete", "failed"].contains(&status.as_str());
    }
    Ok(Json(Cancelled { cancelled, task_id, session_id }))
}

/// The run of a session that is due, or else waits for its client.
async fn busy_with(app: &App, session: &Session) -> tercel_store::Result<Option<Uuid>> {
    match session.head {
        Some(head) => Ok(Some(head)),
        None => app.store.task_of_client(session.id, None).await,
    }
}

/// What came of a call, or why nothing did.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolResult {
    task_id: Option<Uuid>,
    /// Instead of the task: the one that the session is busy with.
    session_id: Option<Uuid>,
    /// As the `tool_request` has it.
    call_id: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    result: Value,
    error: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Taken {
    task_id: Uuid,
    call_id: String,
}

/// Answer a call of a tool that the client has
///
/// Answered when the result is stored. The same call can be answered again; the first answer counts.
#[utoipa::path(
    post,
    path = "/chat/tool_result",
    tag = "chat",
    request_body = ToolResult,
    responses((status = 200, body = Taken), (status = 404, description = "No such call waits")),
)]
pub async fn tool_result(State(app): State<Arc<App>>, Body(body): Body<ToolResult>) -> Result<Json<Taken>> {
    let task = match (body.task_id, body.session_id) {
        (Some(task), _) => tasks::find(&app, task).await?.id,
        (None, Some(session)) => {
            sessions::find(&app, session).await?;
            match app.store.task_of_client(session, Some(&body.call_id)).await? {
                Some(task) => task,
                None => return answered_before(&app, session, body.call_id).await,
            }
        }
        (None, None) => return Err(Error::invalid("task_id: name the task of the call, or the session_id")),
    };
    let result = match body.error {
        Some(error) => Err(tercel_sdk::Error::new(Kind::Error, error)),
        None => Ok(body.result),
    };
    let redactor = &app.catalog().redactor;
    let result = result.map(|value| redactor.json(value)).map_err(|error| redactor.error(error));
    let answer = serde_json::to_string(&result).map_err(|error| Error::invalid(format!("result: {error}")))?;
    let is_taken = app.store.answer_client_call(task, body.call_id.clone(), answer).await?;
    match is_taken || has_result(&app, task, &body.call_id).await? {
        true => Ok(Json(Taken { task_id: task, call_id: body.call_id })),
        false => Err(Error::not_found(format!("No call `{}` of task {task} waits for a result", body.call_id))),
    }
}

/// The same answer again is taken as the first time, when its run has gone on or is over.
async fn answered_before(app: &App, session: Uuid, call_id: String) -> Result<Json<Taken>> {
    for task in app.store.tasks(None, Some(session), None, LOOKED_AT).await? {
        if has_result(app, task.id, &call_id).await? {
            return Ok(Json(Taken { task_id: task.id, call_id }));
        }
    }
    Err(Error::not_found(format!("No call `{call_id}` of session {session} waits for a result")))
}

/// Whether the result of a call is among the steps: the first one counts.
async fn has_result(app: &App, task: Uuid, call_id: &str) -> tercel_store::Result<bool> {
    let rows = app.store.steps(task, 0).await?;
    let steps = rows.iter().filter(|row| row.kind == "tool").filter_map(|row| serde_json::from_str(&row.body).ok());
    Ok(steps.into_iter().any(|step| matches!(step, Step::Tool { call_id: done, .. } if done == call_id)))
}
