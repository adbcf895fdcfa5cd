//! Texts that agents can search.

use super::{
    auth::Identity,
    during::During,
    error::{Error, Result},
    request::{Body, Id, Idempotency, Ids, Query, name},
    sessions,
};
use crate::app::App;
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_store::{Uuid, now};

const DAY: i64 = 86_400_000_000;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    title: Option<String>,
    content: String,
    integration_id: Option<String>,
    session_id: Option<Uuid>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Document {
    id: Uuid,
    integration_id: Option<String>,
    session_id: Option<Uuid>,
    title: String,
    content: String,
    #[schema(value_type = Object)]
    metadata: Value,
}

/// A document with how well it fits.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FoundDocument {
    #[serde(flatten)]
    document: Document,
    /// Larger is better.
    score: f64,
    /// Where it fits.
    snippet: String,
}

impl From<tercel_store::Document> for Document {
    fn from(row: tercel_store::Document) -> Self {
        Self {
            id: row.id,
            integration_id: row.integration_id,
            session_id: row.session_id,
            title: row.title,
            content: row.content,
            metadata: super::json(Some(&row.metadata)),
        }
    }
}

/// Store a document; it can be found when this returns
#[utoipa::path(
    post,
    path = "/api/v1/documents",
    tag = "documents",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key within a day is the same document")),
    request_body = NewDocument,
    responses((status = 201, body = Document)),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    during: During,
    Body(body): Body<NewDocument>,
) -> Result<(StatusCode, Json<Document>)> {
    super::has_room(&app)?;
    if body.content.trim().is_empty() {
        return Err(Error::invalid("content: it must not be empty"));
    }
    let title = body.title.unwrap_or_default();
    if !title.is_empty() {
        name("title", &title, 1000)?;
    }
    let integration_id = match &identity.folder {
        Some(folder) => folder.own_documents(body.integration_id)?,
        None => body.integration_id,
    };
    if let Some(integration) = &integration_id {
        name("integration_id", integration, 64)?;
    }
    if let Some(session) = body.session_id {
        sessions::usable(&app, &identity, session).await?;
    }
    let document = tercel_store::Document {
        id: Uuid::now_v7(),
        integration_id,
        session_id: body.session_id,
        title,
        content: body.content,
        metadata: Value::Object(body.metadata.unwrap_or_default()).to_string(),
        created_at: now(),
    };
    let call = during.of(&app, &identity);
    let name = call.as_ref().and_then(|call| call.name("documents", key.as_deref()));
    let first_counts = name.is_some();
    let dedupe = match name {
        Some(name) => Some((name, now() + 30 * DAY)),
        None => key.map(|key| (identity.idempotency("documents", &key), now() + DAY)),
    };
    let id = app.store.ingest(document.clone(), dedupe).await?;
    if id == document.id {
        return Ok((StatusCode::CREATED, Json(document.into())));
    }
    let there = find(&app, id).await?;
    if first_counts {
        return Ok((StatusCode::CREATED, Json(there.into())));
    }
    let first = tercel_store::Document { id: document.id, created_at: document.created_at, ..there };
    if first != document {
        return Err(Error::reused("document"));
    }
    Ok((StatusCode::CREATED, Json(tercel_store::Document { id, ..document }.into())))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Any of its words matches, in title or content.
    q: String,
    integration_id: Option<String>,
    session_id: Option<Uuid>,
    /// 1 to 100; 10 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
}

/// Find documents, the best first
#[utoipa::path(get, path = "/api/v1/documents/search", tag = "documents", params(Search), responses((status = 200, body = Vec<FoundDocument>)))]
pub async fn search(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Query(search): Query<Search>,
) -> Result<Json<Vec<FoundDocument>>> {
    let integration = match &identity.folder {
        Some(folder) => folder.own_documents(search.integration_id)?,
        None => search.integration_id,
    };
    let limit = search.limit.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return Err(Error::invalid("limit: it lies between 1 and 100"));
    }
    let found = app.store.search(&search.q, integration.as_deref(), search.session_id, limit).await?;
    let shown = found.into_iter().map(|found| FoundDocument {
        document: found.document.into(),
        score: found.score,
        snippet: found.snippet,
    });
    Ok(Json(shown.collect()))
}

/// Show a document
#[utoipa::path(get, path = "/api/v1/documents/{id}", tag = "documents", params(("id" = Uuid, Path)), responses((status = 200, body = Document)))]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
) -> Result<Json<Document>> {
    Ok(Json(readable(&app, &identity, id).await?.into()))
}

/// Delete a document
#[utoipa::path(delete, path = "/api/v1/documents/{id}", tag = "documents", params(("id" = Uuid, Path)), responses((status = 204)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
) -> Result<StatusCode> {
    readable(&app, &identity, id).await?;
    app.store.delete_document(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Of a folder's key the documents of others are not there.
async fn readable(app: &App, identity: &Identity, id: Uuid) -> Result<tercel_store::Document> {
    let document = find(app, id).await?;
    match &identity.folder {
        Some(folder) if document.integration_id.as_deref() != Some(&folder.integration) => Err(missing(id)),
        _ => Ok(document),
    }
}

fn missing(id: Uuid) -> Error {
    Error::not_found(format!("There is no document {id}"))
}

async fn find(app: &App, id: Uuid) -> Result<tercel_store::Document> {
    app.store.document(id).await?.ok_or_else(|| missing(id))
}
