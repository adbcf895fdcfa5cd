//! The settings of an integration: its default connection's fields by their environment names.

use super::{
    auth::Identity,
    error::{Error, Result},
    integrations::{find, unlocked},
    request::{Body, Ids, no_such},
};
use crate::{
    app::App,
    catalog::{self, DEFAULT, Entry},
    connection,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_sdk::{Field, field::FieldType};
use tercel_store::{MASK, seal::is_sealed};

/// Bytes of one value.
const MOST: usize = 64 * 1024;

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

/// Values by environment name. A mask changes nothing; null or a blank removes the stored value.
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
    Ids(id): Ids<String>,
    Body(change): Body<Change>,
) -> Result<Json<Settings>> {
    let entry = unlocked(&app, &id)?;
    let mut values = Vec::new();
    for (key, value) in change.settings {
        let field = by_env(&entry, &key)?;
        values.extend(read(field, &key, &value)?.map(|value| (field.key.clone(), value)));
    }
    save(&app, &entry, values).await?;
    test_in_background(&app, &id);
    Ok(Json(shown(&*find(&app, &id)?)))
}

/// Remove the stored value of a setting
#[utoipa::path(delete, path = "/api/v1/admin/integrations/{id}/settings/{key}", tag = "integrations", params(("id" = String, Path), ("key" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids((id, key)): Ids<(String, String)>) -> Result<StatusCode> {
    let entry = find(&app, &id)?;
    let field = by_env(&entry, &key)?;
    save(&app, &entry, vec![(field.key.clone(), None)]).await?;
    test_in_background(&app, &id);
    Ok(StatusCode::NO_CONTENT)
}

fn by_env<'e>(entry: &'e Entry, key: &str) -> Result<&'e Field> {
    let unknown = || unknown_key("settings", key, entry.integration.fields.iter().map(|field| field.env.as_str()));
    entry.field_by_env(key).ok_or_else(unknown)
}

/// What a value of a request means for a field: nothing, a removal, or a value.
pub fn read(field: &Field, key: &str, value: &Value) -> Result<Option<Option<String>>> {
    let wrong = |expected: &str| Error::invalid(format!("{key}: {expected} is expected"));
    let text = match value {
        Value::Null => return Ok(Some(None)),
        Value::String(text) => text.trim().to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => return Err(wrong("a text")),
    };
    if text == MASK {
        return Ok(None);
    }
    if text.is_empty() {
        return Ok(Some(None));
    }
    if text.len() > MOST {
        return Err(Error::too_large(format!("{key}: a value has at most {MOST} bytes")));
    }
    let is_address =
        || text.parse::<url::Url>().is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    match field.kind {
        FieldType::Url if !is_address() => Err(wrong("an address that begins with https:// or http://")),
        FieldType::Number if text.parse::<f64>().is_err() => Err(wrong("a number")),
        FieldType::Checkbox if !["true", "false"].contains(&text.as_str()) => Err(wrong("true or false")),
        _ => Ok(Some(Some(text))),
    }
}

pub fn unknown_key<'k>(what: &str, key: &str, known: impl Iterator<Item = &'k str> + Clone) -> Error {
    Error::invalid(format!("{what}: {}", no_such(key, known)))
}

/// Stores values (`None`: removes them) by field key and lets what waited for them go on.
pub async fn save(app: &Arc<App>, entry: &Entry, values: Vec<(String, Option<String>)>) -> Result<()> {
    let id = &entry.integration.name;
    let is_secret = |key: &str| entry.integration.fields.iter().any(|field| field.key == key && field.secret);
    let sealed = values
        .into_iter()
        .map(|(key, value)| {
            let place = catalog::place(id, DEFAULT, &key);
            // A plain text that looks sealed would be opened when it is read.
            let seal = |value: String| {
                if is_secret(&key) || is_sealed(&value) { app.sealer.seal(&place, &value) } else { value }
            };
            let value = value.map(seal);
            (key, value)
        })
        .collect::<Vec<_>>();
    if sealed.is_empty() {
        return Ok(());
    }
    app.store.put_settings(id, DEFAULT, sealed).await?;
    app.reload().await?;
    for kind in entry.integration.dispatchers.keys() {
        app.store.unpark_outbox(kind).await?;
    }
    app.folders.has_new_settings(app, id);
    Ok(())
}

fn test_in_background(app: &Arc<App>, id: &str) {
    if find(app, id).is_ok_and(|entry| entry.integration.connector.is_none()) {
        return;
    }
    let (app, id) = (app.clone(), id.to_owned());
    app.clone().work.spawn(async move {
        tokio::select! {
            () = app.stopping.cancelled() => {}
            () = connection::check(&app, &id, DEFAULT) => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_must_fit_its_field_and_a_mask_changes_nothing() {
        let url = Field::url("api_url", "Address");
        let read = |value: Value| read(&url, "X_API_URL", &value).ok();
        assert_eq!(read(json!(" https://a.example ")), Some(Some(Some("https://a.example".into()))));
        assert_eq!(read(json!(MASK)), Some(None));
        assert_eq!(read(json!(null)), Some(Some(None)));
        assert_eq!(read(json!("  ")), Some(Some(None)));
        assert_eq!(read(json!("ftp://a.example")), None);
        assert_eq!(read(json!({"a": 1})), None);
    }
}
