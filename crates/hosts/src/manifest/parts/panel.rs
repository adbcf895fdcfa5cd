//! Panels of the dashboard whose data is a request to the service.

use crate::manifest::{
    call::{Action, Shared},
    compile::{Attempts, Compiler},
    template::{Expression, json},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_sdk::{
    Host, Kind, Result,
    http::reads,
    routes::{Body, Route, Routes, Serve},
};

pub struct Panel {
    id: String,
    action: Action,
    result: Option<Expression>,
}

/// Those that have a request; the others are the code's.
pub fn compile(c: &mut Compiler, has_code: bool) -> Vec<Panel> {
    let mut panels = Vec::new();
    let mut seen = Vec::new();
    for module in &c.keys.dashboard_modules {
        if seen.contains(&&module.id.value) {
            c.wrong(module.id.at, format!("There are two modules `{}`", module.id.value));
        }
        seen.push(&module.id.value);
        match module.request() {
            Some(_) if module.route.is_some() => {
                c.wrong(module.id.at, "A module has one of `route`, which is code's, and a request");
            }
            Some(request) => {
                let names = c.names();
                let Some(action) = c.action(&request, &names, Attempts::Several) else { continue };
                if !reads(&action.method) {
                    c.wrong(module.id.at, "A panel reads: it has a `get`");
                }
                let before = action.before.iter().map(|(name, _)| name.clone());
                let answered = names.answered().only("before", before);
                let result = c.maybe(module.result.as_ref(), &answered);
                panels.push(Panel { id: module.id.value.clone(), action, result });
            }
            None if has_code => {}
            None => c.wrong(module.id.at, "A module needs a request: there is no code"),
        }
    }
    panels
}

/// All of a manifest.
#[derive(Clone)]
pub struct Panels {
    service: Shared,
    all: Arc<Vec<Panel>>,
}

impl Panels {
    pub fn new(service: Shared, all: Vec<Panel>) -> Self {
        Self { service, all: Arc::new(all) }
    }

    /// The routes that answer with the data, before those that there are already.
    pub fn before(&self, others: Option<Routes>) -> Routes {
        let route =
            |panel: &Panel| Route { methods: vec!["GET".into()], path: format!("/mc/{}", panel.id), guarded: true };
        let own = self.all.iter().map(route);
        let (panels, inner) = (self.clone(), others.as_ref().map(|others| others.serve.clone()));
        let serve: Serve = Arc::new(move |host: Host, request: Request<Body>| {
            let wanted = request.uri().path().rsplit_once("/mc/").map(|(_, id)| id.to_owned());
            let found = panels.all.iter().position(|panel| Some(&panel.id) == wanted.as_ref());
            match (found, &inner) {
                (Some(at), _) => {
                    let (panels, (head, _)) = (panels.clone(), request.into_parts());
                    async move { panels.all[at].answer(&panels.service, &host, &head).await }.boxed()
                }
                (None, Some(inner)) => inner(host, request),
                (None, None) => async { Ok(said(StatusCode::NOT_FOUND, "There is nothing here", "not_found")) }.boxed(),
            }
        });
        match others {
            Some(others) => Routes { serve, list: own.chain(others.list.iter().cloned()).collect(), ..others.clone() },
            None => {
                Routes { serve, list: own.collect(), webhook: None, verify: None, webhook_description: String::new() }
            }
        }
    }
}

impl Panel {
    async fn answer(&self, service: &Shared, host: &Host, request: &Parts) -> Result<Response<Body>> {
        if request.method != Method::GET {
            return Ok(said(StatusCode::METHOD_NOT_ALLOWED, "A panel is read by GET", "invalid"));
        }
        // The server says what the key is good for that came with the request.
        let Some(scopes) = request.headers.get("tercel-scopes").and_then(|scopes| scopes.to_str().ok()) else {
            return Ok(said(StatusCode::UNAUTHORIZED, "A key of this server is needed", "unauthorized"));
        };
        if !scopes.split(' ').any(|scope| ["admin", "integrations:read", "integrations:write"].contains(&scope)) {
            return Ok(said(StatusCode::FORBIDDEN, "Missing required scope: integrations:read", "forbidden"));
        }
        let mut scope = service.scope(host);
        let asked = service.act(host, &self.action, &mut scope, &Default::default()).await;
        let data = asked.and_then(|answer| match &self.result {
            Some(result) => json(&service.pick(result, &scope, &answer)?),
            None => Ok(serde_json::from_slice(&answer.response().body).unwrap_or(Value::Null)),
        });
        Ok(match data {
            Ok(data) => whole(StatusCode::OK, &data),
            Err(error) => {
                let status = match error.kind {
                    Kind::NotConfigured => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::BAD_GATEWAY,
                };
                said(status, &error.message, error.kind.as_str())
            }
        })
    }
}

fn said(status: StatusCode, detail: &str, code: &str) -> Response<Body> {
    whole(status, &json!({"detail": detail, "code": code}))
}

fn whole(status: StatusCode, body: &Value) -> Response<Body> {
    let bytes = Bytes::from(body.to_string());
    let mut response = Response::new(stream::once(async { Ok(bytes) }).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
