//! Requests below `/integrations/<id>/` that the code of a folder answers.

use super::{
    deliveries,
    headers::{self, Sender},
    listed::Standing,
};
use crate::{
    app::{App, Call},
    catalog::{DEFAULT, Entry},
    folders::card,
    receiving::body::Unread,
};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use std::{net::IpAddr, sync::Arc};
use tercel_sdk::{Error, Kind, Routes, host::Ids, routes::Body};
use tercel_store::Uuid;

/// A request as it came, but for who sent it.
pub struct Asked {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub identity: Option<Arc<crate::api::Identity>>,
    pub source: Option<IpAddr>,
    pub is_forwarded: bool,
}

/// Why there is no answer of the code.
#[derive(Debug)]
pub enum Failure {
    NotFound(String),
    /// Come again: seconds to wait.
    Unavailable(String, u64),
    Malformed(String),
    /// Who sent it is not known.
    Refused(String),
    /// The tier in force does not have it.
    Locked(String),
    TooLarge,
    Store(tercel_store::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(why)
            | Self::Unavailable(why, _)
            | Self::Malformed(why)
            | Self::Refused(why)
            | Self::Locked(why) => f.write_str(why),
            Self::TooLarge => f.write_str("The body is too large"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl From<tercel_store::Error> for Failure {
    fn from(error: tercel_store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::TooLarge,
            Unread::Full => Self::Unavailable(unread.to_string(), 5),
            Unread::Late(_) | Unread::Broken(_) => Self::Malformed(unread.to_string()),
        }
    }
}

/// Gives a request to the code of an integration. `body` is read only by whoever answers it.
pub async fn answer(app: &Arc<App>, id: &str, asked: Asked, body: Body) -> Result<Response<Body>, Failure> {
    let entry = find(app, id).inspect_err(|failure| {
        if let Failure::Locked(why) = failure
            && asked.method == Method::POST
        {
            app.refusals.note(id, why, asked.source);
        }
    })?;
    let routes = routes(&entry)?;
    let path = below(&asked.uri, id);
    if asked.method == Method::POST && card::is_webhook(&entry.integration, path) {
        return deliveries::receive(app, id, asked, body).await;
    }
    let call = Uuid::now_v7();
    app.folders.calls.begin(call, id, Ids::default(), None);
    let request = request(&asked, id, call, None, body);
    let served = serve(app, &entry, &routes, call, request).await;
    let served = served.map(|answer| answer.map(|body| counted(app.clone(), call, body)));
    served.map_err(|error| {
        app.folders.calls.end(call);
        failed(app, id, &error)
    })
}

pub fn find(app: &App, id: &str) -> Result<Arc<Entry>, Failure> {
    let catalog = app.catalog();
    let entry = catalog.integrations.get(id).cloned().ok_or_else(|| match app.folders.has_looked() {
        true if app.folders.is_found(id) => Failure::Unavailable(format!("`{id}` is being prepared"), 1),
        true => Failure::NotFound(format!("There is no integration `{id}`")),
        false => Failure::Unavailable("The folders of integrations are being looked at".into(), 1),
    })?;
    match entry.listed.obstacle() {
        // Coming again does not help.
        Some(obstacle) if entry.listed.is_locked() => Err(Failure::Locked(obstacle)),
        Some(obstacle) => {
            let seconds = if entry.listed.standing == Standing::Preparing { 5 } else { 60 };
            Err(Failure::Unavailable(catalog.redactor.text(&obstacle).into_owned(), seconds))
        }
        None => Ok(entry),
    }
}

pub fn routes(entry: &Entry) -> Result<Routes, Failure> {
    let none = || Failure::NotFound(format!("The integration `{}` has no routes", entry.integration.name));
    entry.integration.routes.clone().ok_or_else(none)
}

/// The path below `/integrations/<id>`.
fn below<'u>(uri: &'u Uri, id: &str) -> &'u str {
    uri.path().strip_prefix("/integrations/").and_then(|path| path.strip_prefix(id)).unwrap_or_default()
}

pub fn request(asked: &Asked, id: &str, call: Uuid, delivery: Option<Uuid>, body: Body) -> Request<Body> {
    let sender = Sender { identity: asked.identity.as_deref(), source: asked.source, is_forwarded: asked.is_forwarded };
    let mut request = Request::new(body);
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = asked.uri.clone();
    *request.headers_mut() = headers::inward(asked.headers.clone(), id, &sender, call, delivery);
    request
}

/// The beginning of the answer; its body follows as it comes.
pub async fn serve(
    app: &Arc<App>,
    entry: &Entry,
    routes: &Routes,
    call: Uuid,
    request: Request<Body>,
) -> tercel_sdk::Result<Response<Body>> {
    let id = &entry.integration.name;
    let limit = app.config.limits.route;
    let context = Call { id: Some(call), timeout: Some(limit), ..Call::default() };
    let gone = || Error::new(Kind::NotFound, format!("The integration `{id}` is not there any more"));
    let host = app.host(id, DEFAULT, context).ok_or_else(gone)?;
    let served = (routes.serve)(host, request);
    let served = crate::part::within(limit, "The route", Kind::UnknownOutcome, served).await;
    served.map(|answer| {
        let (mut parts, body) = answer.into_parts();
        parts.headers = headers::outward(parts.headers);
        Response::from_parts(parts, body)
    })
}

/// The call is over when its body is.
fn counted(app: Arc<App>, call: Uuid, body: Body) -> Body {
    struct End(Arc<App>, Uuid);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.folders.calls.end(self.1);
        }
    }
    let end = End(app, call);
    body.map(move |piece| {
        let _open = &end;
        piece
    })
    .boxed()
}

/// What the caller reads of a failure: the reason, without secrets.
pub fn failed(app: &App, id: &str, error: &Error) -> Failure {
    let error = app.catalog().redactor.error(error.clone());
    tracing::warn!(integration = id, "A route did not answer: {error}");
    let seconds = error.retry_after.map_or(5, |wait| wait.as_secs().max(1));
    Failure::Unavailable(format!("`{id}` does not answer: {}", error.message), seconds)
}

/// A body that is there already.
pub fn whole(bytes: Bytes) -> Body {
    futures::stream::once(async move { Ok(bytes) }).boxed()
}

pub use super::headers::is_upgrade;

pub fn answer_of(status: StatusCode, headers: HeaderMap, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(whole(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
