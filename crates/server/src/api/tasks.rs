//! Agent runs.

use super::{
    auth::Identity,
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Id, Ids, Query},
    syncs::SyncTask,
    time::Time,
};
use crate::{app::App, runner, trace};
use axum::{Extension, Json, extract::State};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::{OutboxRow, Uuid};

const STATUSES: [&str; 6] = ["pending", "running", "waiting", "complete", "failed", "cancelled"];

#[derive(Serialize, utoipa::ToSchema)]
pub struct Task {
    id: Uuid,
    /// `pending`, `running`, `waiting`, `complete`, `failed` or `cancelled`.
    pub status: String,
    bot_id: String,
    session_id: Uuid,
    channel_id: Option<Uuid>,
    message_id: Uuid,
    delivery_id: Option<Uuid>,
    /// The integration that started it, or `api`.
    origin: String,
    prompt: String,
    result: Option<String>,
    /// `code`, `message`, `hint`.
    #[schema(value_type = Option<Object>)]
    error: Value,
    /// What was asked for and is not there: unknown skills and tools.
    warnings: Vec<String>,
    dispatch_type: String,
    dispatch: Dispatch,
    tokens: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    /// At the prices of that time.
    cost_usd: f64,
    /// Nothing of it leaves: the model is the rehearsal.
    rehearsal: bool,
    created_at: Time,
    scheduled_at: Option<Time>,
    run_at: Time,
    started_at: Option<Time>,
    completed_at: Option<Time>,
}

/// What became of the answer.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Dispatch {
    /// `none`, `pending`, `sent`, `withheld`, `held`, `parked`, `dead`, `dropped` or `expired`; of several parts the worst.
    state: String,
    attempts: i64,
}

impl Task {
    pub async fn of(app: &App, row: tercel_store::Task) -> tercel_store::Result<Self> {
        let prompt = app.store.message(row.message_id).await?.map(|message| message.content).unwrap_or_default();
        let mut outbox = app.store.outbox_of(row.id).await?;
        // What is shown while an answer is written is not the answer.
        outbox.retain(|part| part.part > 0);
        let dispatch_type = match outbox.first() {
            Some(part) => part.dispatch_type.clone(),
            None => dispatch_type(app, &row).await?,
        };
        Ok(Self {
            id: row.id,
            status: row.status,
            bot_id: row.bot_id,
            session_id: row.session_id,
            channel_id: row.channel_id,
            message_id: row.message_id,
            delivery_id: row.delivery_id,
            origin: row.origin,
            prompt,
            result: row.result,
            error: super::json(row.error.as_deref()),
            warnings: warnings(app, row.id).await?,
            dispatch_type,
            dispatch: dispatch(&outbox),
            tokens: row.tokens,
            prompt_tokens: row.tokens - row.completion_tokens,
            completion_tokens: row.completion_tokens,
            cost_usd: super::usage::dollars(row.cost),
            rehearsal: row.rehearse,
            created_at: Time(row.created_at),
            scheduled_at: None,
            run_at: Time(row.run_at),
            started_at: row.started_at.map(Time),
            completed_at: row.completed_at.map(Time),
        })
    }
}

/// What the run was not given, as its first step says.
async fn warnings(app: &App, task: Uuid) -> tercel_store::Result<Vec<String>> {
    let Some(step) = app.store.first_step(task).await?.filter(|step| step.kind == "context") else {
        return Ok(Vec::new());
    };
    let noted: Value = super::json(Some(&step.body));
    Ok(serde_json::from_value(noted["unknown"].clone()).unwrap_or_default())
}

/// Where the answer will go: the message's target, else the session's, else the channel's.
async fn dispatch_type(app: &App, task: &tercel_store::Task) -> tercel_store::Result<String> {
    let mut sealed = task.sealed_target.clone();
    if sealed.is_none() {
        sealed = app.store.session(task.session_id).await?.and_then(|session| session.sealed_target);
    }
    let channel = || crate::places::known_target_of(app, task.channel_id?);
    let target = sealed.or_else(channel).map(|sealed| app.masked_target(Some(&sealed)));
    Ok(target.and_then(|target| Some(target["type"].as_str()?.to_owned())).unwrap_or_else(|| "none".into()))
}

