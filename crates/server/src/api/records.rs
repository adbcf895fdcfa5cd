//! Records: what services are kept in step with.

use super::{
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Ids, name},
    time::Time,
};
use crate::app::App;
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_store::NewRecord;

/// Records of one call.
pub const MOST: usize = 10_000;
/// Bytes of a record.
const LARGEST: usize = 1 << 20;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Collection {
    name: String,
    records: i64,
    updated_at: Time,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Record {
    collection: String,
    id: String,
    /// As it was given.
    #[schema(value_type = Object)]
    record: Value,
    created_at: Time,
    /// When it last became another.
    updated_at: Time,
}

/// A record with where it was pushed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WholeRecord {
    #[serde(flatten)]
    record: Record,
    places: Vec<Place>,
}

/// What is known of a record at a service.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Place {
    integration: String,
    connection: String,
    /// `there`; `absent`; `pushing`: it is on its way; `unknown`: it may be there.
    state: String,
    /// Its id there.
    remote_id: Option<String>,
    /// Why the last push failed: `code`, `message`, `hint`.
    #[schema(value_type = Option<Object>)]
    error: Value,
    /// When it last became there what it was here.
    pushed_at: Option<Time>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecords {
    /// Objects with an `id`; one that is there is replaced.
    #[schema(value_type = Vec<Object>)]
    records: Vec<Value>,
}

/// How many records were new, became others, and were there as they are.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StoredRecords {
    created: u64,
    updated: u64,
    unchanged: u64,
}

impl From<tercel_store::Record> for Record {
    fn from(row: tercel_store::Record) -> Self {
        Self {
            record: super::json(Some(&row.record)),
            collection: row.collection,
            id: row.id,
            created_at: Time(row.created_at),
            updated_at: Time(row.updated_at),
        }
    }
}

/// List the collections of records
#[utoipa::path(get, path = "/api/v1/records", tag = "records", operation_id = "list_collections", responses((status = 200, body = Vec<Collection>)))]
pub async fn collections(State(app): State<Arc<App>>) -> Result<Json<Vec<Collection>>> {
    let all = app.store.collections().await?.into_iter();
    let shown = all.map(|row| Collection { name: row.name, records: row.records, updated_at: Time(row.updated_at) });
    Ok(Json(shown.collect()))
}

/// List the records of a collection, by their ids
#[utoipa::path(get, path = "/api/v1/records/{collection}", tag = "records", params(("collection" = String, Path), Piece), responses((status = 200, body = Vec<Record>)))]
pub async fn list(State(app): State<Arc<App>>, Ids(collection): Ids<String>, page: Page) -> Result<List<Record>> {
    is_collection(&collection)?;
    let rows = app.store.records(&collection, page.text(), page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.clone());
    Ok(page.list(rows.into_iter().map(Record::from).collect(), next))
}

/// Store records, up to 10,000 at once; all of them or none
#[utoipa::path(post, path = "/api/v1/records/{collection}", tag = "records", params(("collection" = String, Path)), request_body = NewRecords, responses((status = 200, body = StoredRecords)))]
pub async fn store(
    State(app): State<Arc<App>>,
    Ids(collection): Ids<String>,
    Body(NewRecords { records }): Body<NewRecords>,
) -> Result<Json<StoredRecords>> {
    super::has_room(&app)?;
    is_collection(&collection)?;
    let stored = app.store.put_records(&collection, read_all(records)?).await?;
    Ok(Json(StoredRecords { created: stored.created, updated: stored.updated, unchanged: stored.unchanged }))
}

/// Show a record, and where it was pushed
#[utoipa::path(get, path = "/api/v1/records/{collection}/{id}", tag = "records", params(("collection" = String, Path), ("id" = String, Path)), responses((status = 200, body = WholeRecord)))]
pub async fn show(
    State(app): State<Arc<App>>,
    Ids((collection, id)): Ids<(String, String)>,
) -> Result<Json<WholeRecord>> {
    is_collection(&collection)?;
    whole(&app, &collection, &id).await
}

/// Store a record under its id; one that is there is replaced
#[utoipa::path(put, path = "/api/v1/records/{collection}/{id}", tag = "records", params(("collection" = String, Path), ("id" = String, Path)), request_body = Object, responses((status = 200, body = WholeRecord)))]
pub async fn put(
    State(app): State<Arc<App>>,
    Ids((collection, id)): Ids<(String, String)>,
    Body(mut record): Body<Map<String, Value>>,
) -> Result<Json<WholeRecord>> {
    super::has_room(&app)?;
    is_collection(&collection)?;
    let given = record.entry("id").or_insert_with(|| id.clone().into());
    if id_of(given).as_deref() != Some(&id) {
        return Err(Error::invalid(format!("id: the record has another id than the address, which says `{id}`")));
    }
    let new = read("record", record.into())?;
    app.store.put_records(&collection, vec![new]).await?;
    whole(&app, &collection, &id).await
}

/// Delete a record; services that were given it keep it until the next sync
#[utoipa::path(delete, path = "/api/v1/records/{collection}/{id}", tag = "records", params(("collection" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids((collection, id)): Ids<(String, String)>) -> Result<StatusCode> {
    is_collection(&collection)?;
    app.store.delete_record(&collection, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn whole(app: &App, collection: &str, id: &str) -> Result<Json<WholeRecord>> {
    let missing = || Error::not_found(format!("`{collection}` has no record `{id}`"));
    let row = app.store.record(collection, id).await?.ok_or_else(missing)?;
    let places = app.store.whereabouts(collection, id).await?.into_iter().map(|place| Place {
        integration: place.integration,
        connection: place.connection,
        state: place.row.state,
        remote_id: place.row.remote_id,
        error: super::json(place.row.error.as_deref()),
        pushed_at: place.row.pushed_at.map(Time),
    });
    Ok(Json(WholeRecord { record: row.into(), places: places.collect() }))
}

/// # Errors
/// What a collection may be called.
pub fn is_collection(name: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    match begins && name.len() <= 64 && name.chars().all(is_allowed) {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "collection: `{name}` cannot be the name of one: it begins with a small letter and has small letters, digits and _ \
             in it, 64 at the most"
        ))),
    }
}

/// # Errors
/// Which of them is none, and why.
pub fn read_all(records: Vec<Value>) -> Result<Vec<NewRecord>> {
    if records.len() > MOST {
        return Err(Error::too_large(format!(
            "records: at most {MOST} are taken at once, and these are {}",
            records.len()
        )));
    }
    records.into_iter().enumerate().map(|(n, record)| read(&format!("records[{n}]"), record)).collect()
}

fn read(field: &str, record: Value) -> Result<NewRecord> {
    let Value::Object(map) = &record else {
        return Err(Error::invalid(format!("{field}: a record is a JSON object")));
    };
    let Some(given) = map.get("id") else {
        return Err(Error::invalid(format!("{field}: it has no `id`, by which it is known from then on")));
    };
    let id = id_of(given).ok_or_else(|| Error::invalid(format!("{field}.id: it is a text or a whole number")))?;
    name(&format!("{field}.id"), &id, 255)?;
    let record = record.to_string();
    if record.len() > LARGEST {
        return Err(Error::too_large(format!("{field}: a record has at most 1 MB")));
    }
    Ok(NewRecord { id, record })
}

fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}
