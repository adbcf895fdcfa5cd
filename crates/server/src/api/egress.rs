//! The ledger of requests that went out.

use super::{
    error::Result,
    page::{List, Page, Piece},
    request::Query,
};
use crate::{app::App, trace::Call};
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use tercel_store::Uuid;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only requests of this integration.
    integration: Option<String>,
    /// Only requests for this task.
    task_id: Option<Uuid>,
}

/// List requests that went out, newest first
#[utoipa::path(get, path = "/api/v1/egress", tag = "egress", params(Piece, Filter), responses((status = 200, body = Vec<Call>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page, Query(filter): Query<Filter>) -> Result<List<Call>> {
    let Filter { integration, task_id } = filter;
    let rows = app.store.egress(page.before()?, integration.as_deref(), task_id, page.limit).await?;
    let mut next = rows.last().filter(|_| rows.len() as i64 >= page.limit).map(|row| row.at);
    // What went out at the same time stands in one piece, so that only a look tells whether there is more.
    if next.is_some() && app.store.egress(next, integration.as_deref(), task_id, 1).await?.is_empty() {
        next = None;
    }
    let redactor = &app.catalog().redactor;
    let shown = |mut call: tercel_store::Egress| {
        call.path = redactor.text(&call.path).into_owned();
        Call::from(call)
    };
    Ok(page.list(rows.into_iter().map(shown).collect(), next.map(|at| at.to_string())))
}
