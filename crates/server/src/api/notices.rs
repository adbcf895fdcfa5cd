//! What needs a person.

use super::{
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Id, Ids, Query},
    time::Time,
};
use crate::app::App;
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_store::Uuid;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Notice {
    id: Uuid,
    /// Notices with the same key are the same notice.
    key: String,
    /// `warning` or `error`.
    severity: String,
    title: String,
    detail: String,
    /// What mends it.
    repair: Option<String>,
    /// How often it was raised.
    count: i64,
    first_at: Time,
    last_at: Time,
    closed_at: Option<Time>,
}

impl From<tercel_store::Notice> for Notice {
    fn from(row: tercel_store::Notice) -> Self {
        Self {
            id: row.id,
            key: row.key,
            severity: row.severity,
            title: row.title,
            detail: row.detail,
            repair: row.repair,
            count: row.count,
            first_at: Time(row.first_at),
            last_at: Time(row.last_at),
            closed_at: row.closed_at.map(Time),
        }
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// true: only open ones; false: only closed ones; absent: all.
    open: Option<bool>,
}

/// List notices, newest first
#[utoipa::path(get, path = "/api/v1/notices", tag = "notices", params(Piece, Filter), responses((status = 200, body = Vec<Notice>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page, Query(filter): Query<Filter>) -> Result<List<Notice>> {
    let rows = app.store.notices(filter.open, page.after()?, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(Notice::from).collect(), next))
}

/// Show a notice
#[utoipa::path(get, path = "/api/v1/notices/{id}", tag = "notices", params(("id" = Uuid, Path)), responses((status = 200, body = Notice)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Notice>> {
    let row = app.store.notice(id).await?;
    row.map(|row| Json(row.into())).ok_or_else(|| Error::not_found(format!("There is no notice {id}")))
}

/// Close a notice
#[utoipa::path(post, path = "/api/v1/notices/{id}/dismiss", tag = "notices", params(("id" = Uuid, Path)), responses((status = 204)))]
pub async fn dismiss(State(app): State<Arc<App>>, Ids(id): Id) -> Result<StatusCode> {
    if app.store.dismiss_notice(id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Error::not_found(format!("There is no open notice {id}")))
}
