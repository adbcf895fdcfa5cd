//! Lasting conversation places, and what is bound to them.

use super::{
    auth::Identity,
    bindings::{self, Binding},
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Id, Idempotency, Ids, Query, name, present},
    target,
    time::Time,
};
use crate::{
    app::App,
    catalog::{Catalog, DEFAULT},
    channel::{self, Options},
    places,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::Uuid;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Channel {
    id: Uuid,
    client_id: String,
    bot_id: String,
    /// The integration that its `client_id` belongs to.
    integration: Option<String>,
    display_name: Option<String>,
    #[serde(flatten)]
    options: Options,
    /// Where answers go when neither message nor session says; secrets masked.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Value,
    /// The places whose events reach it.
    bindings: Vec<Binding>,
    created_at: Time,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// `example:owner/repo`
    client_id: String,
    /// `default` when absent.
    bot_id: Option<String>,
    display_name: Option<String>,
    #[serde(default)]
    require_mention: bool,
    /// True when absent.
    passive_memory: Option<bool>,
    /// What bots write is answered, too.
    #[serde(default)]
    allow_bot_messages: bool,
    thinking_display: Option<String>,
    #[schema(value_type = Option<Object>)]
    dispatch_config: Option<target::Config>,
}

/// What is absent stays; null clears.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelChange {
    /// It never changes; it may be sent all the same.
    client_id: Option<String>,
    bot_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    display_name: Option<Option<String>>,
    require_mention: Option<bool>,
    passive_memory: Option<bool>,
    allow_bot_messages: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    thinking_display: Option<Option<String>>,
    /// A masked secret keeps the stored one.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    dispatch_config: Option<Option<target::Config>>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only those that have this `client_id`, or are bound to it.
    client_id: Option<String>,
    /// Only those whose `client_id`, or one that they are bound to, begins like this.
    client_id_prefix: Option<String>,
}

impl Filter {
    fn fits(&self, catalog: &Catalog, channel: &channel::Channel) -> bool {
        let fits = |client_id: &str| {
            self.client_id.as_deref().is_none_or(|wanted| wanted == client_id)
                && self.client_id_prefix.as_deref().is_none_or(|prefix| client_id.starts_with(prefix))
        };
        let bindings = || catalog.bindings.values().flatten().filter(|binding| binding.channel_id == channel.id);
        fits(&channel.client_id) || bindings().any(|binding| fits(&binding.client_id))
    }
}

/// What the client ids of all integrations begin with.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Prefixes {
    prefixes: Vec<String>,
}

/// List what the client ids of integrations begin with
#[utoipa::path(get, path = "/api/v1/channels/prefixes", tag = "channels", responses((status = 200, body = Prefixes)))]
pub async fn prefixes(State(app): State<Arc<App>>) -> Json<Prefixes> {
    Json(Prefixes { prefixes: app.catalog().prefixes.keys().cloned().collect() })
}

/// List channels
#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", params(Piece, Filter), responses((status = 200, body = Vec<Channel>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    page: Page,
    Query(filter): Query<Filter>,
) -> Result<List<Channel>> {
    let after = page.after()?;
    let catalog = app.catalog();
    let is_open =
        |row: &channel::Channel| identity.folder.as_ref().is_none_or(|folder| folder.has_channel(&catalog, row.id));
    let rows = catalog.channels.values().filter(|row| after.is_none_or(|after| row.id < after));
    let mut rows: Vec<_> = rows.filter(|row| is_open(row) && filter.fits(&catalog, row)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    let mut shown: Vec<Channel> = rows.into_iter().map(|row| shown(&app, row)).collect();
    named(&app, shown.iter_mut()).await;
    Ok(page.list(shown, next))
}

/// Make a channel
#[utoipa::path(
    post,
    path = "/api/v1/channels",
    tag = "channels",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = NewChannel,
    responses((status = 201, body = Channel), (status = 409, description = "The client_id is taken")),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    Body(body): Body<NewChannel>,
) -> Result<(StatusCode, Json<Channel>)> {
    name("client_id", &body.client_id, 512)?;
    let bot_id = body.bot_id.unwrap_or_else(|| DEFAULT.into());
    check_bot(&app.catalog(), &bot_id)?;
    check_display_name(body.display_name.as_deref())?;
    let target = body.dispatch_config.map(target::whole).transpose()?;
    let mut channel = channel::Channel {
        id: super::new_id(&identity, "channels", key.as_deref()),
        client_id: body.client_id,
        bot_id,
        display_name: body.display_name,
        options: Options {
            require_mention: body.require_mention,
            passive_memory: body.passive_memory.unwrap_or(true),
            allow_bot_messages: body.allow_bot_messages,
            thinking_display: body.thinking_display,
        },
        sealed_target: target.map(|target| app.seal_target(&target)),
        created_at: 0,
    };
    match app.catalog().channel(channel.id) {
        Some(made) if super::is_forgotten(made.created_at) => channel.id = Uuid::now_v7(),
        Some(made) if !is_same(&app, made, &channel) => return Err(Error::reused("channel")),
        Some(made) => return Ok((StatusCode::CREATED, Json(shown(&app, made)))),
        None => {}
    }
    let id = channel.id;
    app.store.create_channel(channel.into_row()?).await?;
    app.reload().await?;
    Ok((StatusCode::CREATED, Json(shown(&app, &*find(&app, id)?))))
}

