//! Syncs: how far they are, and what came of them.

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
use std::{collections::BTreeMap, sync::Arc};
use tercel_store::{SyncItem, Uuid};

const OUTCOMES: [&str; 5] = ["done", "withheld", "skipped", "failed", "unknown"];

#[derive(Serialize, utoipa::ToSchema)]
pub struct Sync {
    id: Uuid,
    integration: String,
    connection: String,
    collection: String,
    /// `api` or `schedule`.
    origin: String,
    /// Nothing is sent: what would be is counted and listed.
    dry_run: bool,
    /// The account, or the target in the settings of the connection, is another than before: nothing that was pushed
    /// before counts, and all is looked for or made.
    anew: bool,
    /// `pending`, `running`, `waiting` (for a person), `complete`, `failed` or `cancelled`.
    status: String,
    /// Records that are looked at.
    total: i64,
    /// Those of them that have come to an end.
    seen: i64,
    created: i64,
    updated: i64,
    deleted: i64,
    /// There as they are here.
    skipped: i64,
    /// Refused by the service, or it fails at them again and again.
    failed: i64,
    /// Nobody knows whether they are there.
    unknown: i64,
    /// Why it waits, is tried again or failed: `code`, `message`, `hint`.
    #[schema(value_type = Option<Object>)]
    error: Value,
    /// When it is tried again.
    next_at: Option<Time>,
    created_at: Time,
    started_at: Option<Time>,
    ended_at: Option<Time>,
}

/// A sync with its reasons.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SyncReport {
    #[serde(flatten)]
    sync: Sync,
    /// How many records failed or are unknown, by code.
    codes: BTreeMap<String, i64>,
}

/// What became of one record.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SyncedRecord {
    id: String,
    /// `create`, `update` or `delete`; null when there was nothing to do.
    change: Option<String>,
    /// `done`, `withheld` (a dry run), `skipped`, `failed` or `unknown`; null: not yet looked at.
    outcome: Option<String>,
    remote_id: Option<String>,
    /// `code`, `message`, `hint`.
    #[schema(value_type = Option<Object>)]
    error: Value,
    at: Option<Time>,
}

impl From<tercel_store::Sync> for Sync {
    fn from(row: tercel_store::Sync) -> Self {
        let is_tried_again = row.status == "pending" && row.started_at.is_some();
        Self {
            id: row.id,
            seen: row.created + row.updated + row.deleted + row.skipped + row.failed + row.unknown,
            integration: row.integration,
            connection: row.connection,
            collection: row.collection,
            origin: row.origin,
            dry_run: row.dry_run,
            anew: row.anew,
            status: row.status,
            total: row.total,
            created: row.created,
            updated: row.updated,
            deleted: row.deleted,
            skipped: row.skipped,
            failed: row.failed,
            unknown: row.unknown,
            error: super::json(row.error.as_deref()),
            next_at: is_tried_again.then_some(Time(row.next_at)),
            created_at: Time(row.created_at),
            started_at: row.started_at.map(Time),
            ended_at: row.ended_at.map(Time),
        }
    }
}

impl From<SyncItem> for SyncedRecord {
    fn from(row: SyncItem) -> Self {
        Self {
            id: row.record_id,
            change: row.change,
            outcome: row.outcome,
            remote_id: row.remote_id,
            error: super::json(row.error.as_deref()),
            at: row.at.map(Time),
        }
    }
}

impl SyncReport {
    pub async fn of(app: &App, row: tercel_store::Sync) -> Result<Self> {
        let codes = app.store.sync_codes(row.id).await?.into_iter().collect();
        Ok(Self { sync: row.into(), codes })
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    integration: Option<String>,
    /// With `integration`: only those of this connection; `default` when absent.
    connection: Option<String>,
}

/// List syncs, newest first; of each connection the last 50 that have ended are kept
#[utoipa::path(get, path = "/api/v1/syncs", tag = "records", operation_id = "list_syncs", params(Piece, Filter), responses((status = 200, body = Vec<Sync>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page, Query(filter): Query<Filter>) -> Result<List<Sync>> {
    let connection = filter.connection.as_deref().unwrap_or(crate::catalog::DEFAULT);
    let of = filter.integration.as_deref().map(|integration| (integration, connection));
    let before = match page.after()? {
        Some(id) => Some((find(&app, id).await?.created_at, id)),
        None => None,
    };
    let rows = app.store.syncs(of, before, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(Sync::from).collect(), next))
}

