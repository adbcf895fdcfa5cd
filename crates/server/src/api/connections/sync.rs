//! Keeping a connection in step with records: when, under which names, now, and what of it is where.

use super::there;
use crate::{
    api::{
        auth::Identity,
        error::{Error, Result},
        integrations::find,
        page::{List, Page, Piece},
        records::{MOST, is_collection, read_all},
        request::{Body, Idempotency, Ids, Query, name},
        syncs::SyncReport,
        time::Time,
    },
    app::App,
    catalog::{DEFAULT, Entry},
    schedules::When,
    sync::{self, Mapping, Settings, first},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, sync::Arc};
use tercel_sdk::rate::Rate;
use tercel_store::{LedgerRow, NewItem, NewSync, SyncSettings, Uuid, now};

const STATES: [&str; 4] = ["there", "absent", "pushing", "unknown"];

/// How a connection is kept in step.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SyncPlan {
    /// Which records.
    collection: String,
    mapping: Mapping,
    when: Option<When>,
    /// How often it is asked, such as `5/s`; as often as the integration does when absent.
    #[schema(value_type = Option<String>)]
    rate: Option<Rate>,
    next_at: Option<Time>,
    /// What the integration reads of a record, where it says so.
    reads: Vec<String>,
    /// Records of one call, at the most.
    batch: usize,
    /// Records that are deleted here are deleted there.
    deletes: bool,
    /// What may have arrived can be found out.
    finds: bool,
    /// The newest one.
    last: Option<SyncReport>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSyncPlan {
    /// The one that the integration names when absent.
    collection: Option<String>,
    /// By the name that the integration reads: the field of the record.
    #[serde(default)]
    mapping: Mapping,
    /// Only when somebody asks for it, when absent.
    when: Option<When>,
    /// Calls of it in a time, for what it is pushed and what is looked for, such as `5/s`, `100/m`, `1000/h` or `9000/d`.
    #[schema(value_type = Option<String>)]
    rate: Option<Rate>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartSync {
    /// Objects with an `id`, which are stored first, or ids of records that are there; the whole collection when absent.
    #[schema(value_type = Option<Vec<Object>>)]
    records: Option<Vec<Value>>,
    /// Sends nothing and stores nothing: says what would be.
    #[serde(default)]
    dry_run: bool,
}

impl StartSync {
    /// The same for the same content.
    fn name(&self) -> String {
        sync::hash(&serde_json::json!([self.dry_run, self.records]))
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct StartedSync {
    /// What it came to is shown at `/api/v1/syncs/{id}`, and at `/api/v1/tasks/{id}`.
    task_id: Uuid,
}

/// Show how a connection is kept in step with records
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connections/{name}/sync", tag = "records", operation_id = "show_sync_plan", params(("id" = String, Path), ("name" = String, Path)), responses((status = 200, body = SyncPlan)))]
pub async fn show(State(app): State<Arc<App>>, Ids((id, name)): Ids<(String, String)>) -> Result<Json<SyncPlan>> {
    let entry = find(&app, &id)?;
    there(&entry, &name)?;
    Ok(Json(shown(&app, &entry, &name).await?))
}

/// Say how a connection is kept in step with records, and when that happens by itself
///
/// The names are looked at with the records that there are.
#[utoipa::path(put, path = "/api/v1/admin/integrations/{id}/connections/{name}/sync", tag = "records", operation_id = "put_sync_plan", params(("id" = String, Path), ("name" = String, Path)), request_body = NewSyncPlan, responses((status = 200, body = SyncPlan), (status = 403, description = "The tier in force does not have it")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Ids((id, connection)): Ids<(String, String)>,
    Body(body): Body<NewSyncPlan>,
) -> Result<Json<SyncPlan>> {
    let entry = usable(&app, &id)?;
    there(&entry, &connection)?;
    let ready = ready(&app, &entry, &connection).await?;
    if let Some(collection) = &body.collection {
        is_collection(collection)?;
    }
    for (read, field) in &body.mapping.0 {
        name("mapping", read, 255)?;
        name(&format!("mapping.{read}"), field, 255)?;
    }
    let collection = body.collection.as_deref().unwrap_or(&ready.part.collection);
    let samples = app.store.records(collection, None, 20).await?.into_iter();
    let samples: Vec<Map<String, Value>> = samples.filter_map(|row| serde_json::from_str(&row.record).ok()).collect();
    body.mapping.check(&ready.part.reads, &samples).map_err(|error| Error::invalid(error.message))?;
    let settings = Settings {
        collection: body.collection,
        mapping: body.mapping,
        when: body.when,
        rate: body.rate,
        anchor: now(),
    };
    let next_at = first(&settings).map_err(|wrong| Error::invalid(format!("when: {wrong}")))?;
    let definition = serde_json::to_string(&settings).map_err(Error::internal)?;
    let stored =
        SyncSettings { integration: id, connection: connection.clone(), definition, next_at, updated_at: now() };
    app.store.put_sync_settings(stored).await?;
    app.syncs.notify_one();
    Ok(Json(shown(&app, &entry, &connection).await?))
}

/// Push to a connection what it has not yet of the records
///
/// Answers at once; the report is there at the end.
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/sync", tag = "records", operation_id = "start_sync", params(("id" = String, Path), ("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = StartSync, responses((status = 202, body = StartedSync), (status = 403, description = "The tier in force does not have it"), (status = 409, description = "Too many wait")))]
pub async fn start(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids((id, connection)): Ids<(String, String)>,
    Idempotency(key): Idempotency,
    Body(body): Body<StartSync>,
) -> Result<(StatusCode, Json<StartedSync>)> {
    crate::api::has_room(&app)?;
    let entry = usable(&app, &id)?;
    there(&entry, &connection)?;
    if !entry.is_configured(&connection) {
        return Err(Error::conflict(format!(
            "The connection `{connection}` of `{id}` is not configured: connect it first"
        )));
    }
    let ready = ready(&app, &entry, &connection).await?;
    let asked = key.is_some().then(|| body.name());
    let (records, items) = match body.records {
        Some(given) => read_items(given, body.dry_run)?,
        None => (Vec::new(), None),
    };
    let call = format!("syncs/{id}/{connection}");
    let known = crate::api::new_id(&identity, &call, key.as_deref());
    let before = app.store.sync(known).await?;
    if let Some(before) = before.as_ref().filter(|before| !crate::api::is_forgotten(before.created_at)) {
        return match before.asked == asked {
            true => Ok((StatusCode::ACCEPTED, Json(StartedSync { task_id: known }))),
            false => Err(Error::reused("sync")),
        };
    }
    let new = NewSync {
        id: if before.is_some() { Uuid::now_v7() } else { known },
        integration: id,
        connection,
        collection: ready.collection,
        origin: "api",
        dry_run: body.dry_run,
        asked,
        records,
        items,
    };
    let task_id = new.id;
    app.store.start_sync(new).await?;
    Ok((StatusCode::ACCEPTED, Json(StartedSync { task_id })))
}

