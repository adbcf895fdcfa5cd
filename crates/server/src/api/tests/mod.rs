//! The promises of the interface, kept through its front door.

mod authorization;
mod documented;
mod flow;
mod keys;
mod requests;
mod settings;
mod streams;

use super::{for_operator, router};
use crate::{
    app::App,
    config::{Config, Environment},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tercel_sdk::{Field, Integration};
use tower::ServiceExt;

const BOOTSTRAP: &str = "the-bootstrap-key";

struct Server {
    app: Arc<App>,
    router: Router,
    socket: Router,
    _directory: tempfile::TempDir,
}

/// A server that listens nowhere and runs nothing.
async fn server() -> Server {
    server_with(&[("TERCEL_RATE", "0")]).await
}

async fn server_with(settings: &[(&str, &str)]) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let mut environment = Environment::default();
    environment.set("TERCEL_DATA_DIR", directory.path().to_str().unwrap());
    environment.set("API_KEY", BOOTSTRAP);
    settings.iter().for_each(|(name, value)| environment.set(name, *value));
    let example = Integration::new("example")
        .label("Example")
        .field(Field::password("token", "Token").required())
        .field(Field::url("api_url", "Address").default("https://api.example.com"));
    let app = App::open(Config::from(environment).unwrap(), vec![example]).await.unwrap();
    let router = router(app.clone());
    Server { socket: for_operator(router.clone()), router, app, _directory: directory }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_default().to_owned()
    }
}

async fn send(router: &Router, mut request: Request<Body>) -> Answer {
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1))));
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    Answer { status: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
}

fn request(method: &str, path: &str, key: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request.body(body).unwrap()
}

impl Server {
    /// With the bootstrap key.
    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call_as(BOOTSTRAP, method, path, body).await
    }

    async fn call_as(&self, key: &str, method: &str, path: &str, body: Value) -> Answer {
        send(&self.router, request(method, path, Some(key), &body)).await
    }

    /// Answers the status and the sentence of a refusal.
    async fn refusal(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let answer = self.call(method, path, body).await;
        (answer.status.as_u16(), answer.detail())
    }

    async fn key(&self, scopes: &[&str]) -> String {
        let made = self.call("POST", "/api/v1/keys", serde_json::json!({"name": "test", "scopes": scopes})).await;
        made.json()["key"].as_str().unwrap_or_else(|| panic!("{}", made.text())).to_owned()
    }
}
