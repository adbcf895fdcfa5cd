//! The default connection of an integration: its form, a test of a draft, connecting and disconnecting.

use super::{
    error::Result,
    integrations::{find, unlocked},
    request::{Body, Ids, Query},
    settings::{self, unknown_key},
    time::Time,
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry, Source, Values},
    connection, registering,
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tercel_sdk::{Kind, integration::Checked};
use tercel_store::{Health as HealthRow, MASK};

#[derive(Serialize, utoipa::ToSchema)]
pub struct Connection {
    name: String,
    label: String,
    tier: String,
    fields: Vec<FormField>,
    /// Values by field key, secrets masked.
    values: BTreeMap<String, String>,
    /// What the last test said.
    health: Option<Health>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct FormField {
    key: String,
    /// The name of the same value in the settings.
    env: String,
    label: String,
    /// `text`, `password`, `url`, `checkbox` or `number`.
    r#type: String,
    required: bool,
    secret: bool,
    default: Option<String>,
    placeholder: String,
    help: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    code: String,
    message: String,
    hint: Option<String>,
    account: Option<String>,
    /// How much was proved: `presence`, `auth`, `target` or `write`.
    depth: Option<String>,
    checked_at: Time,
}

/// What a test of a connection said.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Outcome {
    ok: bool,
    /// `ok`, `not_configured`, `auth`, `forbidden`, `network`, …
    code: String,
    message: String,
    hint: Option<String>,
    account: Option<String>,
}

/// Values by field key. A blank or masked secret keeps the stored one.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(value_type = Object)]
pub struct Draft(Map<String, Value>);

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Insist {
    /// Saves although the test failed.
    #[serde(default)]
    insist: bool,
}

/// Show the connection form with its values
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connection", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Connection)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Connection>> {
    Ok(Json(shown(&*find(&app, &id)?)))
}

/// Test values before they are saved
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/test", tag = "integrations", params(("id" = String, Path)), request_body = Draft, responses((status = 200, body = Outcome)))]
pub async fn test(
    State(app): State<Arc<App>>,
    Ids(id): Ids<String>,
    Body(draft): Body<Draft>,
) -> Result<Json<Outcome>> {
    let entry = unlocked(&app, &id)?;
    let (values, _) = drafted(&entry, &draft)?;
    Ok(Json(tried(&app, &id, &values).await.0))
}

/// Test values and save them if the test passes
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/connect", tag = "integrations", params(("id" = String, Path), Insist), request_body = Draft, responses((status = 200, body = Outcome)))]
pub async fn connect(
    State(app): State<Arc<App>>,
    Ids(id): Ids<String>,
    Query(Insist { insist }): Query<Insist>,
    Body(draft): Body<Draft>,
) -> Result<Json<Outcome>> {
    let entry = unlocked(&app, &id)?;
    let (values, changes) = drafted(&entry, &draft)?;
    let (outcome, result) = tried(&app, &id, &values).await;
    if outcome.ok || insist {
        settings::save(&app, &entry, changes).await?;
        connection::keep(&app, &id, DEFAULT, result).await;
    }
    Ok(Json(outcome))
}

/// Forget the stored values of the connection
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/disconnect", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Connection)))]
pub async fn disconnect(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Connection>> {
    let entry = find(&app, &id)?;
    let told = registering::unregister(&app, &id).await;
    let all = entry.integration.fields.iter().map(|field| (field.key.clone(), None)).collect();
    settings::save(&app, &entry, all).await?;
    let entry = find(&app, &id)?;
    let sources = &entry.connections[DEFAULT].sources;
    let rest: Vec<&str> = entry
        .integration
        .fields
        .iter()
        .filter(|field| sources.get(&field.key) == Some(&Source::Env))
        .map(|field| field.env.as_str())
        .collect();
    let mut message = match rest.as_slice() {
        [] => "It was disconnected".to_owned(),
        rest => format!("It was disconnected, but the environment still sets {}", rest.join(", ")),
    };
    if let Err(error) = told {
        message.push_str(&format!(". The service may go on sending: {error}"));
    }
    let health = HealthRow {
        integration: id.clone(),
        connection: DEFAULT.into(),
        code: Kind::NotConfigured.as_str().into(),
        message,
        hint: None,
        account: None,
        depth: None,
        checked_at: 0,
    };
    app.store.put_health(health).await?;
    app.reload().await?;
    show(State(app), Ids(id)).await
}

type Changes = Vec<(String, Option<String>)>;

/// The values in force with the draft over them, and what of it would be saved.
fn drafted(entry: &Entry, Draft(draft): &Draft) -> Result<(Values, Changes)> {
    let fields = &entry.integration.fields;
    let mut values = entry.connections[DEFAULT].clone();
    let mut changes = Changes::new();
    let resolved = Arc::make_mut(&mut values.fields);
    for (key, value) in draft {
        let field = fields.iter().find(|field| field.key == *key);
        let field = field.ok_or_else(|| unknown_key("fields", key, fields.iter().map(|field| field.key.as_str())))?;
        let Some(value) = settings::read(field, key, value)? else { continue };
        match (&value, &field.default) {
            (None, _) if field.secret => continue,
            (Some(value), _) => {
                resolved.insert(key.clone(), value.clone());
                values.sources.insert(key.clone(), Source::Db);
            }
            (None, Some(default)) => {
                resolved.insert(key.clone(), default.clone());
                values.sources.insert(key.clone(), Source::Default);
            }
            (None, None) => {
                resolved.remove(key);
                values.sources.remove(key);
            }
        }
        changes.push((key.clone(), value));
    }
    Ok((values, changes))
}

async fn tried(app: &Arc<App>, id: &str, values: &Values) -> (Outcome, tercel_sdk::Result<Checked>) {
    let result = connection::test_with(app, id, DEFAULT, values).await;
    let outcome = match &result {
        Ok(checked) => Outcome {
            ok: true,
            code: "ok".into(),
            message: checked.message.clone(),
            hint: None,
            account: checked.account.clone(),
        },
        Err(error) => Outcome {
            ok: false,
            code: error.kind.as_str().into(),
            message: error.message.clone(),
            hint: error.hint.clone(),
            account: None,
        },
    };
    (outcome, result)
}

fn shown(entry: &Entry) -> Connection {
    let integration = &entry.integration;
    let values = &entry.connections[DEFAULT];
    let fields = integration.fields.iter().map(|field| FormField {
        key: field.key.clone(),
        env: field.env.clone(),
        label: field.label.clone(),
        r#type: json!(field.kind).as_str().unwrap_or("text").into(),
        required: field.required,
        secret: field.secret,
        default: field.default.clone().filter(|_| !field.secret),
        placeholder: field.placeholder.clone(),
        help: field.help.clone(),
    });
    let masked = integration.fields.iter().filter_map(|field| {
        let value = values.fields.get(&field.key)?;
        Some((field.key.clone(), if field.secret { MASK.to_owned() } else { value.clone() }))
    });
    let health = entry.healths.get(DEFAULT).map(|row| Health {
        code: row.code.clone(),
        message: row.message.clone(),
        hint: row.hint.clone(),
        account: row.account.clone(),
        depth: row.depth.clone(),
        checked_at: Time(row.checked_at),
    });
    Connection {
        name: integration.name.clone(),
        label: integration.label.clone(),
        tier: integration.tier.clone(),
        fields: fields.collect(),
        values: masked.collect(),
        health,
    }
}
