//! Requests that the code of a folder makes in the course of a call: what they store belongs to it.

use super::{auth::Identity, error::Result};
use crate::{
    app::App,
    folders::Open,
    inject::{self, Input},
};
use axum::{extract::FromRequestParts, http::request::Parts};
use std::{convert::Infallible, sync::Arc};
use tercel_store::Uuid;

/// What `Tercel-Call` says, if it says anything.
pub struct During(Option<Uuid>);

impl<S: Send + Sync> FromRequestParts<S> for During {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = parts.headers.get("tercel-call").and_then(|value| value.to_str().ok());
        Ok(Self(header.and_then(|text| text.parse().ok())))
    }
}

impl During {
    /// The call, if it is open and one of the folder that says so.
    pub fn of(&self, app: &App, identity: &Identity) -> Option<Arc<Open>> {
        app.folders.calls.of(&identity.folder.as_ref()?.integration, self.0?)
    }
}

/// Ties a message to the call that it is sent in: the same one each time that a delivery is processed, and one step
/// further from where a run began.
pub async fn bind(app: &App, input: &mut Input, call: Option<&Open>, key: Option<&str>) -> Result<()> {
    let Some(call) = call else { return Ok(()) };
    if let Some(name) = call.name(&input.session_id.to_string(), key) {
        input.idempotency = Some((name, inject::a_month_from_now()));
        input.first_counts = true;
        input.delivery = call.delivery();
    }
    if let Some(task) = call.ids.task {
        let hops = app.store.task(task).await?.map_or(0, |task| task.hops);
        input.hops = u32::try_from(hops).unwrap_or(u32::MAX).saturating_add(1);
    }
    Ok(())
}
