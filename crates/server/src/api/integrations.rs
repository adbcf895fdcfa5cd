//! What is connected, and what can be.

use super::{
    error::{Error, Result},
    request::Ids,
    time::Time,
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry},
    pause, processes,
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
    /// The root it comes from: `shipped`, `operator` or `workspace`.
    source: String,
    /// Where its folder lies.
    path: Option<String>,
    /// What it stands in the place of: `yours 1.2 hides shipped 1.5`.
    hides: Option<String>,
    /// How it is written: `native`, `manifest`, `python` or `worker`.
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
    /// The process that runs its code.
    worker: Option<Worker>,
    /// What is wrong with its files.
    problems: Vec<Problem>,
    /// Variables that its code reads and nothing declares; `allow` gives it one.
    undeclared: Vec<Undeclared>,
    /// Of the state of the folder that runs, or that waits for an approval.
    hash: Option<String>,
    /// Conversations that its code opened in places of others.
    opened_elsewhere: Vec<String>,
    env_vars: Vec<Variable>,
    webhook: Option<Webhook>,
    /// `ready`, `partial`, `not_configured`, `error`, `missing`, `paused`, `disabled` or `awaiting_approval`.
    status: String,
    error: Option<String>,
    readme: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Worker {
    /// `stopped`, `preparing`, `starting`, `running`, `draining` or `failing`.
    state: String,
    pid: Option<u32>,
    restarts: u32,
    /// Why it does not run.
    reason: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Below the folder: `tools/search.py`.
    file: String,
    line: Option<u32>,
    message: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Undeclared {
    name: String,
    allowed: bool,
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
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Integrations>> {
    let catalog = app.catalog();
    let elsewhere = app.store.opened_by().await?;
    let all = catalog.integrations.values().map(|entry| {
        let own = |(by, client_id): &&(String, String)| {
            *by == entry.integration.name && catalog.owner(client_id) != Some(by.as_str())
        };
        let opened_elsewhere = elsewhere.iter().filter(own).map(|(_, client_id)| client_id.clone()).collect();
        Integration { opened_elsewhere, ..shown(&app, entry) }
    });
    Ok(Json(Integrations { integrations: all.collect() }))
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
    processes::settle(app);
    Ok(Json(shown(app, &*find(app, id)?)))
}

fn webhook(app: &App, entry: &Entry) -> Option<Webhook> {
    let integration = &entry.integration;
    let usual = format!("Takes what {} sends", integration.label);
    let (path, description) = match (&integration.webhook, &integration.routes) {
        (Some(_), _) => ("webhook", usual),
        (None, Some(routes)) => {
            let said = Some(routes.webhook_description.clone()).filter(|text| !text.is_empty());
            (routes.webhook.as_deref()?, said.unwrap_or(usual))
        }
        (None, None) => return None,
    };
    let path = format!("/integrations/{}/{}", integration.name, path.trim_start_matches('/'));
    let url = format!("{}{path}", app.config.public_url());
    Some(Webhook { path, url, description })
}

pub fn shown(app: &App, entry: &Entry) -> Integration {
    let integration = &entry.integration;
    let values = &entry.connections[DEFAULT];
    let webhook = webhook(app, entry);
    let broken = values.broken.values().next().cloned();
    let (abilities, place) = (entry.listed.abilities, entry.listed.place.as_ref());
    let allowed = app.folders.said.allowed(&integration.name);
    Integration {
        id: integration.name.clone(),
        name: integration.label.clone(),
        version: integration.version.clone(),
        source: entry.listed.source().into(),
        path: place.map(|place| place.path.display().to_string()),
        hides: place.and_then(|place| place.hides.clone()),
        way: entry.listed.way().into(),
        icon: integration.icon.clone(),
        tier: integration.tier.clone(),
        locked: is_locked(app, entry),
        has_router: abilities.router,
        has_dispatcher: abilities.dispatcher,
        has_hooks: abilities.hooks,
        has_tools: abilities.tools,
        has_skills: abilities.skills,
        has_carapaces: false,
        has_process: abilities.process,
        process_status: abilities.process.then(|| app.processes.status(&integration.name)),
        worker: place.and_then(|place| place.worker.as_ref()).map(|worker| {
            let state = worker.state();
            Worker { state: state.state.into(), pid: state.pid, restarts: state.restarts, reason: state.reason }
        }),
        problems: place.map(|place| place.problems.as_slice()).unwrap_or_default().iter().map(Problem::from).collect(),
        undeclared: place
            .map(|place| place.undeclared.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|name| Undeclared { name: name.clone(), allowed: allowed.contains(name) })
            .collect(),
        hash: place.map(|place| place.hash.clone()).filter(|hash| !hash.is_empty()),
        opened_elsewhere: Vec::new(),
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
        error: entry.error.clone().or(broken).or_else(|| entry.listed.obstacle()),
        readme: integration.readme.clone(),
    }
}

impl From<&tercel_hosts::Problem> for Problem {
    fn from(problem: &tercel_hosts::Problem) -> Self {
        Self { file: problem.file.clone(), line: problem.line, message: problem.message.clone() }
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