/// Show a sync: how far it is, or what came of it
#[utoipa::path(get, path = "/api/v1/syncs/{id}", tag = "records", operation_id = "show_sync", params(("id" = Uuid, Path)), responses((status = 200, body = SyncReport)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<SyncReport>> {
    Ok(Json(SyncReport::of(&app, find(&app, id).await?).await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Outcomes {
    /// Only records with this outcome.
    outcome: Option<String>,
}

/// List what became of the records of a sync; those that were there as they are here are only counted
#[utoipa::path(get, path = "/api/v1/syncs/{id}/records", tag = "records", operation_id = "list_synced_records", params(("id" = Uuid, Path), Piece, Outcomes), responses((status = 200, body = Vec<SyncedRecord>)))]
pub async fn records(
    State(app): State<Arc<App>>,
    Ids(id): Id,
    page: Page,
    Query(Outcomes { outcome }): Query<Outcomes>,
) -> Result<List<SyncedRecord>> {
    find(&app, id).await?;
    if outcome.as_deref().is_some_and(|outcome| !OUTCOMES.contains(&outcome)) {
        return Err(Error::invalid(format!("outcome: it is one of {}", OUTCOMES.join(", "))));
    }
    let rows = app.store.sync_items(id, outcome.as_deref(), page.text(), page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.record_id.clone());
    Ok(page.list(rows.into_iter().map(SyncedRecord::from).collect(), next))
}

/// Stop a sync; what is on its way comes to its end
#[utoipa::path(post, path = "/api/v1/syncs/{id}/cancel", tag = "records", operation_id = "cancel_sync", params(("id" = Uuid, Path)), responses((status = 200, body = SyncReport), (status = 409, description = "It has ended")))]
pub async fn cancel(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<SyncReport>> {
    find(&app, id).await?;
    app.store.cancel_sync(id).await?;
    Ok(Json(SyncReport::of(&app, find(&app, id).await?).await?))
}

/// Send on a sync that waits, or that would be tried again later
#[utoipa::path(post, path = "/api/v1/syncs/{id}/resume", tag = "records", operation_id = "resume_sync", params(("id" = Uuid, Path)), responses((status = 200, body = SyncReport), (status = 409, description = "It does not wait")))]
pub async fn resume(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<SyncReport>> {
    find(&app, id).await?;
    if !app.store.resume_sync(id).await? {
        let status = find(&app, id).await?.status;
        return Err(Error::conflict(format!("Only a sync that waits can be sent on; this one is {status}")));
    }
    Ok(Json(SyncReport::of(&app, find(&app, id).await?).await?))
}

async fn find(app: &App, id: Uuid) -> Result<tercel_store::Sync> {
    app.store.sync(id).await?.ok_or_else(|| Error::not_found(format!("There is no sync {id}")))
}

/// A sync, where a run is asked for.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SyncTask {
    id: Uuid,
    /// `sync`.
    kind: &'static str,
    status: String,
    /// In words; null until it has ended.
    result: Option<String>,
    #[schema(value_type = Option<Object>)]
    error: Value,
    dispatch_type: &'static str,
    created_at: Time,
    started_at: Option<Time>,
    completed_at: Option<Time>,
    report: SyncReport,
}

impl SyncTask {
    pub async fn of(app: &App, row: tercel_store::Sync) -> Result<Self> {
        let would = if row.dry_run { " would be" } else { "" };
        let words = format!(
            "{} created, {} updated, {} deleted{would}; {} skipped, {} failed, {} unknown",
            row.created, row.updated, row.deleted, row.skipped, row.failed, row.unknown
        );
        Ok(Self {
            id: row.id,
            kind: "sync",
            status: row.status.clone(),
            result: row.ended_at.is_some().then_some(words),
            error: super::json(row.error.as_deref()),
            dispatch_type: "none",
            created_at: Time(row.created_at),
            started_at: row.started_at.map(Time),
            completed_at: row.ended_at.map(Time),
            report: SyncReport::of(app, row).await?,
        })
    }
}
