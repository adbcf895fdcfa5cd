//! Requests of services.

use super::{
    error::{Error, Result},
    rate,
    request::Ids,
    routes,
};
use crate::{
    app::App,
    catalog::DEFAULT,
    receiving::body::{Room, Whole},
    webhook::{self, Answer, Taken},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{Extensions, HeaderMap, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{net::IpAddr, sync::Arc};

/// Take a webhook request of a service
#[utoipa::path(
    post,
    path = "/integrations/{id}/webhook",
    tag = "webhooks",
    params(("id" = String, Path)),
    request_body(content = String, content_type = "application/json", description = "Signed as the service signs"),
    responses((status = 200, body = Taken), (status = 400, description = "It is not understood"), (status = 403, description = "The signature is missing or wrong")),
)]
pub async fn take(State(app): State<Arc<App>>, Ids(id): Ids<String>, request: Request<Body>) -> Result<Response> {
    if is_code(&app, &id) {
        return routes::answer(app, request).await;
    }
    receive(&app, &id, DEFAULT, Incoming::read(&app, request).await?).await
}

/// What the address of a webhook ends in, unless a manifest says another.
const USUAL: &str = "webhook";

/// Whether what comes to the usual address is for the code of a folder, or for nobody.
fn is_code(app: &App, id: &str) -> bool {
    app.catalog().integrations.get(id).is_some_and(|entry| match &entry.integration.webhook {
        Some(webhook) => webhook.path != USUAL,
        None => entry.listed.place.is_some(),
    })
}

/// The connection whose webhook has this address, where a manifest gives it another one than the usual.
pub fn elsewhere(app: &App, id: &str, method: &Method, path: &str) -> Option<String> {
    let catalog = app.catalog();
    let webhook = catalog.integrations.get(id)?.integration.webhook.as_ref()?;
    if method != Method::POST || webhook.path == USUAL {
        return None;
    }
    let below = path.strip_prefix("/integrations/")?.strip_prefix(id)?;
    match below.strip_suffix(&webhook.path)?.strip_suffix('/')? {
        "" => Some(DEFAULT.to_owned()),
        path => path.strip_prefix("/c/").filter(|name| !name.contains('/')).map(str::to_owned),
    }
}

/// Takes a request to such an address.
pub async fn take_elsewhere(app: &Arc<App>, id: &str, connection: &str, request: Request<Body>) -> Result<Response> {
    receive(app, id, connection, Incoming::read(app, request).await?).await
}

/// Take a webhook request for another connection than the default one
#[utoipa::path(
    post,
    path = "/integrations/{id}/c/{connection}/webhook",
    tag = "webhooks",
    params(("id" = String, Path), ("connection" = String, Path)),
    request_body(content = String, content_type = "application/json", description = "Signed as the service signs"),
    responses((status = 200, body = Taken), (status = 400, description = "It is not understood"), (status = 403, description = "The signature is missing or wrong")),
)]
pub async fn take_for(
    State(app): State<Arc<App>>,
    Ids((id, connection)): Ids<(String, String)>,
    request: Request<Body>,
) -> Result<Response> {
    if is_code(&app, &id) {
        return routes::answer(app, request).await;
    }
    receive(&app, &id, &connection, Incoming::read(&app, request).await?).await
}

async fn receive(app: &Arc<App>, id: &str, connection: &str, request: Incoming<'_>) -> Result<Response> {
    let source: Option<IpAddr> = rate::source(&app.config, &request.extensions, &request.headers);
    match webhook::receive(app, id, connection, request.headers, request.body, source).await? {
        Answer::Taken(taken) => Ok(Json(taken).into_response()),
        Answer::Reply { status, content_type, body } => {
            let status = StatusCode::from_u16(status).map_err(Error::internal)?;
            Ok((status, [(header::CONTENT_TYPE, content_type)], body).into_response())
        }
    }
}

/// A request whose body was read to its end.
struct Incoming<'a> {
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
    _room: Room<'a>,
}

impl<'a> Incoming<'a> {
    async fn read(app: &'a App, request: Request<Body>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let body = app.readers.bodies.read(&parts.headers, body.into_data_stream(), app.config.capacity.body);
        let Whole { bytes, room } = body.await?;
        Ok(Self { extensions: parts.extensions, headers: parts.headers, body: bytes, _room: room })
    }
}
