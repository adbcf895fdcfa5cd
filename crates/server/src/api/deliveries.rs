//! Webhook requests that were taken.

use super::{
    auth::Identity,
    error::{Error, Result},
    integrations,
    page::{List, Page, Piece},
    request::{Id, Idempotency, Ids, Query},
    time::Time,
};
use crate::{
    app::App,
    inject,
    webhook::{self, Answer},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::Uuid;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Delivery {
    id: Uuid,
    integration: String,
    connection: String,
    /// In the service's own words: `pull_request.opened`.
    event: String,
    /// `received`, `processing`, `processed` or `failed`.
    state: String,
    /// `run`, `stored`, `ignored`, `duplicate` or `reply`.
    outcome: Option<String>,
    reason: Option<String>,
    /// How the sender was known.
    verified_by: String,
    /// Raised by each replay.
    generation: i64,
    received_at: Time,
}

/// A delivery with what was sent and answered.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WholeDelivery {
    #[serde(flatten)]
    delivery: Delivery,
    /// What describes the request; what proves it is not kept.
    #[schema(value_type = Object)]
    headers: Value,
    /// When it is text.
    body: Option<String>,
    /// When it is not.
    body_base64: Option<String>,
    /// What the sender was answered beyond the usual.
    #[schema(value_type = Option<Object>)]
    answer: Value,
    tasks: Vec<Uuid>,
}

/// What processing it again led to.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Replayed {
    delivery_id: Uuid,
    generation: i64,
    /// `processed`, `stored`, `ignored`, `duplicate` or `reply`.
    status: String,
    reason: Option<String>,
    tasks: Vec<Uuid>,
}

impl From<tercel_store::Delivery> for Delivery {
    fn from(row: tercel_store::Delivery) -> Self {
        Self {
            id: row.id,
            integration: row.integration,
            connection: row.connection,
            event: row.event,
            state: row.state,
            outcome: row.outcome,
            reason: row.reason,
            verified_by: row.verified_by,
            generation: row.generation,
            received_at: Time(row.received_at),
        }
    }
}

impl WholeDelivery {
    pub async fn of(app: &App, mut row: tercel_store::Delivery) -> tercel_store::Result<Self> {
        let catalog = app.catalog();
        let redactor = &catalog.redactor;
        let (body, body_base64) = match row.body.take().map(String::from_utf8) {
            None => (None, None),
            Some(Ok(text)) => (Some(redactor.text(&text).into_owned()), None),
            Some(Err(bytes)) => (None, Some(BASE64.encode(bytes.into_bytes()))),
        };
        Ok(Self {
            headers: redactor.json(super::json(Some(&row.headers))),
            answer: super::json(row.answer.as_deref()),
            tasks: app.store.tasks_of_delivery(row.id).await?,
            body,
            body_base64,
            delivery: row.into(),
        })
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only deliveries of this integration.
    integration: Option<String>,
}

/// List deliveries, newest first
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(Piece, Filter), responses((status = 200, body = Vec<Delivery>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page, Query(filter): Query<Filter>) -> Result<List<Delivery>> {
    let rows = app.store.deliveries(filter.integration.as_deref(), page.after()?, page.reach()).await?;
    // What an integration was sent that is not there any more is there all the same.
    if let Some(integration) = filter.integration.filter(|_| rows.is_empty()) {
        integrations::find(&app, &integration)?;
    }
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(Delivery::from).collect(), next))
}

/// Show a delivery with its body
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries", params(("id" = Uuid, Path)), responses((status = 200, body = WholeDelivery)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<WholeDelivery>> {
    let row = app.store.delivery(id).await?.ok_or_else(|| Error::not_found(format!("There is no delivery {id}")))?;
    Ok(Json(WholeDelivery::of(&app, row).await?))
}

/// Process a delivery once more
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/replay", tag = "deliveries", params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header, description = "The same key within a day is the same replay")), responses((status = 202, body = Replayed)))]
pub async fn replay(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
    Idempotency(key): Idempotency,
) -> Result<(StatusCode, Json<Replayed>)> {
    super::has_room(&app)?;
    let once = key.map(|key| (identity.idempotency(&format!("replay/{id}"), &key), inject::a_day_from_now()));
    let (generation, answer) = webhook::replay(&app, id, once).await?;
    let (status, reason, tasks) = match answer {
        Answer::Taken(taken) => (taken.status, taken.reason, taken.tasks),
        Answer::Reply { .. } => ("reply".into(), None, Vec::new()),
    };
    Ok((StatusCode::ACCEPTED, Json(Replayed { delivery_id: id, generation, status, reason, tasks })))
}