/// What is stored first, and what the sync is about.
fn read_items(given: Vec<Value>, dry_run: bool) -> Result<(Vec<tercel_store::NewRecord>, Option<Vec<NewItem>>)> {
    if given.len() > MOST {
        return Err(Error::too_large(format!(
            "records: at most {MOST} are taken at once, and these are {}",
            given.len()
        )));
    }
    let (ids, objects): (Vec<Value>, Vec<Value>) = given.into_iter().partition(Value::is_string);
    let mut items = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        name("records", id, 255)?;
        items.push(NewItem { record_id: id.to_owned(), record: None });
    }
    let records = read_all(objects)?;
    for record in &records {
        items.push(NewItem { record_id: record.id.clone(), record: dry_run.then(|| record.record.clone()) });
    }
    // Of several with one id the last one counts.
    let mut known = BTreeSet::new();
    items.reverse();
    items.retain(|item| known.insert(item.record_id.clone()));
    Ok((if dry_run { Vec::new() } else { records }, Some(items)))
}

/// Push to the default connection what it has not yet of the records
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/sync", tag = "records", operation_id = "start_default_sync", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = StartSync, responses((status = 202, body = StartedSync)))]
pub async fn start_default(
    state: State<Arc<App>>,
    identity: Extension<Arc<Identity>>,
    Ids(id): Ids<String>,
    key: Idempotency,
    body: Body<StartSync>,
) -> Result<(StatusCode, Json<StartedSync>)> {
    start(state, identity, Ids((id, DEFAULT.into())), key, body).await
}

/// What is known of a record at the service.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LedgerEntry {
    id: String,
    /// What it is known by there.
    key: String,
    /// `there`; `absent`; `pushing`: it is on its way; `unknown`: it may be there.
    state: String,
    /// Of the last push.
    change: String,
    remote_id: Option<String>,
    /// Why the last push failed.
    #[schema(value_type = Option<Object>)]
    error: Value,
    pushed_at: Option<Time>,
    updated_at: Time,
}

