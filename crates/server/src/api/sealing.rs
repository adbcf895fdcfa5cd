//! Replacing the key that secrets are sealed with.

use super::error::{Error, Result};
use crate::{app::App, sealing};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Replaced {
    /// What tells the new key from others; it says nothing about the key.
    key: String,
    /// Values that were sealed with it.
    renewed: u64,
}

/// Replace the key that secrets are sealed with, and seal everything anew
///
/// The key before it is removed at the next start of the server.
#[utoipa::path(post, path = "/api/v1/keys/rotate-seal", tag = "keys", operation_id = "rotate_seal", responses((status = 200, body = Replaced), (status = 409, description = "The key comes from the environment, was replaced since the start, or a backup is being made")))]
pub async fn rotate(State(app): State<Arc<App>>) -> Result<Json<Replaced>> {
    let replaced = sealing::replace(&app).await.map_err(|error| match error.downcast::<tercel_store::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::conflict(error.to_string()),
    })?;
    Ok(Json(Replaced { key: replaced.id, renewed: replaced.renewed }))
}
