//! Runs that begin by the clock.

use super::{
    auth::Identity,
    error::{Error, Result},
    messages::ExecutionConfig,
    page::{List, Page, Piece},
    request::{Body, Id, Idempotency, Ids, name},
    target,
    time::Time,
};
use crate::{
    app::App,
    schedules::{self, Definition, Timing, When},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::{FireRow, Fired, Uuid, now};

/// Bytes of a prompt.
const MOST: usize = 1 << 20;
const DAY: i64 = 86_400_000_000;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Schedule {
    id: Uuid,
    name: String,
    when: When,
    /// `active`, `paused`, or `done` when it never fires again.
    state: String,
    next_at: Option<Time>,
    bot_id: String,
    client_id: String,
    thread: Option<String>,
    channel_id: Option<Uuid>,
    prompt: String,
    #[schema(value_type = Option<Object>)]
    execution_config: Value,
    /// Secrets masked.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Value,
    notify_missed: bool,
    last_at: Option<Time>,
    /// Its last run.
    task_id: Option<Uuid>,
    runs: i64,
    /// Times that passed while nobody was there. They are not made up for.
    missed: i64,
    /// Times at which its last run was still open.
    skipped: i64,
    created_at: Time,
    updated_at: Time,
}

/// A schedule as it is made or written anew.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    name: String,
    when: When,
    /// What the agent reads.
    prompt: String,
    /// The channel's bot when absent, else `default`.
    bot_id: Option<String>,
    /// The place whose conversation it runs in; one of its own when absent.
    client_id: Option<String>,
    thread: Option<String>,
    /// The same as the channel's `client_id`.
    channel_id: Option<Uuid>,
    execution_config: Option<ExecutionConfig>,
    dispatch_type: Option<String>,
    /// Where answers go; the session's or channel's target when absent. A masked secret keeps the stored one.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Option<target::Config>,
    /// Raises a notice when times were missed.
    #[serde(default)]
    notify_missed: bool,
    #[serde(default)]
    paused: bool,
}

/// One time that came.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ScheduleFire {
    n: i64,
    /// Null when somebody asked for the run.
    due_at: Option<Time>,
    fired_at: Time,
    /// `run`; `skipped`: the last run was still open; `missed`; `refused`: a ceiling; `repeated`: the clock was put back.
    outcome: String,
    /// Times after it that passed before it fired.
    missed: i64,
    task_id: Option<Uuid>,
    reason: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct StartedRun {
    session_id: Uuid,
    message_id: Uuid,
    task_id: Option<Uuid>,
    /// Why there is no run.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// List schedules, newest first
#[utoipa::path(get, path = "/api/v1/schedules", tag = "schedules", params(Piece), responses((status = 200, body = Vec<Schedule>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page) -> Result<List<Schedule>> {
    let rows = app.store.schedules(page.after()?, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(|row| shown(&app, row)).collect::<Result<_>>()?, next))
}

/// Make a schedule
#[utoipa::path(
    post,
    path = "/api/v1/schedules",
    tag = "schedules",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = NewSchedule,
    responses((status = 201, body = Schedule)),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    Body(body): Body<NewSchedule>,
) -> Result<(StatusCode, Json<Schedule>)> {
    super::has_room(&app)?;
    let id = super::new_id(&identity, "schedules", key.as_deref());
    let new = row(&app, id, body, None)?;
    if !app.store.create_schedule(new.clone()).await? {
        let made = find(&app, id).await?;
        let what = |row: &tercel_store::Schedule| {
            let definition = Definition::read(row).map(|definition| Definition { anchor: 0, ..definition });
            (row.name.clone(), definition)
        };
        if what(&made) != what(&new) {
            return Err(Error::reused("schedule"));
        }
        return Ok((StatusCode::CREATED, Json(shown(&app, made)?)));
    }
    app.schedules.notify_one();
    Ok((StatusCode::CREATED, Json(shown(&app, new)?)))
}

/// Show a schedule
#[utoipa::path(get, path = "/api/v1/schedules/{id}", tag = "schedules", params(("id" = Uuid, Path)), responses((status = 200, body = Schedule)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Schedule>> {
    Ok(Json(shown(&app, find(&app, id).await?)?))
}

/// Write a schedule anew; what was counted stays
#[utoipa::path(put, path = "/api/v1/schedules/{id}", tag = "schedules", params(("id" = Uuid, Path)), request_body = NewSchedule, responses((status = 200, body = Schedule)))]
pub async fn put(State(app): State<Arc<App>>, Ids(id): Id, Body(body): Body<NewSchedule>) -> Result<Json<Schedule>> {
    let old = find(&app, id).await?;
    let new = row(&app, id, body, Some(&old))?;
    save(&app, new).await
}

