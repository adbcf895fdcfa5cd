//! API keys: made, listed, revoked. A key is shown once.

use super::{
    auth::{ADMIN, Identity, Scopes},
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Id, Idempotency, Ids, name},
    settings::unknown_key,
    time::Time,
};
use crate::app::App;
use axum::{Extension, Json, extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, sync::Arc};
use tercel_store::{ApiKey, Uuid, now};

/// Characters of a key that are shown to tell keys apart.
const SHOWN: usize = 10;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    name: String,
    /// `<resource>:read`, `<resource>:write` or `admin`.
    scopes: Vec<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Key {
    id: Uuid,
    name: String,
    /// How the key begins.
    prefix: String,
    scopes: Vec<String>,
    created_at: Time,
    revoked_at: Option<Time>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct MadeKey {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    /// The key itself. It is never shown again.
    key: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct WebhookSecret {
    /// As Standard Webhooks writes it: `whsec_…`
    secret: String,
}

impl From<ApiKey> for Key {
    fn from(row: ApiKey) -> Self {
        Self {
            id: row.id,
            name: row.name,
            prefix: row.prefix,
            scopes: row.scopes.split_whitespace().map(str::to_owned).collect(),
            created_at: Time(row.created_at),
            revoked_at: row.revoked_at.map(Time),
        }
    }
}

/// Make a key with some of the scopes that the caller has
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    tag = "keys",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repetition is answered 409: the key is shown once")),
    request_body = NewKey,
    responses((status = 201, body = MadeKey)),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(idempotency): Idempotency,
    Body(body): Body<NewKey>,
) -> Result<(StatusCode, Json<MadeKey>)> {
    name("name", &body.name, 255)?;
    let scopes: BTreeSet<String> = body.scopes.into_iter().collect();
    check(&scopes, &identity.scopes)?;
    let id = super::new_id(&identity, "keys", idempotency.as_deref());
    let key = format!("tk_{}", BASE64.encode(rand::random::<[u8; 32]>()));
    let row = ApiKey {
        id,
        name: body.name,
        hash: Sha256::digest(&key).to_vec(),
        prefix: key.chars().take(SHOWN).collect(),
        scopes: Vec::from_iter(scopes.iter().map(String::as_str)).join(" "),
        created_at: now(),
        revoked_at: None,
    };
    app.store.create_key(row.clone()).await?;
    app.access.read(&app.store).await?;
    Ok((StatusCode::CREATED, Json(MadeKey { id, name: row.name, scopes: Vec::from_iter(scopes), key })))
}

/// Scopes exist, and nobody gives what they do not have.
fn check(asked: &BTreeSet<String>, own: &Scopes) -> Result<()> {
    if asked.is_empty() {
        return Err(Error::invalid(format!("scopes: name at least one of {}", known().join(", "))));
    }
    for scope in asked {
        let known = known();
        if !known.contains(scope) {
            return Err(unknown_key("scopes", scope, known.iter().map(String::as_str)));
        }
        if !own.allow(scope) {
            return Err(Error::missing_scope(scope));
        }
    }
    Ok(())
}

/// Every scope that some route asks for, with its other half.
fn known() -> Vec<String> {
    let resources: BTreeSet<&str> =
        super::routes().into_iter().filter_map(|route| Some(route.scope?.split_once(':')?.0)).collect();
    let scopes = resources.into_iter().flat_map(|resource| [format!("{resource}:read"), format!("{resource}:write")]);
    [ADMIN.to_owned()].into_iter().chain(scopes).collect()
}

/// List keys, newest first
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", params(Piece), responses((status = 200, body = Vec<Key>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page) -> Result<List<Key>> {
    let after = page.after()?;
    let mut rows = app.store.keys().await?;
    rows.retain(|row| after.is_none_or(|after| row.id < after));
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(Key::from).collect(), next))
}

/// The key that asks.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CurrentKey {
    /// Absent for the key of the environment.
    id: Option<Uuid>,
    name: String,
    scopes: Vec<String>,
    /// The integration whose code has it.
    integration: Option<String>,
}

/// Show what the key is good for that asks
#[utoipa::path(get, path = "/api/v1/keys/current", tag = "keys", responses((status = 200, body = CurrentKey)))]
pub async fn current(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
) -> Result<Json<CurrentKey>> {
    let integration = identity.folder.as_ref().map(|folder| folder.integration.clone());
    let name = match (&integration, identity.id) {
        (Some(integration), _) => integration.clone(),
        (None, None) => "API_KEY".into(),
        (None, Some(id)) => {
            let row = app.store.keys().await?.into_iter().find(|row| row.id == id);
            row.map(|row| row.name).unwrap_or_default()
        }
    };
    let lent = identity.folder.as_ref().map(|folder| folder.scopes(&app.catalog()));
    let scopes = lent.as_ref().unwrap_or(&identity.scopes).iter().map(str::to_owned).collect();
    Ok(Json(CurrentKey { id: identity.id, name, scopes, integration }))
}

/// Show a key without the key itself
#[utoipa::path(get, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = Uuid, Path)), responses((status = 200, body = Key)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Key>> {
    let row = app.store.keys().await?.into_iter().find(|row| row.id == id);
    row.map(|row| Json(row.into())).ok_or_else(|| Error::not_found(format!("There is no key {id}")))
}

/// Revoke a key at once
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = Uuid, Path)), responses((status = 204)))]
pub async fn revoke(State(app): State<Arc<App>>, Ids(id): Id) -> Result<StatusCode> {
    app.store.revoke_key(id).await?;
    app.access.read(&app.store).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The secret by which receivers of the dispatch type `webhook` know our requests
#[utoipa::path(post, path = "/api/v1/keys/webhook-secret", tag = "keys", responses((status = 200, body = WebhookSecret)))]
pub async fn webhook_secret(State(app): State<Arc<App>>) -> Json<WebhookSecret> {
    Json(WebhookSecret { secret: crate::outbox::webhook_secret(&app) })
}
