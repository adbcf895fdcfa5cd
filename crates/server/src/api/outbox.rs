//! Answers on their way out.

use super::{
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Id, Ids, Query},
    time::Time,
};
use crate::app::App;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::{OutboxRow, Uuid};

const STATES: [&str; 9] = ["pending", "sending", "sent", "withheld", "held", "parked", "dead", "dropped", "expired"];

/// One part of one answer for one target.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OutboxPart {
    #[serde(flatten)]
    part: Part,
    /// How many there were.
    attempts: i64,
}

/// What a list and a whole part have in common.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Part {
    id: Uuid,
    task_id: Option<Uuid>,
    session_id: Option<Uuid>,
    bot_id: String,
    dispatch_type: String,
    /// Secrets masked.
    #[schema(value_type = Object)]
    dispatch_config: Value,
    text: String,
    /// From 1; 0 is the beginning of an answer, shown while it was written.
    part: i64,
    parts: i64,
    /// `pending`, `sending`, `sent`, `withheld`, `held`, `parked`, `dead`, `dropped` or `expired`.
    state: String,
    /// It may have arrived: nobody knows.
    unknown: bool,
    rehearsal: bool,
    /// What the service answered: `id`, `url`.
    #[schema(value_type = Option<Object>)]
    receipt: Value,
    /// `code`, `message`, `hint`.
    #[schema(value_type = Option<Object>)]
    error: Value,
    next_at: Time,
    created_at: Time,
    expires_at: Option<Time>,
    ended_at: Option<Time>,
}

/// A part with all attempts to send it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WholeOutboxPart {
    #[serde(flatten)]
    part: Part,
    attempts: Vec<Attempt>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Attempt {
    n: i64,
    started_at: Time,
    /// Null: it is under way, or the server ended in the middle.
    ended_at: Option<Time>,
    /// `sent`, `withheld`, `not_sent`, `unknown` or `refused`.
    outcome: Option<String>,
    #[schema(value_type = Option<Object>)]
    error: Value,
}

impl OutboxPart {
    fn of(app: &App, row: OutboxRow) -> Self {
        Self { attempts: row.attempts, part: Part::of(app, row) }
    }
}

impl Part {
    fn of(app: &App, row: OutboxRow) -> Self {
        Self {
            id: row.id,
            task_id: row.task_id,
            session_id: row.session_id,
            bot_id: row.bot_id,
            dispatch_type: row.dispatch_type,
            dispatch_config: app.masked_target(Some(&row.sealed_target)),
            text: row.text,
            part: row.part,
            parts: row.parts,
            state: row.state,
            unknown: row.unknown,
            rehearsal: row.rehearse,
            receipt: super::json(row.receipt.as_deref()),
            error: super::json(row.error.as_deref()),
            next_at: Time(row.next_at),
            created_at: Time(row.created_at),
            expires_at: row.expires_at.map(Time),
            ended_at: row.ended_at.map(Time),
        }
    }
}

impl WholeOutboxPart {
    pub async fn of(app: &App, row: OutboxRow) -> tercel_store::Result<Self> {
        let attempts = app.store.attempts(row.id).await?.into_iter().map(|attempt| Attempt {
            n: attempt.n,
            started_at: Time(attempt.started_at),
            ended_at: attempt.ended_at.map(Time),
            outcome: attempt.outcome,
            error: super::json(attempt.error.as_deref()),
        });
        Ok(Self { attempts: attempts.collect(), part: Part::of(app, row) })
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only parts in this state.
    state: Option<String>,
}

/// List parts of answers, newest first
#[utoipa::path(get, path = "/api/v1/outbox", tag = "outbox", params(Piece, Filter), responses((status = 200, body = Vec<OutboxPart>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page, Query(filter): Query<Filter>) -> Result<List<OutboxPart>> {
    let state = filter.state.as_deref();
    if state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(Error::invalid(format!("state: it is one of {}", STATES.join(", "))));
    }
    let rows = app.store.outbox(state, page.after()?, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(|row| OutboxPart::of(&app, row)).collect(), next))
}

/// Show a part with its attempts
#[utoipa::path(get, path = "/api/v1/outbox/{id}", tag = "outbox", params(("id" = Uuid, Path)), responses((status = 200, body = WholeOutboxPart)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<WholeOutboxPart>> {
    let row = find(&app, id).await?;
    Ok(Json(WholeOutboxPart::of(&app, row).await?))
}

/// Send a part again; where it may have arrived, it is looked for first
#[utoipa::path(post, path = "/api/v1/outbox/{id}/retry", tag = "outbox", params(("id" = Uuid, Path)), responses((status = 200, body = OutboxPart), (status = 409, description = "It is on its way, was delivered or dropped")))]
pub async fn retry(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<OutboxPart>> {
    let kind = find(&app, id).await?.dispatch_type;
    let catalog = app.catalog();
    let dispatcher = catalog.dispatcher(&kind);
    let can_find = dispatcher.is_some_and(|dispatcher| dispatcher.find.is_some());
    let row = app.store.retry_outbox(id, can_find).await?;
    crate::outbox::settle(&app, &row.dispatch_type).await;
    Ok(Json(OutboxPart::of(&app, row)))
}

/// Never send a part
#[utoipa::path(post, path = "/api/v1/outbox/{id}/drop", tag = "outbox", params(("id" = Uuid, Path)), responses((status = 200, body = OutboxPart), (status = 409, description = "It is on its way, was delivered or dropped")))]
pub async fn drop(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<OutboxPart>> {
    find(&app, id).await?;
    let row = app.store.drop_outbox(id).await?;
    crate::outbox::settle(&app, &row.dispatch_type).await;
    Ok(Json(OutboxPart::of(&app, row)))
}

async fn find(app: &App, id: Uuid) -> Result<OutboxRow> {
    app.store.outbox_row(id).await?.ok_or_else(|| Error::not_found(format!("There is no outbox row {id}")))
}
