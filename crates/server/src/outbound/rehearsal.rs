//! What a rehearsal answers instead of calling anybody.

use super::{Scope, ledger::shown};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use tercel_sdk::{
    Error, Kind, Mode, Result,
    http::{Request, Response, reads},
    integration::Exchange,
    text::cut,
};

/// What requests of a rehearsal are answered with, and which there were.
#[derive(Clone, Default)]
pub struct Rehearsal {
    pub exchanges: Arc<[Exchange]>,
    /// Reads go out instead.
    pub live_reads: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request, and what became of it. Headers are left out, and parts of the address that look like tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub method: String,
    pub url: String,
    /// Of a request that was not to be sent: what it would have said.
    pub body: String,
    #[serde(flatten)]
    pub fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Fate {
    /// It was answered with what was recorded.
    Recorded {
        status: u16,
    },
    /// It would have changed something.
    Withheld,
    /// Nothing is recorded for it.
    Missing,
    /// It went out.
    Sent,
    Refused {
        reason: String,
    },
}

/// What a secret without a value has, so that events can be signed and tools called. It is no word: secrets are blacked
/// out wherever they occur.
pub const PLACEHOLDER: &str = "placeholder-of-a-rehearsal";
/// Requests that are remembered: who asks more is in a loop.
const MOST: usize = 200;
/// Characters of a body that are shown.
const BODY: usize = 600;

impl Rehearsal {
    pub fn new(exchanges: Vec<Exchange>, live_reads: bool) -> Self {
        Self { exchanges: exchanges.into(), live_reads, asked: Arc::default() }
    }

    /// The same with the answers that an integration brings.
    pub fn with(mut self, exchanges: &Arc<[Exchange]>) -> Self {
        if self.exchanges.is_empty() {
            self.exchanges = exchanges.clone();
        }
        self
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn note(&self, asked: Asked) {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST {
            all.push(asked);
        }
    }
}

/// The answer of a rehearsal; `None` when the request shall go out.
pub fn answer(scope: &Scope, request: &Request) -> Option<Result<Response>> {
    if scope.mode == Mode::Live {
        return None;
    }
    let (rehearsal, reads) = (&scope.rehearsal, reads(&request.method));
    let note = |fate| rehearsal.note(asked(request, fate));
    if reads && rehearsal.live_reads {
        note(Fate::Sent);
        return None;
    }
    Some(match (find(&rehearsal.exchanges, request), reads) {
        (Some(exchange), true) => {
            note(Fate::Recorded { status: exchange.status });
            said(exchange)
        }
        (Some(exchange), false) => {
            note(Fate::Withheld);
            said(exchange)
        }
        (None, true) => {
            note(Fate::Missing);
            let (method, path) = (&request.method, path(request));
            let words = format!("a rehearsal has no recorded answer for {method} {path}");
            Err(Error::new(Kind::Unsupported, format!("{words}; add it to fixtures/api.json or use --live-reads")))
        }
        (None, false) => {
            note(Fate::Withheld);
            Err(Error::new(Kind::Unsupported, "withheld: a rehearsal sends nothing"))
        }
    })
}

fn asked(request: &Request, fate: Fate) -> Asked {
    let url = &request.url;
    let query = url.query().map(|query| format!("?{}", shown(query, '&'))).unwrap_or_default();
    Asked {
        method: request.method.to_string(),
        url: format!("{}{}{query}", url.origin().ascii_serialization(), shown(url.path(), '/')),
        body: if fate == Fate::Withheld { legible(&request.body) } else { String::new() },
        fate,
    }
}

fn legible(body: &Bytes) -> String {
    std::str::from_utf8(body).map_or_else(|_| format!("({} bytes)", body.len()), |text| cut(text, BODY))
}

fn path(request: &Request) -> String {
    let url = &request.url;
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

fn find<'e>(exchanges: &'e [Exchange], request: &Request) -> Option<&'e Exchange> {
    let path = path(request);
    let accept = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let same =
        || exchanges.iter().filter(|one| one.path == path && one.method.eq_ignore_ascii_case(request.method.as_str()));
    same()
        .find(|exchange| exchange.accept.as_deref().is_some_and(|wanted| accept.contains(wanted)))
        .or_else(|| same().find(|exchange| exchange.accept.is_none()))
}

fn said(exchange: &Exchange) -> Result<Response> {
    let Exchange { path, status, .. } = exchange;
    let status = StatusCode::from_u16(*status)
        .map_err(|_| Error::schema(format!("The recorded answer for {path} has the status {status}")))?;
    let (kind, body) = match &exchange.body {
        Value::String(text) => ("text/plain; charset=utf-8", text.clone()),
        json => ("application/json", json.to_string()),
    };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    Ok(Response::new(status, headers, body.into()))
}
