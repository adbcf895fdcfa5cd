//! Stopping an answer, and answering the calls of tools that the client has.

use crate::{
    api::{
        error::{Error, Result},
        request::Body,
        sessions, tasks,
    },
    app::App,
    catalog::DEFAULT,
    live::Now,
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tercel_agent::{Committed, Step};
use tercel_sdk::Kind;
use tercel_store::Uuid;
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    watch,
};

/// How long the commit of a result is waited for.
const COMMIT: Duration = Duration::from_secs(20);

/// Which run: one of these.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Cancel {
    task_id: Option<Uuid>,
    /// The run that this session is busy with.
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
        (None, Some(session)) => (Some(session), sessions::find(&app, session).await?.head),
        (None, None) => {
            let client_id = body.client_id.as_deref().unwrap_or(DEFAULT);
            let bot = body.bot_id.as_deref().unwrap_or(DEFAULT);
            let sessions = app.store.sessions(Some(client_id), None, 100).await?;
            let session = sessions.iter().find(|s| s.active && s.bot_id == bot && s.thread.is_empty());
            (session.map(|session| session.id), session.and_then(|session| session.head))
        }
    };
    let mut cancelled = false;
    if let Some(task) = task_id {
        let status = app.store.cancel_task(task).await?;
        cancelled = !["complete", "failed"].contains(&status.as_str());
        app.runs.cancel(task);
    }
    Ok(Json(Cancelled { cancelled, task_id, session_id }))
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
            let head = sessions::find(&app, session).await?.head;
            head.ok_or_else(|| Error::not_found(format!("Nothing runs in session {session}")))?
        }
        (None, None) => return Err(Error::invalid("task_id: name the task of the call, or the session_id")),
    };
    let feed = app.live.feed(task);
    let mut requests = feed.watch();
    let mut commits = app.store.wake().steps.subscribe();
    let taken = Taken { task_id: task, call_id: body.call_id.clone() };
    let mut result = Some(match body.error {
        Some(error) => Err(tercel_sdk::Error::new(Kind::Error, error)),
        None => Ok(body.result),
    });
    let stored = async {
        loop {
            match state(&app, task, &body.call_id).await? {
                Call::Done => return Ok(true),
                Call::Unknown => return Ok(false),
                Call::Open => {}
            }
            let is_asked = requests.borrow_and_update().requests.iter().any(|asked| asked.call_id == body.call_id);
            if is_asked && let Some(result) = result.take() {
                // Another answer may have come first; that one is stored then.
                feed.answer(&body.call_id, result);
            }
            change(&app, task, &mut commits, &mut requests).await?;
        }
    };
    match tokio::time::timeout(COMMIT, stored).await {
        Ok(Ok(true)) => Ok(Json(taken)),
        Ok(Ok(false)) => Err(Error::not_found(format!("No call `{}` of task {task} waits for a result", body.call_id))),
        Ok(Err(error)) => Err(tercel_store::Error::into(error)),
        Err(_) => Err(Error::unavailable("The result could not be stored yet; send it again")),
    }
}

/// A call as the committed steps have it.
enum Call {
    Open,
    Done,
    Unknown,
}

async fn state(app: &App, task: Uuid, call_id: &str) -> tercel_store::Result<Call> {
    // First the status: what ends after this reading is committed.
    let status = app.store.task(task).await?.map(|task| task.status).unwrap_or_default();
    let rows = app.store.steps(task, 0).await?;
    let steps = rows.iter().filter(|row| row.kind != "context");
    let steps: Vec<Committed> =
        steps.filter_map(|row| Some(Committed { attempt: 1, step: serde_json::from_str(&row.body).ok()? })).collect();
    let is_done =
        |committed: &Committed| matches!(&committed.step, Step::Tool { call_id: done, .. } if done == call_id);
    if steps.iter().any(is_done) {
        return Ok(Call::Done);
    }
    let is_started = tercel_agent::started(&steps).iter().any(|call| call.id == call_id);
    // After a crash it is pending for a moment.
    let goes_on = ["pending", "running"].contains(&status.as_str());
    Ok(if is_started && goes_on { Call::Open } else { Call::Unknown })
}

async fn change(
    app: &App,
    task: Uuid,
    commits: &mut Receiver<Uuid>,
    requests: &mut watch::Receiver<Now>,
) -> tercel_store::Result<()> {
    loop {
        tokio::select! {
            commit = commits.recv() => match commit {
                Ok(other) if other != task => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return Ok(()),
                Err(RecvError::Closed) => return Err(tercel_store::Error::Stopping),
            },
            _ = requests.changed() => return Ok(()),
            () = app.stopping.cancelled() => return Err(tercel_store::Error::Stopping),
        }
    }
}
