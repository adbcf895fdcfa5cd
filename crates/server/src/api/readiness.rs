//! Addresses by which sections of the sidebar say whether they are ready, where no route of ours is: their folder answers.

use super::{
    auth::{Gate, admit},
    error::Result,
    nothing, routes,
};
use crate::{app::App, catalog::Entry};
use axum::{
    extract::Request,
    http::{Method, Uri},
    response::Response,
};
use std::sync::Arc;

const SCOPE: &str = "integrations:read";

pub async fn answer(app: Arc<App>, request: Request) -> Result<Response> {
    let catalog = app.catalog();
    let mut entries = catalog.integrations.values();
    let asked = |entry: &&Arc<Entry>| declared(entry) == Some(request.uri().path());
    let Some(entry) = entries.find(asked).filter(|_| request.method() == Method::GET) else {
        return Err(nothing(request.uri()));
    };
    let gate = Gate { app: app.clone(), scope: Some(SCOPE), folders: false, streams: false, looks_only: false };
    admit(&gate, SCOPE, &request)?;
    let path = below(entry, request.uri().path());
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("/integrations/{}{path}{query}", entry.integration.name);
    let (mut parts, body) = request.into_parts();
    parts.uri = target.parse::<Uri>().map_err(|_| nothing(&parts.uri))?;
    routes::pass_on(&app, &entry.integration.name, parts, body).await
}

fn declared(entry: &Entry) -> Option<&str> {
    let endpoint = entry.integration.sidebar_section.as_ref()?.get("readiness_endpoint")?.as_str()?;
    Some(endpoint).filter(|endpoint| endpoint.starts_with("/api/v1/"))
}

/// The longest end of the address that the folder has a route for, else its last part.
fn below<'p>(entry: &Entry, path: &'p str) -> &'p str {
    let ends: Vec<&str> = path.match_indices('/').map(|(at, _)| &path[at..]).collect();
    let routes = entry.integration.routes.iter().flat_map(|routes| &routes.list);
    let known: Vec<&str> = routes
        .filter(|route| route.methods.iter().any(|method| method == "GET"))
        .map(|route| route.path.as_str())
        .collect();
    ends.iter().find(|end| known.contains(end)).or(ends.last()).copied().unwrap_or(path)
}
