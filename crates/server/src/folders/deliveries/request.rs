//! How a request was sent, kept sealed beside its delivery, so that it can be processed again.

use crate::{
    api::{Identity, Scopes},
    app::App,
    folders::route::{Asked, Failure},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_store::Delivery;

/// Where the request is sealed.
pub const REQUEST: &str = "deliveries/request";

/// What proves a request and where it went, as it is kept to be processed again.
#[derive(Serialize, Deserialize)]
struct Kept {
    uri: String,
    /// Names and values in base64: they need not be text.
    headers: Vec<(String, String)>,
    /// Of the key that came with it, when it was one of this server's. The key itself is not kept.
    scopes: Option<String>,
    source: Option<std::net::IpAddr>,
    is_forwarded: bool,
}

pub fn sealed(app: &App, asked: &Asked) -> String {
    app.sealer.seal(REQUEST, &kept(asked))
}

fn kept(asked: &Asked) -> String {
    let is_ours = |name: &HeaderName| asked.identity.is_some() && name == http::header::AUTHORIZATION;
    let headers = asked.headers.iter().filter(|(name, _)| !is_ours(name));
    let kept = Kept {
        uri: asked.uri.to_string(),
        headers: headers.map(|(name, value)| (name.to_string(), BASE64.encode(value.as_bytes()))).collect(),
        scopes: asked.identity.as_ref().map(|identity| identity.scopes.to_string()),
        source: asked.source,
        is_forwarded: asked.is_forwarded,
    };
    serde_json::to_string(&kept).expect("texts are JSON")
}

pub fn unsealed(app: &App, delivery: &Delivery) -> Result<Asked, Failure> {
    let missing =
        || Failure::NotFound("How this delivery was sent is not kept any more, so that it cannot be processed".into());
    let sealed = delivery.sealed_request.as_deref().ok_or_else(missing)?;
    let text = app.sealer.open(REQUEST, sealed).map_err(|_| missing())?;
    let kept: Kept = serde_json::from_str(&text).map_err(|_| missing())?;
    let plain = |value: &str| String::from_utf8(BASE64.decode(value).unwrap_or_default()).unwrap_or_default();
    Ok(Asked {
        method: Method::POST,
        uri: kept.uri.parse().map_err(|_| missing())?,
        headers: super::read_headers(&kept.headers, plain),
        identity: kept
            .scopes
            .map(|scopes| Arc::new(Identity { id: None, scopes: Scopes::from(scopes.as_str()), folder: None })),
        source: kept.source,
        is_forwarded: kept.is_forwarded,
    })
}
