//! The connections of an integration: their forms, tests of drafts, connecting and disconnecting.

pub mod authorize;
pub mod changes;
pub mod history;
mod shown;
pub mod sync;
pub mod token;

pub use shown::{Connection, Outcome};

use super::{
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
        draft::{Draft as Drafted, Fault, draft},
        name,
        value::Wrong,
    },
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_store::Saved;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Connections {
    connections: Vec<Connection>,
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
    Ids((id, name)): Ids<(String, String)>,
    Body(Draft(given)): Body<Draft>,
) -> Result<Json<Outcome>> {
    let entry = unlocked(&app, &id)?;
    name::check(&name).map_err(Error::invalid)?;
    if given.is_empty() && entry.connections.contains_key(&name) {
        return Ok(Json(connection::check(&app, &id, &name).await.into()));
    }
    let drafted = drafted(&entry, &name, &given)?;
    Ok(Json(connection::test_with(&app, &id, &name, &drafted.values).await.into()))
}

/// Test values and save them if the test passes
///
/// A name that is new makes a new connection. Secrets that the server can make and that nobody gave are made, and shown
/// this once.
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/connect", tag = "connections", params(("id" = String, Path), ("name" = String, Path), Insist), request_body = Draft, responses((status = 200, body = Outcome), (status = 403, description = "The tier in force does not have it")))]
pub async fn connect(
    State(app): State<Arc<App>>,
    Ids((id, name)): Ids<(String, String)>,
    Query(Insist { insist }): Query<Insist>,
    Body(Draft(given)): Body<Draft>,
) -> Result<Json<Outcome>> {
    let entry = unlocked(&app, &id)?;
    name::check(&name).map_err(Error::invalid)?;
    let Drafted { values, changes, generated } = drafted(&entry, &name, &given)?;
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
pub async fn test_default(state: State<Arc<App>>, Ids(id): Ids<String>, draft: Body<Draft>) -> Result<Json<Outcome>> {
    test(state, Ids((id, DEFAULT.into())), draft).await
}

/// Test values and save them as the default connection if the test passes
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/connect", tag = "connections", operation_id = "connect_default_connection", params(("id" = String, Path), Insist), request_body = Draft, responses((status = 200, body = Outcome)))]
pub async fn connect_default(
    state: State<Arc<App>>,
    Ids(id): Ids<String>,
    insist: Query<Insist>,
    draft: Body<Draft>,
) -> Result<Json<Outcome>> {
    connect(state, Ids((id, DEFAULT.into())), insist, draft).await
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

fn drafted(entry: &Entry, name: &str, given: &Map<String, Value>) -> Result<Drafted> {
    let keys = entry.integration.fields.iter().map(|field| field.key.as_str());
    draft(entry, name, given).map_err(|fault| match fault {
        Fault::Unknown(key) => unknown_key("fields", &key, keys),
        Fault::Wrong(wrong) => wrong.into(),
    })
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::TooLarge(words) => Self::too_large(words),
            Wrong::Invalid(words) => Self::invalid(words),
        }
    }
}
