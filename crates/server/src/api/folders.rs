//! What is done about an integration as a whole: switched off, approved, looked at again, forgotten.

use super::{
    error::{Error, Result},
    integrations::{Integration, find, shown},
    request::Ids,
    time::Time,
};
use crate::{
    app::App,
    config::Config,
    folders::{Standing, load, standing},
};
use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};
use tercel_hosts::LogLine;

/// Switch an integration on again
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/enable", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Integration)))]
pub async fn enable(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Integration>> {
    switch(&app, &id, false).await
}

/// Switch an integration off: nothing of it is used, its settings stay, and what leaves by it waits
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/disable", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Integration)))]
pub async fn disable(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Integration>> {
    switch(&app, &id, true).await
}

async fn switch(app: &Arc<App>, id: &str, disabled: bool) -> Result<Json<Integration>> {
    find(app, id)?;
    if standing::change(app, id, |row| row.disabled = disabled).await? {
        let now = if disabled { "off" } else { "on" };
        tracing::info!(integration = id, "The integration is switched {now}");
        load::reload(app, id).await;
    }
    Ok(Json(shown(app, &*find(app, id)?).await))
}

/// Let exactly what lies in the workspace now run
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/approve", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Integration), (status = 409, description = "Nothing waits for an approval")))]
pub async fn approve(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Integration>> {
    find(&app, &id)?;
    let offered = app.folders.offered(&id);
    let Some(hash) = offered else {
        return Err(Error::conflict(format!("`{id}` needs no approval: only folders of the workspace do")));
    };
    standing::change(&app, &id, |row| row.approved = Some(hash.clone())).await?;
    tracing::info!(integration = id, hash, "The folder was approved");
    load::reload(&app, &id).await;
    Ok(Json(shown(&app, &*find(&app, &id)?).await))
}

/// Look at a folder again, and load it if it has changed
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/reload", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Integration)))]
pub async fn reload(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Integration>> {
    find(&app, &id)?;
    load::look(&app).await;
    load::reload(&app, &id).await;
    Ok(Json(shown(&app, &*find(&app, &id)?).await))
}

/// Give a folder a variable that its code reads though it does not declare it
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/variables/{name}/allow", tag = "integrations", params(("id" = String, Path), ("name" = String, Path)), responses((status = 200, body = Integration), (status = 422, description = "The name is the server's own")))]
pub async fn allow(State(app): State<Arc<App>>, Ids((id, name)): Ids<(String, String)>) -> Result<Json<Integration>> {
    let entry = find(&app, &id)?;
    if Config::is_reserved(&name) {
        return Err(Error::invalid(format!(
            "{name} is the server's own, or decides how processes run: folders are never given it"
        )));
    }
    let reads = entry.listed.place.as_ref().is_some_and(|place| place.undeclared.contains(&name));
    let mut allowed = app.folders.said.allowed(&id);
    if !reads && !allowed.contains(&name) {
        return Err(Error::not_found(format!("The code of `{id}` does not read {name}, or declares it")));
    }
    if !allowed.contains(&name) {
        allowed.push(name);
    }
    let text = serde_json::to_string(&allowed).map_err(Error::internal)?;
    standing::change(&app, &id, |row| row.allowed = text).await?;
    load::reload(&app, &id).await;
    Ok(Json(shown(&app, &*find(&app, &id)?).await))
}

/// What was forgotten of an integration.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Removed {
    id: String,
    /// How many of what. Conversations, deliveries and documents stay.
    removed: BTreeMap<String, u64>,
}

/// Forget the settings of an integration whose folder is gone
#[utoipa::path(delete, path = "/api/v1/admin/integrations/{id}", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Removed), (status = 409, description = "It is still there")))]
pub async fn remove(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Removed>> {
    let entry = find(&app, &id)?;
    match &entry.listed.place {
        None => return Err(Error::conflict(format!("`{id}` is part of the program; `disable` switches it off"))),
        Some(place) if entry.listed.standing != Standing::Missing => {
            let path = place.path.display();
            return Err(Error::conflict(format!("Its folder is still there: delete {path} first, or `disable` it")));
        }
        Some(_) => {}
    }
    let gone = standing::forget(&app, &id).await?;
    app.folders.forget(&id);
    app.reload().await?;
    // Its name may be somebody else's now.
    load::look(&app).await;
    let removed = gone.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| (what.to_owned(), count));
    Ok(Json(Removed { id, removed: removed.collect() }))
}

/// What the code of a folder printed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Log {
    lines: Vec<Line>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Line {
    at: Time,
    text: String,
}

/// Show what the code of a folder printed lately, the oldest first
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/logs", tag = "integrations", params(("id" = String, Path)), responses((status = 200, body = Log)))]
pub async fn logs(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Log>> {
    let entry = find(&app, &id)?;
    let worker = entry.listed.place.as_ref().and_then(|place| place.worker.clone());
    Ok(Json(Log::of(&app, worker.map(|worker| worker.log()).unwrap_or_default())))
}

impl Log {
    pub fn of(app: &App, lines: Vec<LogLine>) -> Self {
        let catalog = app.catalog();
        let line = |line: LogLine| Line { at: Time(line.at), text: catalog.redactor.text(&line.text).into_owned() };
        Self { lines: lines.into_iter().map(line).collect() }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Sections {
    #[schema(value_type = Vec<Object>)]
    sections: Vec<Value>,
}

/// List the sections that integrations add to the sidebar
#[utoipa::path(get, path = "/api/v1/admin/integrations/sidebar-sections", tag = "integrations", responses((status = 200, body = Sections)))]
pub async fn sections(State(app): State<Arc<App>>) -> Json<Sections> {
    const KEYS: [&str; 6] = ["id", "title", "icon", "items", "readiness_endpoint", "readiness_field"];
    let catalog = app.catalog();
    let all = catalog.integrations.values();
    let sections = all.filter_map(|entry| {
        let integration = &entry.integration;
        Some(of(&integration.name, integration.sidebar_section.as_ref()?, &KEYS))
    });
    Json(Sections { sections: sections.collect() })
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Icons {
    icons: BTreeMap<String, String>,
}

/// List the icons of integrations
#[utoipa::path(get, path = "/api/v1/admin/integrations/icons", tag = "integrations", responses((status = 200, body = Icons)))]
pub async fn icons(State(app): State<Arc<App>>) -> Json<Icons> {
    let catalog = app.catalog();
    let icon = |(id, entry): (&String, &Arc<crate::catalog::Entry>)| (id.clone(), entry.integration.icon.clone());
    Json(Icons { icons: catalog.integrations.iter().map(icon).collect() })
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Modules {
    #[schema(value_type = Vec<Object>)]
    modules: Vec<Value>,
}

/// List the panels that integrations add to the dashboard
#[utoipa::path(get, path = "/api/v1/admin/integrations/dashboard-modules", tag = "integrations", responses((status = 200, body = Modules)))]
pub async fn modules(State(app): State<Arc<App>>) -> Json<Modules> {
    const KEYS: [&str; 5] = ["id", "label", "icon", "description", "api_base"];
    let catalog = app.catalog();
    let all = catalog.integrations.values().map(|entry| &entry.integration);
    let modules = all.flat_map(|integration| {
        integration.dashboard_modules.iter().map(|module| {
            let mut shown = of(&integration.name, module, &KEYS);
            let id = shown["id"].as_str().unwrap_or_default();
            shown["api_base"] = Value::String(format!("/integrations/{}/mc/{id}", integration.name));
            shown
        })
    });
    Json(Modules { modules: modules.collect() })
}

/// What is declared, under the names that are promised.
fn of(integration: &str, declared: &Value, keys: &[&str]) -> Value {
    let mut shown = Map::from_iter([("integration_id".to_owned(), Value::String(integration.into()))]);
    shown.extend(keys.iter().map(|key| ((*key).to_owned(), declared.get(*key).cloned().unwrap_or_default())));
    shown.into()
}
