//! HTTP routes of an integration: a request in, an answer out, both as they come.

use crate::{Host, Result, Scheme};
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A body, piece by piece. An error ends it in the middle.
pub type Body = BoxStream<'static, Result<Bytes>>;

/// Answers a request whose path begins with `/integrations/<name>/`.
pub type Serve = Arc<dyn Fn(Host, Request<Body>) -> BoxFuture<'static, Result<Response<Body>>> + Send + Sync>;

/// The scheme of a webhook, with the connection's secret in it.
pub type Verify = Arc<dyn Fn(&Host) -> Result<Scheme> + Send + Sync>;

/// A route as a description or a card shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub methods: Vec<String>,
    /// Below `/integrations/<name>`: `/webhook`.
    pub path: String,
    /// Somebody checks who calls.
    #[serde(default)]
    pub guarded: bool,
}

/// A routes part.
#[derive(Clone)]
pub struct Routes {
    pub serve: Serve,
    pub list: Vec<Route>,
    /// The one path below `/integrations/<name>` whose requests are stored as deliveries before they are answered.
    pub webhook: Option<String>,
    /// How a delivery proves that it is one, where the host checks that. Otherwise code does.
    pub verify: Option<Verify>,
    /// What the webhook is for, as its writer says.
    pub webhook_description: String,
}
