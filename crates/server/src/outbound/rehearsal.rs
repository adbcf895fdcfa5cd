//! What a rehearsal answers instead of calling anybody.

use super::{Scope, ledger::shown};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::Value;
use std::sync::PoisonError;
use tercel_sdk::{
    Error, Kind, Mode, Result,
    http::{Request, Response},
    integration::Exchange,
};

/// A request that a rehearsal did not send. Headers are left out, and parts of the address that look like tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    pub method: String,
    pub url: String,
    pub body: Bytes,
}

/// The answer of a rehearsal; `None` when the request shall go out.
pub fn answer(scope: &Scope, request: &Request) -> Option<Result<Response>> {
    match scope.mode {
        Mode::Live => None,
        Mode::Rehearse if !request.method.is_safe() => Some(Err(withhold(scope, request))),
        Mode::Rehearse if scope.live_reads => None,
        Mode::Rehearse => Some(recorded(&scope.exchanges, request)),
    }
}

fn withhold(scope: &Scope, request: &Request) -> Error {
    let url = &request.url;
    let query = url.query().map(|query| format!("?{}", shown(query, '&'))).unwrap_or_default();
    scope.withheld.lock().unwrap_or_else(PoisonError::into_inner).push(Withheld {
        method: request.method.to_string(),
        url: format!("{}{}{query}", url.origin().ascii_serialization(), shown(url.path(), '/')),
        body: request.body.clone(),
    });
    Error::new(Kind::Unsupported, "withheld: a rehearsal sends nothing")
}

fn recorded(exchanges: &[Exchange], request: &Request) -> Result<Response> {
    let url = &request.url;
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let accept = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let same_path = || exchanges.iter().filter(|exchange| exchange.path == path);
    let found = same_path()
        .find(|exchange| exchange.accept.as_deref().is_some_and(|wanted| accept.contains(wanted)))
        .or_else(|| same_path().find(|exchange| exchange.accept.is_none()));
    let Some(exchange) = found else {
        let shown = format!("{} {}", request.method, path);
        return Err(Error::new(
            Kind::Unsupported,
            format!("a rehearsal has no recorded answer for {shown}; add it to fixtures or use --live-reads"),
        ));
    };
    let status = StatusCode::from_u16(exchange.status)
        .map_err(|_| Error::schema(format!("The recorded answer for {path} has the status {}", exchange.status)))?;
    let (kind, body) = match &exchange.body {
        Value::String(text) => ("text/plain; charset=utf-8", text.clone()),
        json => ("application/json", json.to_string()),
    };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    Ok(Response::new(status, headers, body.into()))
}