/// Delete a schedule with its history; its runs stay
#[utoipa::path(delete, path = "/api/v1/schedules/{id}", tag = "schedules", params(("id" = Uuid, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids(id): Id) -> Result<StatusCode> {
    let row = find(&app, id).await?;
    app.store.delete_schedule(id).await?;
    app.close_notice(&schedules::notice(&row)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Pause a schedule: times that pass meanwhile are neither run nor counted
#[utoipa::path(post, path = "/api/v1/schedules/{id}/pause", tag = "schedules", params(("id" = Uuid, Path)), responses((status = 200, body = Schedule)))]
pub async fn pause(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Schedule>> {
    let row = find(&app, id).await?;
    save(&app, tercel_store::Schedule { active: false, updated_at: now(), ..row }).await
}

/// Resume a schedule at its next time
#[utoipa::path(post, path = "/api/v1/schedules/{id}/resume", tag = "schedules", params(("id" = Uuid, Path)), responses((status = 200, body = Schedule)))]
pub async fn resume(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Schedule>> {
    let row = find(&app, id).await?;
    if row.active {
        return Ok(Json(shown(&app, row)?));
    }
    let definition = Definition::read(&row).map_err(Error::conflict)?;
    let next_at = match definition.when.parse().map_err(Error::conflict)? {
        Timing::Once(_) => row.next_at,
        timing => schedules::next_fire(&timing, definition.anchor, now()),
    };
    save(&app, tercel_store::Schedule { active: true, next_at, updated_at: now(), ..row }).await
}

/// Start a run of a schedule now, paused or not
#[utoipa::path(
    post,
    path = "/api/v1/schedules/{id}/run",
    tag = "schedules",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = StartedRun), (status = 409, description = "Its last run is still open")),
)]
pub async fn run(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
    Idempotency(key): Idempotency,
) -> Result<(StatusCode, Json<StartedRun>)> {
    super::has_room(&app)?;
    let row = find(&app, id).await?;
    if app.runs.is_backed_up(&app).await {
        return Err(Error::unavailable("Too many runs are waiting: try again later"));
    }
    let call = format!("schedules/{id}/run");
    let dedupe = key.map(|key| (identity.idempotency(&call, &key), now() + DAY));
    if let Some((key, _)) = &dedupe
        && let Some(first) = app.store.first_of(key).await?
    {
        return Ok((StatusCode::ACCEPTED, Json(started_before(&app, first).await?)));
    }
    let started = match schedules::run_now(&app, &row, dedupe).await? {
        Fired::Run(placed) => StartedRun {
            session_id: placed.session_id,
            message_id: placed.message_id,
            task_id: placed.task_id,
            reason: placed.refused.map(|scope| format!("The ceiling of `{scope}` is reached")),
        },
        Fired::Repeated(first) => started_before(&app, first).await?,
        Fired::Open(task) => {
            return Err(Error::conflict(format!("Its last run, task {task}, is still open; cancel it or wait")));
        }
        Fired::Gone | Fired::Silent => {
            return Err(Error::conflict("The schedule was changed at the same time; ask again"));
        }
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// The times of a schedule that came, newest first; the last 200 are kept
#[utoipa::path(get, path = "/api/v1/schedules/{id}/history", tag = "schedules", params(("id" = Uuid, Path), Piece), responses((status = 200, body = Vec<ScheduleFire>)))]
pub async fn history(State(app): State<Arc<App>>, Ids(id): Id, page: Page) -> Result<List<ScheduleFire>> {
    find(&app, id).await?;
    let rows = app.store.fires(id, page.before()?, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.n.to_string());
    Ok(page.list(rows.into_iter().map(ScheduleFire::from).collect(), next))
}

impl From<FireRow> for ScheduleFire {
    fn from(row: FireRow) -> Self {
        Self {
            n: row.n,
            due_at: row.due_at.map(Time),
            fired_at: Time(row.fired_at),
            outcome: row.outcome,
            missed: row.missed,
            task_id: row.task_id,
            reason: row.reason,
        }
    }
}

async fn started_before(app: &App, message: Uuid) -> Result<StartedRun> {
    let gone = || Error::conflict("This Idempotency-Key was used for a run whose message is gone");
    let message = app.store.message(message).await?.ok_or_else(gone)?;
    let (session_id, message_id, task_id) = (message.session_id, message.id, message.task_id);
    Ok(StartedRun { session_id, message_id, task_id, reason: None })
}

async fn find(app: &App, id: Uuid) -> Result<tercel_store::Schedule> {
    app.store.schedule(id).await?.ok_or_else(|| Error::not_found(format!("There is no schedule {id}")))
}

async fn save(app: &Arc<App>, row: tercel_store::Schedule) -> Result<Json<Schedule>> {
    if !app.store.put_schedule(row.clone()).await? {
        return Err(Error::not_found(format!("There is no schedule {}", row.id)));
    }
    app.close_notice(&schedules::notice(&row)).await;
    app.schedules.notify_one();
    Ok(Json(shown(app, row)?))
}

/// What is asked for, checked. What is counted comes from the old one.
fn row(app: &App, id: Uuid, body: NewSchedule, old: Option<&tercel_store::Schedule>) -> Result<tercel_store::Schedule> {
    name("name", &body.name, 200)?;
    if body.prompt.trim().is_empty() {
        return Err(Error::invalid("prompt: it must not be empty"));
    }
    if body.prompt.len() > MOST {
        return Err(Error::too_large("prompt: it has at most 1 MB"));
    }
    let time = now();
    let timing = body.when.parse().map_err(|problem| Error::invalid(format!("when.{problem}")))?;
    let client_id = place(app, id, body.client_id, body.channel_id)?;
    let thread = body.thread.unwrap_or_default();
    if !thread.is_empty() {
        name("thread", &thread, 512)?;
    }
    if let Some(bot) = &body.bot_id
        && !app.catalog().bots.contains_key(bot)
    {
        return Err(Error::invalid(format!("bot_id: there is no bot `{bot}`")));
    }
    let stored = old.and_then(|old| old.sealed_target.as_deref());
    let config = body.dispatch_config.map(|config| target::restored(app, config, stored));
    let target = target::over(None, body.dispatch_type, config)?;
    let kept = old.and_then(|old| Some((Definition::read(old).ok()?, old)));
    let kept = kept.filter(|(definition, old)| definition.when == body.when && old.active != body.paused);
    let (anchor, next_at) = match kept {
        Some((definition, old)) => (definition.anchor, old.next_at),
        None => (time, first(&timing, time)?),
    };
    let definition = Definition {
        when: body.when,
        anchor,
        bot_id: body.bot_id,
        client_id,
        thread,
        prompt: body.prompt,
        execution_config: body.execution_config.map(Into::into),
        notify_missed: body.notify_missed,
    };
    Ok(tercel_store::Schedule {
        id,
        name: body.name,
        definition: serde_json::to_string(&definition).map_err(Error::internal)?,
        sealed_target: target.map(|target| app.seal_target(&target)),
        active: !body.paused,
        next_at,
        last_at: old.and_then(|old| old.last_at),
        last_task: old.and_then(|old| old.last_task),
        fires: old.map_or(0, |old| old.fires),
        runs: old.map_or(0, |old| old.runs),
        missed: old.map_or(0, |old| old.missed),
        skipped: old.map_or(0, |old| old.skipped),
        created_at: old.map_or(time, |old| old.created_at),
        updated_at: time,
    })
}

/// The first time of a new schedule. A single one may have passed.
fn first(timing: &Timing, time: i64) -> Result<Option<i64>> {
    if let Timing::Once(at) = timing {
        return Ok(Some(*at));
    }
    let next = schedules::next_fire(timing, time, time);
    next.map(Some)
        .ok_or_else(|| Error::invalid("when: it would never fire: no time fits, or all lie in the quiet hours"))
}

fn place(app: &App, id: Uuid, client_id: Option<String>, channel: Option<Uuid>) -> Result<String> {
    let of_channel = match channel {
        Some(channel) => {
            let missing = || Error::invalid(format!("channel_id: there is no channel {channel}"));
            Some(app.catalog().channel(channel).ok_or_else(missing)?.client_id.clone())
        }
        None => None,
    };
    match (client_id, of_channel) {
        (Some(own), Some(other)) if own != other => {
            Err(Error::invalid(format!("client_id: the channel of channel_id is `{other}`; send one of the two")))
        }
        (Some(own), _) => name("client_id", &own, 512).map(|()| own),
        (None, Some(other)) => Ok(other),
        (None, None) => Ok(format!("schedule:{id}")),
    }
}

fn shown(app: &App, row: tercel_store::Schedule) -> Result<Schedule> {
    let definition = Definition::read(&row).map_err(Error::internal)?;
    let state = match (row.next_at, row.active) {
        (None, _) => "done",
        (_, true) => "active",
        (_, false) => "paused",
    };
    let channel_id = app.catalog().channels.get(&definition.client_id).map(|channel| channel.id);
    Ok(Schedule {
        id: row.id,
        name: row.name,
        state: state.into(),
        next_at: row.next_at.map(Time),
        bot_id: definition.bot(app),
        channel_id,
        when: definition.when,
        client_id: definition.client_id,
        thread: Some(definition.thread).filter(|thread| !thread.is_empty()),
        prompt: definition.prompt,
        execution_config: serde_json::to_value(definition.execution_config).map_err(Error::internal)?,
        dispatch_config: app.masked_target(row.sealed_target.as_deref()),
        notify_missed: definition.notify_missed,
        last_at: row.last_at.map(Time),
        task_id: row.last_task,
        runs: row.runs,
        missed: row.missed,
        skipped: row.skipped,
        created_at: Time(row.created_at),
        updated_at: Time(row.updated_at),
    })
}
