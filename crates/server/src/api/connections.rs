//! The connections of an integration: their forms, tests of drafts, connecting and disconnecting.

pub mod authorize;
pub mod changes;
pub mod history;
mod shown;
pub mod sync;
pub mod token;

pub use shown::{Connection, Outcome};

use super::{
    auth::{ADMIN, Identity},
    error::{Error, Result},
    integrations::{find, unlocked},
    request::{Body, Ids, Query},
    settings::unknown_key,
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry},
    connection::{
        self,
        draft::{Change, Draft as Drafted, Fault, draft},
        elsewhere::{self, LeftBehind, Name},
        name,
        value::Wrong,
    },
};
use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_sdk::Field;
use tercel_store::Saved;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Connections {
    connections: Vec<Connection>,
}

/// Values by field key. A blank or masked secret keeps the stored one, unless an address names another server: then secrets
/// are given again. Without the scope `admin`, addresses stay as they are.
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

/// List the connections of an integration
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connections", tag = "connections", params(("id" = String, Path)), responses((status = 200, body = Connections)))]
pub async fn list(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Connections>> {
    let entry = find(&app, &id)?;
    let connections = entry.connections.keys().map(|connection| Connection::of(&app, &entry, connection));
    Ok(Json(Connections { connections: connections.collect() }))
}

/// Show a connection: its form with its values, and what the last test said
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connections/{name}", tag = "connections", params(("id" = String, Path), ("name" = String, Path)), responses((status = 200, body = Connection)))]
pub async fn show(State(app): State<Arc<App>>, Ids((id, name)): Ids<(String, String)>) -> Result<Json<Connection>> {
    let entry = find(&app, &id)?;
    there(&entry, &name)?;
    Ok(Json(Connection::of(&app, &entry, &name)))
}

/// Test values before they are saved; without any, those that are
///
/// A test of what is saved is kept with the connection.
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/test", tag = "connections", params(("id" = String, Path), ("name" = String, Path)), request_body = Draft, responses((status = 200, body = Outcome), (status = 403, description = "The tier in force does not have it")))]
pub async fn test(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids((id, name)): Ids<(String, String)>,
    Body(Draft(given)): Body<Draft>,
) -> Result<Json<Outcome>> {
    let entry = unlocked(&app, &id)?;
    name::check(&name).map_err(Error::invalid)?;
    if given.is_empty() && entry.connections.contains_key(&name) {
        return Ok(Json(connection::check(&app, &id, &name).await.into()));
    }
    let drafted = drafted(&identity, &entry, &name, given)?;
    all_stays(&entry, &name, &drafted.changes, key)?;
    Ok(Json(connection::test_with(&app, &id, &name, &drafted.values).await.into()))
}

/// Test values and save them if the test passes
///
/// A name that is new makes a new connection. Secrets that the server can make and that nobody gave are made, and shown
/// this once.
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/connect", tag = "connections", params(("id" = String, Path), ("name" = String, Path), Insist), request_body = Draft, responses((status = 200, body = Outcome), (status = 403, description = "The tier in force does not have it")))]
pub async fn connect(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids((id, name)): Ids<(String, String)>,
    Query(Insist { insist }): Query<Insist>,
    Body(Draft(given)): Body<Draft>,
) -> Result<Json<Outcome>> {
    let entry = unlocked(&app, &id)?;
    name::check(&name).map_err(Error::invalid)?;
    let Drafted { values, changes, generated } = drafted(&identity, &entry, &name, given)?;
    all_stays(&entry, &name, &changes, key)?;
    let tested = connection::test_with(&app, &id, &name, &values).await;
    let passed = tested.result.is_ok();
    if !passed && !insist {
        return Ok(Json(tested.into()));
    }
    connection::save::save(&app, &entry, &name, changes).await?;
    let saved = if passed { Saved::Now } else { Saved::OnInsistence };
    connection::keep(&app, &id, &name, &tested, saved).await;
    Ok(Json(Outcome { saved: true, generated, ..tested.into() }))
}

/// Show the default connection: its form with its values, and what the last test said
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connection", tag = "connections", operation_id = "show_default_connection", params(("id" = String, Path)), responses((status = 200, body = Connection)))]
pub async fn show_default(state: State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Connection>> {
    show(state, Ids((id, DEFAULT.into()))).await
}

/// Test values for the default connection before they are saved; without any, those that are
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/test", tag = "connections", operation_id = "test_default_connection", params(("id" = String, Path)), request_body = Draft, responses((status = 200, body = Outcome)))]
pub async fn test_default(
    state: State<Arc<App>>,
    identity: Extension<Arc<Identity>>,
    Ids(id): Ids<String>,
    draft: Body<Draft>,
) -> Result<Json<Outcome>> {
    test(state, identity, Ids((id, DEFAULT.into())), draft).await
}

/// Test values and save them as the default connection if the test passes
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/connect", tag = "connections", operation_id = "connect_default_connection", params(("id" = String, Path), Insist), request_body = Draft, responses((status = 200, body = Outcome)))]
pub async fn connect_default(
    state: State<Arc<App>>,
    identity: Extension<Arc<Identity>>,
    Ids(id): Ids<String>,
    insist: Query<Insist>,
    draft: Body<Draft>,
) -> Result<Json<Outcome>> {
    connect(state, identity, Ids((id, DEFAULT.into())), insist, draft).await
}

fn there(entry: &Entry, name: &str) -> Result<()> {
    match entry.connections.contains_key(name) {
        true => Ok(()),
        false => {
            let known: Vec<&str> = entry.connections.keys().map(String::as_str).collect();
            let id = &entry.integration.name;
            Err(Error::not_found(format!("`{id}` has no connection `{name}`; there are {}", known.join(", "))))
        }
    }
}

fn drafted(identity: &Identity, entry: &Entry, name: &str, mut given: Map<String, Value>) -> Result<Drafted> {
    keeps_addresses(identity, entry, name, &mut given, key)?;
    let keys = entry.integration.fields.iter().map(key);
    draft(entry, name, &given).map_err(|fault| match fault {
        Fault::Unknown(key) => unknown_key("fields", &key, keys),
        Fault::Wrong(wrong) => wrong.into(),
    })
}

fn key(field: &Field) -> &str {
    &field.key
}

/// Whoever says where an integration calls is sent its secrets, and reaches what only this server reaches: that is for
/// administrators. What is in force already is taken out of what is given.
pub fn keeps_addresses(
    identity: &Identity,
    entry: &Entry,
    connection: &str,
    given: &mut Map<String, Value>,
    name: Name,
) -> Result<()> {
    if identity.scopes.allow(ADMIN) {
        return Ok(());
    }
    elsewhere::take_out_known(entry, connection, given, name).map_err(|field| {
        let why = "secrets are sent there, so that only a key with the scope `admin` gives another address";
        Error::forbidden(format!("{}: {why}", name(field)))
    })
}

/// A secret is for the server that it was entered for, whoever names another one.
pub fn secrets_stay(entry: &Entry, connection: &str, changes: &[Change], name: Name) -> Result<()> {
    match elsewhere::left_behind(entry, connection, changes) {
        Some(LeftBehind { address, secrets, .. }) if !secrets.is_empty() => {
            let names = secrets.into_iter().map(name).collect::<Vec<_>>().join(", ");
            let why = format!("`{}` names another server now, and it was entered for the one before", name(address));
            Err(Error::invalid(format!("{names}: enter it again, because {why}")))
        }
        _ => Ok(()),
    }
}

/// The same of secrets and of what a person agreed to.
pub fn all_stays(entry: &Entry, connection: &str, changes: &[Change], name: Name) -> Result<()> {
    secrets_stay(entry, connection, changes, name)?;
    match elsewhere::left_behind(entry, connection, changes) {
        Some(LeftBehind { address, consent: true, .. }) => {
            let why = "it names another server now, and somebody agreed at the one before";
            Err(Error::invalid(format!("{}: ask again by `authorize`, because {why}", name(address))))
        }
        _ => Ok(()),
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::TooLarge(words) => Self::too_large(words),
            Wrong::Invalid(words) => Self::invalid(words),
        }
    }
}
