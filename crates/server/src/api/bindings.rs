//! Places outside whose events reach a channel.

use super::{
    auth::Identity,
    channels,
    error::{Error, Result},
    request::{Body, Id, Idempotency, Ids, name},
    target,
    time::Time,
};
use crate::{app::App, channel};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::Uuid;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Binding {
    id: Uuid,
    channel_id: Uuid,
    client_id: String,
    display_name: Option<String>,
    event_filter: Option<Vec<String>>,
    /// Secrets masked.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Value,
    created_at: Time,
}

impl Binding {
    /// The place, and what it is called.
    pub fn name(&mut self) -> (&str, &mut Option<String>) {
        (&self.client_id, &mut self.display_name)
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBinding {
    /// `example:owner/repo`
    client_id: String,
    display_name: Option<String>,
    /// Names of events; `*` at the end matches any rest. All events when absent.
    event_filter: Option<Vec<String>>,
    /// Where the channel's messages are shown.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Option<target::Config>,
}

/// List what is bound to a channel
#[utoipa::path(get, path = "/api/v1/channels/{id}/bindings", tag = "channels", params(("id" = Uuid, Path)), responses((status = 200, body = Vec<Binding>)))]
pub async fn list(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Vec<Binding>>> {
    channels::find(&app, id)?;
    Ok(Json(of_channel(&app, id)))
}

/// Bind a place to a channel
#[utoipa::path(
    post,
    path = "/api/v1/channels/{id}/bindings",
    tag = "channels",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewBinding,
    responses((status = 201, body = Binding), (status = 409, description = "It is bound already")),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(channel): Id,
    Idempotency(key): Idempotency,
    Body(body): Body<NewBinding>,
) -> Result<(StatusCode, Json<Binding>)> {
    channels::find(&app, channel)?;
    name("client_id", &body.client_id, 512)?;
    channels::check_display_name(body.display_name.as_deref())?;
    for event in body.event_filter.iter().flatten() {
        name("event_filter", event, 255)?;
    }
    let target = body.dispatch_config.map(target::whole).transpose()?;
    let mut wanted = channel::Binding {
        id: super::new_id(&identity, &format!("bindings/{channel}"), key.as_deref()),
        channel_id: channel,
        client_id: body.client_id,
        display_name: body.display_name,
        event_filter: body.event_filter,
        sealed_target: target.map(|target| app.seal_target(&target)),
        created_at: 0,
    };
    match app.catalog().bindings.values().flatten().find(|binding| binding.id == wanted.id) {
        Some(made) if super::is_forgotten(made.created_at) => wanted.id = Uuid::now_v7(),
        Some(made) if !is_same(&app, made, &wanted) => return Err(Error::reused("binding")),
        Some(made) => return Ok((StatusCode::CREATED, Json(shown(&app, made)))),
        None => {}
    }
    let id = wanted.id;
    let event_filter = wanted.event_filter.map(|events| serde_json::to_string(&events)).transpose();
    let binding = tercel_store::Binding {
        id,
        channel_id: channel,
        client_id: wanted.client_id,
        display_name: wanted.display_name,
        event_filter: event_filter.map_err(Error::internal)?,
        sealed_target: wanted.sealed_target,
        created_at: 0,
    };
    app.store.bind(binding).await?;
    app.reload().await?;
    let made = of_channel(&app, channel).into_iter().find(|binding| binding.id == id);
    let made = made.ok_or_else(|| Error::conflict("The binding was removed at the same time"))?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Unbind a place
#[utoipa::path(delete, path = "/api/v1/channels/{id}/bindings/{binding}", tag = "channels", params(("id" = Uuid, Path), ("binding" = Uuid, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids((channel, binding)): Ids<(Uuid, Uuid)>) -> Result<StatusCode> {
    app.store.unbind(channel, binding).await?;
    app.reload().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub fn of_channel(app: &App, channel: Uuid) -> Vec<Binding> {
    let catalog = app.catalog();
    let mut bindings: Vec<_> =
        catalog.bindings.values().flatten().filter(|binding| binding.channel_id == channel).collect();
    bindings.sort_by_key(|binding| (binding.created_at, binding.id));
    bindings.into_iter().map(|binding| shown(app, binding)).collect()
}

/// Whether they are the same but for when they were made.
fn is_same(app: &App, one: &channel::Binding, other: &channel::Binding) -> bool {
    one.client_id == other.client_id
        && one.display_name == other.display_name
        && one.event_filter == other.event_filter
        && target::is_same(app, one.sealed_target.as_deref(), other.sealed_target.as_deref())
}

fn shown(app: &App, binding: &channel::Binding) -> Binding {
    Binding {
        id: binding.id,
        channel_id: binding.channel_id,
        client_id: binding.client_id.clone(),
        display_name: binding.display_name.clone(),
        event_filter: binding.event_filter.clone(),
        dispatch_config: app.masked_target(binding.sealed_target.as_deref()),
        created_at: Time(binding.created_at),
    }
}