impl From<LedgerRow> for LedgerEntry {
    fn from(row: LedgerRow) -> Self {
        Self {
            id: row.record_id,
            key: row.key,
            state: row.state,
            change: row.change,
            remote_id: row.remote_id,
            error: crate::api::json(row.error.as_deref()),
            pushed_at: row.pushed_at.map(Time),
            updated_at: Time(row.updated_at),
        }
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct States {
    /// Only records in this state.
    state: Option<String>,
}

/// List what was pushed by a connection, by the ids of the records
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connections/{name}/ledger", tag = "records", operation_id = "list_ledger", params(("id" = String, Path), ("name" = String, Path), Piece, States), responses((status = 200, body = Vec<LedgerEntry>)))]
pub async fn ledger(
    State(app): State<Arc<App>>,
    Ids((id, connection)): Ids<(String, String)>,
    page: Page,
    Query(States { state }): Query<States>,
) -> Result<List<LedgerEntry>> {
    let entry = find(&app, &id)?;
    there(&entry, &connection)?;
    if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        return Err(Error::invalid(format!("state: it is one of {}", STATES.join(", "))));
    }
    let ready = ready(&app, &entry, &connection).await?;
    let of = (id.as_str(), connection.as_str(), ready.collection.as_str());
    let rows = app.store.ledger(of, state.as_deref(), page.text(), page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.record_id.clone());
    Ok(page.list(rows.into_iter().map(LedgerEntry::from).collect(), next))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Whether the service has the record.
    there: bool,
    /// Its id there, if that is known.
    remote_id: Option<String>,
}

/// Say whether a record is at the service of which nobody knew: one that is not is pushed by the next sync
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/ledger/{record}", tag = "records", operation_id = "settle_record", params(("id" = String, Path), ("name" = String, Path), ("record" = String, Path)), request_body = Finding, responses((status = 200, body = LedgerEntry), (status = 409, description = "A sync is running")))]
pub async fn settle(
    State(app): State<Arc<App>>,
    Ids((id, connection, record)): Ids<(String, String, String)>,
    Body(Finding { there: is_there, remote_id }): Body<Finding>,
) -> Result<Json<LedgerEntry>> {
    let entry = find(&app, &id)?;
    there(&entry, &connection)?;
    if let Some(remote) = &remote_id {
        name("remote_id", remote, 1024)?;
    }
    let ready = ready(&app, &entry, &connection).await?;
    let of = (id.as_str(), connection.as_str(), ready.collection.as_str());
    let found = is_there.then_some(remote_id);
    Ok(Json(sync::settle(&app, of, &record, found).await?.into()))
}

/// # Errors
/// Why it pushes nothing under the tier in force.
fn usable(app: &App, id: &str) -> Result<Arc<Entry>> {
    let entry = super::super::integrations::unlocked(app, id)?;
    match sync::locked(app, id) {
        Some(why) => Err(Error::locked(why)),
        None => Ok(entry),
    }
}

async fn ready(app: &App, entry: &Entry, connection: &str) -> Result<sync::Ready> {
    if let Some(obstacle) = entry.listed.obstacle() {
        return Err(Error::conflict(obstacle));
    }
    sync::ready(app, entry, connection).await.map_err(|error| Error::conflict(error.message))
}

async fn shown(app: &App, entry: &Entry, connection: &str) -> Result<SyncPlan> {
    let ready = ready(app, entry, connection).await?;
    let id = &entry.integration.name;
    let stored = app.store.sync_settings_of(id, connection).await?;
    let settings = stored.as_ref().and_then(|stored| Settings::read(&stored.definition).ok()).unwrap_or_default();
    let last = app.store.syncs(Some((id, connection)), None, 1).await?.pop();
    Ok(SyncPlan {
        collection: ready.collection,
        mapping: settings.mapping,
        when: settings.when,
        rate: settings.rate,
        next_at: stored.and_then(|stored| stored.next_at).map(Time),
        batch: ready.part.batch,
        deletes: ready.part.deletes,
        finds: ready.part.find.is_some(),
        reads: ready.part.reads,
        last: match last {
            Some(last) => Some(SyncReport::of(app, last).await?),
            None => None,
        },
    })
}
