//! Everything that led to a task and came of it, in one piece.

use crate::{
    api::{
        deliveries::WholeDelivery, events::Step, messages::Message, outbox::WholeOutboxPart, sessions::Session,
        tasks::Task, time::Time,
    },
    app::App,
};
use serde::Serialize;
use serde_json::Value;
use tercel_store::{Result, Uuid};

/// Delivery → verification → session → message → task → steps → outbox, and what went out on the way.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Trace {
    delivery: Option<WholeDelivery>,
    verification: Option<Verification>,
    session: Option<Session>,
    message: Option<Message>,
    task: Task,
    steps: Vec<Step>,
    outbox: Vec<WholeOutboxPart>,
    egress: Vec<Call>,
}

/// How the sender of the delivery was known.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Verification {
    by: String,
}

/// A request that went out.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Call {
    at: Time,
    /// Absent for requests of the server itself.
    integration: Option<String>,
    connection: Option<String>,
    task_id: Option<Uuid>,
    method: String,
    host: String,
    /// Without the query.
    path: String,
    status: Option<i64>,
    /// Why there was no answer.
    error: Option<String>,
    sent_bytes: i64,
    received_bytes: i64,
    duration_ms: i64,
}

/// The trace of a task as JSON of a [`Trace`], secrets masked. `None` when there is no such task.
pub async fn of_task(app: &App, id: Uuid) -> Result<Option<Value>> {
    let Some(task) = app.store.task(id).await? else { return Ok(None) };
    let row = match task.delivery_id {
        Some(delivery) => app.store.delivery(delivery).await?,
        None => None,
    };
    let verification = row.as_ref().map(|row| Verification { by: row.verified_by.clone() });
    let delivery = match row {
        Some(row) => Some(WholeDelivery::of(app, row).await?),
        None => None,
    };
    let mut outbox = Vec::new();
    for part in app.store.outbox_of(id).await? {
        outbox.push(WholeOutboxPart::of(app, part).await?);
    }
    let trace = Trace {
        delivery,
        verification,
        session: app.store.session(task.session_id).await?.map(|session| Session::of(app, session)),
        message: app.store.message(task.message_id).await?.map(Message::from),
        steps: app.store.steps(id, 0).await?.into_iter().map(Step::of).collect(),
        outbox,
        egress: app.store.egress_of(id).await?.into_iter().map(Call::from).collect(),
        task: Task::of(app, task).await?,
    };
    Ok(Some(app.catalog().redactor.json(serde_json::to_value(trace)?)))
}

impl From<tercel_store::Egress> for Call {
    fn from(row: tercel_store::Egress) -> Self {
        Self {
            at: Time(row.at),
            integration: row.integration,
            connection: row.connection,
            task_id: row.task_id,
            method: row.method,
            host: row.host,
            path: row.path,
            status: row.status,
            error: row.error,
            sent_bytes: row.sent_bytes,
            received_bytes: row.received_bytes,
            duration_ms: row.duration_ms,
        }
    }
}
