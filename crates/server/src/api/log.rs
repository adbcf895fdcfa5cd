//! What is logged, changed while the server runs.

use super::{
    error::{Error, Result},
    request::Body,
};
use crate::{app::App, telemetry};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Logging {
    /// As in `TERCEL_LOG`.
    #[schema(example = "info,tercel::outbox=debug")]
    filter: String,
    /// What counts after the next start.
    of_environment: String,
    /// The parts that a filter can name.
    modules: Vec<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// A level such as `info`, or a list such as `info,tercel::outbox=debug`.
    filter: String,
}

/// Show what is logged
#[utoipa::path(get, path = "/api/v1/admin/log", tag = "log", responses((status = 200, body = Logging)))]
pub async fn show(State(app): State<Arc<App>>) -> Json<Logging> {
    let of_environment = app.config.log.clone();
    Json(Logging {
        filter: telemetry::logged().unwrap_or_else(|| of_environment.clone()),
        of_environment,
        modules: telemetry::MODULES.iter().map(|module| format!("tercel::{module}")).collect(),
    })
}

/// Log more, or less, until the next start
#[utoipa::path(put, path = "/api/v1/admin/log", tag = "log", request_body = Change, responses((status = 200, body = Logging)))]
pub async fn put(State(app): State<Arc<App>>, Body(change): Body<Change>) -> Result<Json<Logging>> {
    telemetry::log_by(&change.filter).map_err(|error| Error::invalid(format!("filter: {error:#}")))?;
    tracing::info!("The log is filtered by `{}` from now on", change.filter);
    Ok(show(State(app)).await)
}

/// Log again what the environment says
#[utoipa::path(delete, path = "/api/v1/admin/log", tag = "log", responses((status = 200, body = Logging)))]
pub async fn delete(State(app): State<Arc<App>>) -> Result<Json<Logging>> {
    let filter = app.config.log.clone();
    put(State(app), Body(Change { filter })).await
}
