//! How a connection did.

use super::there;
use crate::{
    api::{
        error::Result,
        integrations::find,
        page::{List, Page, Piece},
        request::Ids,
        time::Time,
    },
    app::App,
};
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;

/// A time in which all tests said the same.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Span {
    /// `ok`, or why it failed.
    code: String,
    /// Of the last of these tests, as the rest.
    message: String,
    hint: Option<String>,
    account: Option<String>,
    status: Option<i64>,
    since: Time,
    last_at: Time,
    tests: i64,
}

/// List what tests of a connection said, the latest first
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connections/{name}/history", tag = "connections", operation_id = "connection_history", params(("id" = String, Path), ("name" = String, Path), Piece), responses((status = 200, body = Vec<Span>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Ids((id, name)): Ids<(String, String)>,
    page: Page,
) -> Result<List<Span>> {
    there(&*find(&app, &id)?, &name)?;
    let spans = app.store.connection_history(&id, &name, page.before()?, page.reach()).await?;
    let (spans, next) = page.cut(spans, |span| span.n.to_string());
    let shown = spans.into_iter().map(|span| Span {
        code: span.code,
        message: span.message,
        hint: span.hint,
        account: span.account,
        status: span.http_status,
        since: Time(span.since),
        last_at: Time(span.last_at),
        tests: span.tests,
    });
    Ok(page.list(shown.collect(), next))
}
