//! Requests of services.

use super::{
    error::{Error, Result},
    rate,
    request::{Ids, Raw},
    routes,
};
use crate::{
    app::App,
    catalog::DEFAULT,
    webhook::{self, Answer, Taken},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, State},
    http::{Extensions, HeaderMap, Request, StatusCode, header},
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
    receive(&app, &id, DEFAULT, Incoming::read(request).await?).await
}

/// Whether the code of a folder answers what comes to its address.
fn is_code(app: &App, id: &str) -> bool {
    app.catalog()
        .integrations
        .get(id)
        .is_some_and(|entry| entry.listed.place.is_some() && entry.integration.webhook.is_none())
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
    receive(&app, &id, &connection, Incoming::read(request).await?).await
}

async fn receive(app: &Arc<App>, id: &str, connection: &str, request: Incoming) -> Result<Response> {
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
pub struct Incoming {
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
}

impl Incoming {
    async fn read(request: Request<Body>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let (headers, extensions) = (parts.headers.clone(), parts.extensions.clone());
        let Raw(body) = Raw::from_request(Request::from_parts(parts, body), &()).await?;
        Ok(Self { extensions, headers, body })
    }
}
