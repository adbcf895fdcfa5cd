//! What is connected, and what can be.

use super::{
    error::{Error, Result},
    request::Ids,
    time::Time,
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry},
    folders::{Place, acts},
    pause, processes, registering,
};
use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

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
    env_vars: Vec<Variable>,
    webhook: Option<Webhook>,
    /// `ready`, `partial`, `not_configured`, `error`, `missing`, `paused`, `disabled` or `awaiting_approval`.
    status: String,
    error: Option<String>,
    /// What a good integration has and this one has not, each in words. Of what runs in a process of its own, no part was
    /// called for that.
    lacks: Vec<String>,
    readme: String,
    /// Absent for what is part of the program.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    folder: Option<Folder>,
}

/// What there is to say of an integration because it is a folder.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Folder {
    /// Where it lies.
    path: String,
    /// What it stands in the place of: `yours 1.2 hides shipped 1.5`.
    hides: Option<String>,
    /// The process that runs its code.
    worker: Option<Worker>,
    /// What is wrong with its files.
    problems: Vec<Problem>,
    /// Variables that its code reads and nothing declares; `allow` gives it one.
    undeclared: Vec<Undeclared>,
    /// Of the state that runs, or that waits for an approval.
    hash: Option<String>,
    /// Places of others in which its code opened conversations.
    opened_elsewhere: Vec<String>,
    /// What its code answers below `/integrations/<id>`.
    routes: Vec<Route>,
    /// Integrations whose code it imports, and whose tools it may call for that.
    imports: Vec<String>,
    /// What its key may do: scopes of the API, for what is its own.
    api_permissions: Vec<String>,
    /// What it needs to know of a person or a bot: fields of their `integration_config`.
    #[schema(value_type = Vec<Object>)]
    identity_fields: Vec<Value>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Route {
    methods: Vec<String>,
    path: String,
    /// Somebody checks who calls. The others are open to everybody who reaches this server.
    guarded: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Worker {
    /// `stopped`, `preparing`, `starting`, `running`, `draining` or `failing`.
    state: String,
    pid: Option<u32>,
    restarts: u32,
    /// Why it does not run; while it is prepared, how far that is.
    reason: Option<String>,
    /// What went wrong last in its code, whether it runs again or not.
    last_failure: Option<LastFailure>,
    /// Lines that it printed too fast to be kept.
    log_lines_lost: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct LastFailure {
    at: Time,
    reason: String,
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
    /// What the service was told by this server, where it can be told.
    registered: Option<Registered>,
}

/// The service knows where to send what happens.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Registered {
    url: String,
    at: Time,
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
    let mut integrations = Vec::new();
    for entry in catalog.integrations.values() {
        let own = |(by, client_id): &&(String, String)| {
            *by == entry.integration.name && catalog.owner(client_id) != Some(by.as_str())
        };
        let opened_elsewhere = elsewhere.iter().filter(own).map(|(_, client_id)| client_id.clone()).collect();
        let shown = shown(&app, entry).await;
        integrations
            .push(Integration { folder: shown.folder.map(|folder| Folder { opened_elsewhere, ..folder }), ..shown });
    }
    Ok(Json(Integrations { integrations }))
}

/// Show the webhook of an integration and what it refused
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/webhook", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = WatchedWebhook)))]
pub async fn show_webhook(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<WatchedWebhook>> {
    let entry = find(&app, &id)?;
    let webhook =
        webhook(&app, &entry, DEFAULT).ok_or_else(|| Error::not_found(format!("`{id}` takes no webhooks")))?;
    let refused = app.refusals.of(&id).map(|refused| Refusals {
        count: refused.count,
        last_at: Time(refused.last_at),
        reason: refused.reason,
        source: refused.source,
    });
    let registered = registering::of(&app, &id, DEFAULT).await?;
    let registered = registered.map(|told| Registered { url: told.url, at: Time(told.at) });
    Ok(Json(WatchedWebhook { webhook, refused, registered }))
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
    Ok(Json(shown(app, &*find(app, id)?).await))
}

/// Code of folders answers at one address for all connections.
pub fn webhook(app: &App, entry: &Entry, connection: &str) -> Option<Webhook> {
    let integration = &entry.listed.integration;
    let usual = format!("Takes what {} sends", integration.label);
    let (path, said) = match (&integration.webhook, &integration.routes) {
        (Some(webhook), _) => (webhook.path.as_str(), &webhook.description),
        (None, Some(routes)) if connection == DEFAULT => (routes.webhook.as_deref()?, &routes.webhook_description),
        (None, _) => return None,
    };
    let description = Some(said.clone()).filter(|said| !said.is_empty()).unwrap_or(usual);
    let path = path.trim_start_matches('/');
    let path = match connection {
        DEFAULT => format!("/integrations/{}/{path}", integration.name),
        other => format!("/integrations/{}/c/{other}/{path}", integration.name),
    };
    let url = format!("{}{path}", app.config.public_url());
    Some(Webhook { path, url, description })
}

pub async fn shown(app: &App, entry: &Entry) -> Integration {
    let integration = &entry.integration;
    let values = &entry.connections[DEFAULT];
    let webhook = webhook(app, entry, DEFAULT);
    let broken = values.broken.values().next().cloned();
    let (abilities, place) = (entry.listed.abilities, entry.listed.place.as_ref());
    Integration {
        id: integration.name.clone(),
        name: integration.label.clone(),
        version: integration.version.clone(),
        source: entry.listed.source().into(),
        way: entry.listed.way().into(),
        icon: integration.icon.clone(),
        tier: integration.tier.clone(),
        locked: !app.config.tier.has(&integration.tier),
        has_router: abilities.router,
        has_dispatcher: abilities.dispatcher,
        has_hooks: abilities.hooks,
        has_tools: abilities.tools,
        has_skills: abilities.skills,
        has_carapaces: false,
        has_process: abilities.process,
        process_status: abilities.process.then(|| app.processes.status(&integration.name)),
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
        error: entry.error.clone().or(broken).or_else(|| entry.listed.obstacle()).map(|error| masked(app, &error)),
        lacks: entry.listed.lacks().await,
        readme: integration.readme.clone(),
        folder: place.map(|place| folder(app, integration, place)),
    }
}

fn folder(app: &App, integration: &tercel_sdk::Integration, place: &Place) -> Folder {
    let allowed = app.folders.said.allowed(&integration.name);
    let worker = place.worker.as_ref().map(|worker| worker.state());
    Folder {
        path: place.path.display().to_string(),
        hides: place.hides.clone(),
        worker: worker.map(|worker| Worker {
            state: worker.state.into(),
            pid: worker.pid,
            restarts: worker.restarts,
            reason: worker.reason.map(|reason| masked(app, &reason)),
            last_failure: worker
                .failure
                .map(|failed| LastFailure { at: Time(failed.at), reason: masked(app, &failed.reason) }),
            log_lines_lost: worker.lines_lost,
        }),
        problems: place
            .problems
            .iter()
            .map(|problem| Problem { message: masked(app, &problem.message), ..problem.into() })
            .collect(),
        undeclared: place
            .undeclared
            .iter()
            .map(|name| Undeclared { name: name.clone(), allowed: allowed.contains(name) })
            .collect(),
        hash: Some(place.hash.clone()).filter(|hash| !hash.is_empty()),
        opened_elsewhere: Vec::new(),
        routes: routes(integration),
        imports: place.imports.clone(),
        api_permissions: acts::granted(&place.permissions.api).iter().map(str::to_owned).collect(),
        identity_fields: integration.identity_fields.clone(),
    }
}

fn routes(integration: &tercel_sdk::Integration) -> Vec<Route> {
    let Some(routes) = &integration.routes else { return Vec::new() };
    let is_verified = |path: &str| routes.verify.is_some() && routes.webhook.as_deref() == Some(path);
    let route = |route: &tercel_sdk::Route| Route {
        methods: route.methods.clone(),
        path: route.path.clone(),
        guarded: route.guarded || is_verified(&route.path),
    };
    routes.list.iter().map(route).collect()
}

/// Code that fails may say what it was given.
fn masked(app: &App, text: &str) -> String {
    app.catalog().redactor.text(text).into_owned()
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
    match app.config.tier.refusal(&format!("`{id}`"), &entry.integration.tier) {
        Some(refusal) => Err(Error::locked(refusal)),
        None => Ok(entry),
    }
}
