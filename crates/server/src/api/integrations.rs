//! What is connected, and what can be.

use super::{
    error::{Error, Result},
    request::Ids,
    time::Time,
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry},
    pause,
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;

const TIERS: [&str; 4] = ["free", "paid", "premium", "ultra"];

#[derive(Serialize, utoipa::ToSchema)]
pub struct Integrations {
    integrations: Vec<Integration>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Integration {
    id: String,
    name: String,
    version: String,
    /// The root it comes from.
    source: String,
    /// What it is written in.
    way: String,
    /// Name of a lucide icon.
    icon: String,
    tier: String,
    /// The tier in force does not have it.
    locked: bool,
    has_router: bool,
    has_dispatcher: bool,
    has_hooks: bool,
    has_tools: bool,
    has_skills: bool,
    has_carapaces: bool,
    has_process: bool,
    process_status: Option<String>,
    env_vars: Vec<Variable>,
    webhook: Option<Webhook>,
    /// `ready`, `partial`, `not_configured`, `error` or `paused`.
    status: String,
    error: Option<String>,
    readme: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Variable {
    key: String,
    required: bool,
    secret: bool,
    description: String,
    default: Option<String>,
    is_set: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Webhook {
    path: String,
    /// What to enter at the service.
    url: String,
    description: String,
}

/// The webhook of an integration with what it did not let in.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WatchedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// Requests that were refused since the start, and the last of them.
    refused: Option<Refusals>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Refusals {
    count: u64,
    last_at: Time,
    reason: String,
    /// The address it came from.
    source: Option<String>,
}

/// List the integrations with what each needs and has
#[utoipa::path(get, path = "/api/v1/admin/integrations", tag = "integrations", responses((status = 200, body = Integrations)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Integrations> {
    let catalog = app.catalog();
    Json(Integrations { integrations: catalog.integrations.values().map(|entry| shown(&app, entry)).collect() })
}

/// Show the webhook of an integration and what it refused
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/webhook", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = WatchedWebhook)))]
pub async fn show_webhook(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<WatchedWebhook>> {
    let entry = find(&app, &id)?;
    let webhook = webhook(&app, &entry).ok_or_else(|| Error::not_found(format!("`{id}` takes no webhooks")))?;
    let refused = app.refusals.of(&id).map(|refused| Refusals {
        count: refused.count,
        last_at: Time(refused.last_at),
        reason: refused.reason,
        source: refused.source,
    });
    Ok(Json(WatchedWebhook { webhook, refused }))
}

/// Store what an integration sends and run nothing of it; runs that have begun wait before they ask a model again
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/pause", tag = "integrations", operation_id = "pause_integration", params(("id" = String, Path)), responses((status = 200, body = Integration)))]
pub async fn pause(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Integration>> {
    set_paused(&app, &id, true).await
}

/// Let a paused integration go on with what was stored meanwhile, the oldest first
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/resume", tag = "integrations", operation_id = "resume_integration", params(("id" = String, Path)), responses((status = 200, body = Integration)))]
pub async fn resume(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Integration>> {
    set_paused(&app, &id, false).await
}

async fn set_paused(app: &Arc<App>, id: &str, paused: bool) -> Result<Json<Integration>> {
    find(app, id)?;
    pause::set(app, id, paused).await?;
    Ok(Json(shown(app, &*find(app, id)?)))
}

fn webhook(app: &App, entry: &Entry) -> Option<Webhook> {
    entry.integration.webhook.as_ref()?;
    let path = format!("/integrations/{}/webhook", entry.integration.name);
    let url = format!("{}{path}", app.config.public_url());
    Some(Webhook { path, url, description: format!("Takes what {} sends", entry.integration.label) })
}

fn shown(app: &App, entry: &Entry) -> Integration {
    let integration = &entry.integration;
    let values = &entry.connections[DEFAULT];
    let webhook = webhook(app, entry);
    let broken = values.broken.values().next().cloned();
    Integration {
        id: integration.name.clone(),
        name: integration.label.clone(),
        version: integration.version.clone(),
        source: "shipped".into(),
        way: "native".into(),
        icon: integration.icon.clone(),
        tier: integration.tier.clone(),
        locked: is_locked(app, entry),
        has_router: webhook.is_some(),
        has_dispatcher: !integration.dispatchers.is_empty(),
        has_hooks: !integration.hooks.is_empty(),
        has_tools: !integration.tools.is_empty(),
        has_skills: !integration.skills.is_empty(),
        has_carapaces: false,
        has_process: false,
        process_status: None,
        env_vars: integration
            .fields
            .iter()
            .map(|field| Variable {
                key: field.env.clone(),
                required: field.required,
                secret: field.secret,
                description: if field.help.is_empty() { field.label.clone() } else { field.help.clone() },
                default: field.default.clone().filter(|_| !field.secret),
                is_set: values.fields.contains_key(&field.key),
            })
            .collect(),
        webhook,
        status: if app.ceilings.paused.has(&integration.name) { "paused" } else { entry.status() }.into(),
        error: entry.error.clone().or(broken),
        readme: integration.readme.clone(),
    }
}

pub fn find(app: &App, id: &str) -> Result<Arc<Entry>> {
    app.catalog()
        .integrations
        .get(id)
        .cloned()
        .ok_or_else(|| Error::not_found(format!("There is no integration `{id}`")))
}

/// The same, for a call that uses it.
pub fn unlocked(app: &App, id: &str) -> Result<Arc<Entry>> {
    let entry = find(app, id)?;
    if is_locked(app, &entry) {
        let (needed, tier) = (&entry.integration.tier, &app.config.tier);
        return Err(Error::forbidden(format!(
            "`{id}` needs the tier {needed}; the tier in force is {tier} (TERCEL_TIER)"
        )));
    }
    Ok(entry)
}

fn is_locked(app: &App, entry: &Entry) -> bool {
    let rank = |tier: &str| TIERS.iter().position(|known| *known == tier);
    rank(&entry.integration.tier) > rank(&app.config.tier)
}