fn dispatch(parts: &[OutboxRow]) -> Dispatch {
    const WORST_FIRST: [&str; 8] = ["dead", "held", "parked", "expired", "dropped", "pending", "withheld", "sent"];
    let state = |part: &OutboxRow| if part.state == "sending" { "pending".to_owned() } else { part.state.clone() };
    let states: Vec<String> = parts.iter().map(state).collect();
    let worst = WORST_FIRST.iter().find(|worst| states.iter().any(|state| state == *worst));
    Dispatch {
        state: worst.map_or("none", |state| state).into(),
        attempts: parts.iter().map(|part| part.attempts).sum(),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only tasks with this status.
    status: Option<String>,
    /// Only tasks of this session.
    session_id: Option<Uuid>,
}

/// List tasks, newest first
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(Piece, Filter), responses((status = 200, body = Vec<Task>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page, Query(filter): Query<Filter>) -> Result<List<Task>> {
    let status = filter.status.as_deref();
    if status.is_some_and(|status| !STATUSES.contains(&status)) {
        return Err(Error::invalid(format!("status: it is one of {}", STATUSES.join(", "))));
    }
    let rows = app.store.tasks(status, filter.session_id, page.after()?, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    let tasks = stream::iter(rows).map(|row| Task::of(&app, row)).buffered(8).try_collect().await?;
    Ok(page.list(tasks, next))
}

/// An agent run, or a sync of records: those have no conversation.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum AnyTask {
    Run(Box<Task>),
    Sync(Box<SyncTask>),
}

/// Show a task
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = Uuid, Path)), responses((status = 200, body = AnyTask)))]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
) -> Result<Json<AnyTask>> {
    if let Some(sync) = sync(&app, &identity, id).await? {
        return Ok(Json(AnyTask::Sync(Box::new(SyncTask::of(&app, sync).await?))));
    }
    let row = visible(&app, &identity, id).await?;
    Ok(Json(AnyTask::Run(Box::new(Task::of(&app, row).await?))))
}

/// The sync of that id, if it is one and no run.
async fn sync(app: &App, identity: &Identity, id: Uuid) -> Result<Option<tercel_store::Sync>> {
    match identity.folder {
        Some(_) => Ok(None),
        None => Ok(app.store.sync(id).await?),
    }
}

/// The task, if the caller may know of it.
pub async fn visible(app: &App, identity: &Identity, id: Uuid) -> Result<tercel_store::Task> {
    let task = find(app, id).await?;
    if let Some(folder) = &identity.folder {
        let session = app.store.session(task.session_id).await?;
        folder.may_see(&app.catalog(), &task, session.as_ref())?;
    }
    Ok(task)
}

/// Stop a task; one that runs stops at its next step
#[utoipa::path(post, path = "/api/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = Uuid, Path)), responses((status = 200, body = AnyTask), (status = 409, description = "It has ended")))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
) -> Result<Json<AnyTask>> {
    if let Some(row) = sync(&app, &identity, id).await? {
        app.store.cancel_sync(id).await?;
        let now = app.store.sync(id).await?.unwrap_or(row);
        return Ok(Json(AnyTask::Sync(Box::new(SyncTask::of(&app, now).await?))));
    }
    visible(&app, &identity, id).await?;
    let status = runner::cancel(&app, id).await?;
    if status == "complete" || status == "failed" {
        return Err(Error::conflict(format!("The task has ended: it is {status}")));
    }
    Ok(Json(AnyTask::Run(Box::new(Task::of(&app, find(&app, id).await?).await?))))
}

/// Send a waiting task on
#[utoipa::path(post, path = "/api/v1/tasks/{id}/resume", tag = "tasks", params(("id" = Uuid, Path)), responses((status = 200, body = Task), (status = 409, description = "It does not wait")))]
pub async fn resume(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Task>> {
    let task = find(&app, id).await?;
    // One that waits for a ceiling goes on by this, and by nothing else then.
    crate::ceilings::let_go(&app, &task).await?;
    if app.store.resume_tasks(Some(id), "operator").await?.is_empty() && task.status != "waiting" {
        let status = find(&app, id).await?.status;
        return Err(Error::conflict(format!("Only a task that waits can be sent on; this one is {status}")));
    }
    Ok(Json(Task::of(&app, find(&app, id).await?).await?))
}

/// Everything that led to a task and came of it
#[utoipa::path(get, path = "/api/v1/tasks/{id}/trace", tag = "tasks", params(("id" = Uuid, Path)), responses((status = 200, body = trace::Trace)))]
pub async fn trace(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Value>> {
    let trace = trace::of_task(&app, id).await?;
    trace.map(Json).ok_or_else(|| missing(id))
}

pub async fn find(app: &App, id: Uuid) -> Result<tercel_store::Task> {
    app.store.task(id).await?.ok_or_else(|| missing(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found(format!("There is no task {id}"))
}
