//! Ending a connection, and replacing one of its secrets.

use super::{Connection, there};
use crate::{
    api::{
        error::{Error, Result},
        integrations::{find, unlocked},
        request::{Body, Ids},
        settings::unknown_key,
        time::Time,
    },
    app::App,
    catalog::DEFAULT,
    connection::{
        disconnect,
        draft::new_secret,
        save,
        value::{self, Given},
    },
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tercel_store::seal::LEFT_OUT;

/// What became of a connection and of its credentials.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Disconnected {
    message: String,
    /// Whether the service does not take the credentials any more; absent when there was nothing to ask it for.
    revoked: Option<bool>,
    /// As it is now; absent when it is gone.
    connection: Option<Connection>,
}

/// Revoke the credentials of a connection where the service can, and forget its values
///
/// The default connection stays, with what the environment sets; any other is gone.
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/disconnect", tag = "connections", operation_id = "disconnect_connection", params(("id" = String, Path), ("name" = String, Path)), responses((status = 200, body = Disconnected)))]
pub async fn disconnect(
    State(app): State<Arc<App>>,
    Ids((id, name)): Ids<(String, String)>,
) -> Result<Json<Disconnected>> {
    let entry = find(&app, &id)?;
    there(&entry, &name)?;
    let disconnected = disconnect::disconnect(&app, entry, &name).await?;
    let entry = find(&app, &id)?;
    Ok(Json(Disconnected {
        message: disconnected.message,
        revoked: disconnected.revoked,
        connection: entry.connections.contains_key(&name).then(|| Connection::of(&app, &entry, &name)),
    }))
}

/// Revoke the credentials of the default connection where the service can, and forget its values
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connection/disconnect", tag = "connections", operation_id = "disconnect_default_connection", params(("id" = String, Path)), responses((status = 200, body = Disconnected)))]
pub async fn disconnect_default(state: State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Disconnected>> {
    disconnect(state, Ids((id, DEFAULT.into()))).await
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Key of a field that can be rotated.
    field: String,
    /// The new secret; a random one when absent.
    value: Option<String>,
    /// How long the one before it is accepted besides; as the integration says when absent, not at all when 0.
    overlap_seconds: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Rotated {
    field: String,
    /// The secret that was made: to be entered at the service. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Until when the one before it is accepted besides.
    earlier_until: Option<Time>,
}

/// Replace a secret that the service shows us; the one before it is accepted for a while
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/rotate", tag = "connections", operation_id = "rotate_secret", params(("id" = String, Path), ("name" = String, Path)), request_body = Rotation, responses((status = 200, body = Rotated), (status = 403, description = "The tier in force does not have it"), (status = 422, description = "The field cannot be rotated")))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    Ids((id, name)): Ids<(String, String)>,
    Body(body): Body<Rotation>,
) -> Result<Json<Rotated>> {
    let entry = unlocked(&app, &id)?;
    there(&entry, &name)?;
    let fields = &entry.integration.fields;
    let field = fields.iter().find(|field| field.key == body.field);
    let field =
        field.ok_or_else(|| unknown_key("field", &body.field, fields.iter().map(|field| field.key.as_str())))?;
    let Some(usual) = field.rotate else {
        return Err(Error::invalid(format!(
            "field: `{}` is given to the service by us, so that an earlier value cannot count besides: connect with a new one",
            field.key
        )));
    };
    let given = body.value.map(|text| value::read(field, "value", &text.into())).transpose()?;
    let (value, made) = match given {
        Some(Given::Value(value)) if value != LEFT_OUT => (value, None),
        Some(_) => return Err(Error::invalid("value: a secret is expected; without the key, a random one is made")),
        None => {
            let secret = new_secret();
            (secret.clone(), Some(secret))
        }
    };
    let longest = Duration::from_secs(366 * 86_400);
    let overlap = body.overlap_seconds.map_or(usual, Duration::from_secs);
    if overlap > longest {
        return Err(Error::invalid(format!("overlap_seconds: at most {} seconds are possible", longest.as_secs())));
    }
    let until = save::rotate(&app, &entry, &name, (field.key.clone(), value), overlap).await?;
    Ok(Json(Rotated { field: field.key.clone(), value: made, earlier_until: until.map(Time) }))
}
