//! Requests that the code of folders answers itself.

use super::{
    error::{Error, Result},
    rate, webhooks,
};
use crate::{
    app::App,
    folders::route::{self, Asked},
    receiving,
};
use axum::{
    body::Body,
    extract::{ConnectInfo, Path, Request, State},
    http::request::Parts,
    response::Response,
};
use futures::StreamExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::{net::SocketAddr, sync::Arc};
use tercel_sdk::{Error as PartError, Kind};

macro_rules! ways {
    ($($name:ident = $method:ident $path:literal $params:tt: $summary:literal;)*) => {$(
        #[doc = $summary]
        #[utoipa::path(
            $method,
            path = $path,
            tag = "webhooks",
            params $params,
            responses((status = 200, description = "As the code of the folder answers"), (status = 503, description = "It cannot answer now; the reason is said")),
        )]
        pub async fn $name(State(app): State<Arc<App>>, request: Request) -> Result<Response> {
            answer(app, request).await
        }
    )*};
}

ways! {
    get = get "/integrations/{id}/{*path}" (("id" = String, Path), ("path" = String, Path)): "Ask the code of a folder";
    post = post "/integrations/{id}/{*path}" (("id" = String, Path), ("path" = String, Path)): "Send something to the code of a folder; the path of its webhook is stored first";
    put = put "/integrations/{id}/{*path}" (("id" = String, Path), ("path" = String, Path)): "Put something by the code of a folder";
    patch = patch "/integrations/{id}/{*path}" (("id" = String, Path), ("path" = String, Path)): "Change something by the code of a folder";
    delete = delete "/integrations/{id}/{*path}" (("id" = String, Path), ("path" = String, Path)): "Delete something by the code of a folder";
    options = options "/integrations/{id}/{*path}" (("id" = String, Path), ("path" = String, Path)): "Ask the code of a folder what it takes";
    get_root = get "/integrations/{id}/" (("id" = String, Path)): "Ask the code of a folder for its first page";
    post_root = post "/integrations/{id}/" (("id" = String, Path)): "Send something to the first page of the code of a folder";
}

/// Any request below `/integrations/<id>/`.
pub async fn answer(app: Arc<App>, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let id = {
        use axum::RequestPartsExt;
        let Path(all) = parts
            .extract::<Path<Vec<(String, String)>>>()
            .await
            .map_err(|rejection| Error::invalid(rejection.body_text()))?;
        let id = all.into_iter().find(|(name, _)| name == "id").map(|(_, id)| id);
        id.ok_or_else(|| Error::not_found("There is no integration in this address"))?
    };
    if let Some(connection) = webhooks::elsewhere(&app, &id, &parts.method, parts.uri.path()) {
        return webhooks::take_elsewhere(&app, &id, &connection, Request::from_parts(parts, body)).await;
    }
    pass_on(&app, &id, parts, body).await
}

/// Gives a request to the code of an integration, whoever it was for.
pub async fn pass_on(app: &Arc<App>, id: &str, parts: Parts, body: Body) -> Result<Response> {
    if route::is_upgrade(&parts.headers) {
        return Err(Error::not_implemented(
            "WebSockets are not passed on to folders; let the page ask again, or stream the answer",
        ));
    }
    let length = receiving::body::length(&parts.headers);
    if length.is_some_and(|length| length > app.config.capacity.body) {
        return Err(Error::too_large(super::request::TOO_LARGE));
    }
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
    let asked = Asked {
        identity: app.access.known(&app.config, &parts.extensions, &parts.headers),
        source: rate::source(&app.config, &parts.extensions, &parts.headers),
        is_forwarded: peer.is_some_and(|peer| app.config.trusts_proxy(peer)),
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
    };
    let limited = Limited::new(body, app.config.capacity.body).into_data_stream();
    let pieces = limited.map(|piece| {
        piece.map_err(|error| match error.is::<LengthLimitError>() {
            true => PartError::new(Kind::Schema, super::request::TOO_LARGE),
            false => PartError::new(Kind::Network, "The sender hung up"),
        })
    });
    let answered = route::answer(app, id, asked, pieces.boxed()).await?;
    Ok(answered.map(Body::from_stream))
}
