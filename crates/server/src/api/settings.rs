//! The settings of an integration: its default connection's fields by their environment names.

use super::{
    auth::Identity,
    connections::{all_stays, keeps_addresses},
    error::{Error, Result},
    integrations::{find, unlocked},
    request::{Body, Ids, no_such},
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry},
    connection::{
        self,
        save::save,
        value::{Given, read},
    },
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_sdk::Field;
use tercel_store::MASK;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Settings {
    settings: Vec<Setting>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Setting {
    /// The environment name.
    key: String,
    description: String,
    required: bool,
    secret: bool,
    /// Masked when it is a secret.
    value: Option<String>,
    /// `db`, `env` or `default`.
    source: String,
    is_set: bool,
    default: Option<String>,
    /// Why the stored value cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Values by environment name. A mask changes nothing; null or a blank removes the stored value. Where an address names
/// another server, secrets are given again; without the scope `admin`, addresses stay as they are.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
}

/// Show the settings of an integration
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/settings", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Settings)))]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Ids<String>,
) -> Result<Json<Settings>> {
    if identity.folder.as_ref().is_some_and(|folder| folder.integration != id) {
        return Err(Error::forbidden(format!("The settings of `{id}` are its own")));
    }
    Ok(Json(shown(&*find(&app, &id)?)))
}

/// Change settings of an integration
#[utoipa::path(put, path = "/api/v1/admin/integrations/{id}/settings", tag = "integrations", params(("id" = String, Path)), request_body = Change, responses((status = 200, body = Settings)))]
pub async fn put(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Ids<String>,
    Body(mut change): Body<Change>,
) -> Result<Json<Settings>> {
    let entry = unlocked(&app, &id)?;
    keeps_addresses(&identity, &entry, DEFAULT, &mut change.settings, env)?;
    let mut values = Vec::new();
    for (key, value) in change.settings {
        let field = by_env(&entry, &key)?;
        match read(field, &key, &value)? {
            Given::Kept => {}
            Given::Nothing => values.push((field.key.clone(), None)),
            Given::Value(value) => values.push((field.key.clone(), Some(value))),
        }
    }
    all_stays(&entry, DEFAULT, &values, env)?;
    save(&app, &entry, DEFAULT, values).await?;
    test_in_background(&app, &id);
    Ok(Json(shown(&*find(&app, &id)?)))
}

/// Remove the stored value of a setting
#[utoipa::path(delete, path = "/api/v1/admin/integrations/{id}/settings/{key}", tag = "integrations", params(("id" = String, Path), ("key" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids((id, key)): Ids<(String, String)>) -> Result<StatusCode> {
    let entry = find(&app, &id)?;
    let field = by_env(&entry, &key)?;
    let changes = vec![(field.key.clone(), None)];
    all_stays(&entry, DEFAULT, &changes, env)?;
    save(&app, &entry, DEFAULT, changes).await?;
    test_in_background(&app, &id);
    Ok(StatusCode::NO_CONTENT)
}

fn env(field: &Field) -> &str {
    &field.env
}

fn by_env<'e>(entry: &'e Entry, key: &str) -> Result<&'e Field> {
    let unknown = || unknown_key("settings", key, entry.integration.fields.iter().map(env));
    entry.field_by_env(key).ok_or_else(unknown)
}

pub fn unknown_key<'k>(what: &str, key: &str, known: impl Iterator<Item = &'k str> + Clone) -> Error {
    Error::invalid(format!("{what}: {}", no_such(key, known)))
}

fn test_in_background(app: &Arc<App>, id: &str) {
    if find(app, id).is_ok_and(|entry| entry.integration.connector.is_none()) {
        return;
    }
    let (app, id) = (app.clone(), id.to_owned());
    app.clone().work.spawn(async move {
        tokio::select! {
            () = app.stopping.cancelled() => {}
            _ = connection::check(&app, &id, DEFAULT) => {}
        }
    });
}

fn shown(entry: &Entry) -> Settings {
    let values = &entry.connections[DEFAULT];
    let settings = entry.integration.fields.iter().map(|field| {
        let value = values.fields.get(&field.key);
        Setting {
            key: field.env.clone(),
            description: if field.help.is_empty() { field.label.clone() } else { field.help.clone() },
            required: field.required,
            secret: field.secret,
            value: value.map(|value| if field.secret { MASK.to_owned() } else { value.clone() }),
            source: values.sources.get(&field.key).map_or("default", |source| source.as_str()).into(),
            is_set: value.is_some(),
            default: field.default.clone().filter(|_| !field.secret),
            problem: values.broken.get(&field.key).cloned(),
        }
    });
    Settings { settings: settings.collect() }
}