/// Show a channel
#[utoipa::path(get, path = "/api/v1/channels/{id}", tag = "channels", params(("id" = Uuid, Path)), responses((status = 200, body = Channel)))]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
) -> Result<Json<Channel>> {
    let channel = find(&app, id)?;
    match &identity.folder {
        Some(folder) if !folder.has_channel(&app.catalog(), id) => Err(missing(id)),
        _ => {
            let mut shown = shown(&app, &channel);
            named(&app, std::iter::once(&mut shown)).await;
            Ok(Json(shown))
        }
    }
}

/// Change a channel
#[utoipa::path(put, path = "/api/v1/channels/{id}", tag = "channels", params(("id" = Uuid, Path)), request_body = ChannelChange, responses((status = 200, body = Channel)))]
pub async fn change(
    State(app): State<Arc<App>>,
    Ids(id): Id,
    Body(body): Body<ChannelChange>,
) -> Result<Json<Channel>> {
    let mut channel = (*find(&app, id)?).clone();
    if body.client_id.is_some_and(|client_id| client_id != channel.client_id) {
        return Err(Error::invalid(format!(
            "client_id: it is `{}` and never changes; make another channel",
            channel.client_id
        )));
    }
    if let Some(bot_id) = body.bot_id {
        check_bot(&app.catalog(), &bot_id)?;
        channel.bot_id = bot_id;
    }
    if let Some(display_name) = body.display_name {
        check_display_name(display_name.as_deref())?;
        channel.display_name = display_name;
    }
    if let Some(config) = body.dispatch_config {
        let restored = config.map(|config| target::restored(&app, config, channel.sealed_target.as_deref()));
        let target = restored.map(target::whole).transpose()?;
        channel.sealed_target = target.map(|target| app.seal_target(&target));
    }
    let options = &mut channel.options;
    options.require_mention = body.require_mention.unwrap_or(options.require_mention);
    options.passive_memory = body.passive_memory.unwrap_or(options.passive_memory);
    options.allow_bot_messages = body.allow_bot_messages.unwrap_or(options.allow_bot_messages);
    if let Some(thinking_display) = body.thinking_display {
        options.thinking_display = thinking_display;
    }
    app.store.update_channel(channel.into_row()?).await?;
    app.reload().await?;
    Ok(Json(shown(&app, &*find(&app, id)?)))
}

/// Delete a channel with its bindings; its sessions stay
#[utoipa::path(delete, path = "/api/v1/channels/{id}", tag = "channels", params(("id" = Uuid, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids(id): Id) -> Result<StatusCode> {
    app.store.delete_channel(id).await?;
    app.reload().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub fn find(app: &App, id: Uuid) -> Result<Arc<channel::Channel>> {
    app.catalog().channel(id).cloned().ok_or_else(|| missing(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found(format!("There is no channel {id}"))
}

/// Whether they are the same but for when they were made.
fn is_same(app: &App, one: &channel::Channel, other: &channel::Channel) -> bool {
    let content = |channel: &channel::Channel| {
        let channel::Channel { client_id, bot_id, display_name, options, .. } = channel.clone();
        (client_id, bot_id, display_name, options)
    };
    content(one) == content(other) && target::is_same(app, one.sealed_target.as_deref(), other.sealed_target.as_deref())
}

fn check_bot(catalog: &Catalog, id: &str) -> Result<()> {
    let missing = || Error::invalid(format!("bot_id: there is no bot `{id}`"));
    catalog.bots.get(id).map(drop).ok_or_else(missing)
}

pub fn check_display_name(display_name: Option<&str>) -> Result<()> {
    display_name.map_or(Ok(()), |text| name("display_name", text, 255))
}

/// Puts in what their integrations call places that nobody here gave a name.
async fn named<'a>(app: &Arc<App>, channels: impl Iterator<Item = &'a mut Channel>) {
    let mut nameless: Vec<(&str, &mut Option<String>)> = Vec::new();
    for channel in channels {
        nameless.push((&channel.client_id, &mut channel.display_name));
        nameless.extend(channel.bindings.iter_mut().map(Binding::name));
    }
    nameless.retain(|(_, name)| name.is_none());
    let wanted = nameless.iter().map(|(place, _)| (*place).to_owned()).collect();
    let names = places::names::of(app, wanted).await;
    for (place, name) in nameless {
        *name = names.get(place).cloned();
    }
}

fn shown(app: &App, channel: &channel::Channel) -> Channel {
    Channel {
        id: channel.id,
        client_id: channel.client_id.clone(),
        bot_id: channel.bot_id.clone(),
        integration: app.catalog().owner(&channel.client_id).map(str::to_owned),
        display_name: channel.display_name.clone(),
        options: channel.options.clone(),
        dispatch_config: app.masked_target(channel.sealed_target.as_deref()),
        bindings: bindings::of_channel(app, channel.id),
        created_at: Time(channel.created_at),
    }
}
