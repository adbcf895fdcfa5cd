//! HTTP as a part sees it. What is behind [`Transport`] is the host's: policy, limits, ledger, rehearsal.

use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
pub use http::Method;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use url::Url;

/// Carries one request out and its answer back.
pub trait Transport: Send + Sync {
    /// # Errors
    /// `network` when nothing reached the other side, `timeout` when a safe or idempotent request went unanswered,
    /// `unknown_outcome` when another request did, `forbidden` when the address policy says no. An answer with a
    /// failing status is not an error here.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>>;

    /// The same, with the body as it arrives. Not limited in size; `timeout` bounds the wait for the first byte and
    /// each wait between two pieces.
    fn stream(&self, request: Request) -> BoxFuture<'_, Result<Streaming>> {
        Box::pin(async move { Ok(Streaming::from(self.send(request).await?)) })
    }
}

/// An answer whose body is still on its way. A broken connection is an error in the stream.
pub struct Streaming {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl From<Response> for Streaming {
    fn from(response: Response) -> Self {
        let body = futures::stream::once(async move { Ok(response.body) }).boxed();
        Self { status: response.status, headers: response.headers, body }
    }
}

#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

impl Client {
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    pub fn get(&self, url: impl AsRef<str>) -> Builder {
        self.request(Method::GET, url)
    }

    pub fn post(&self, url: impl AsRef<str>) -> Builder {
        self.request(Method::POST, url)
    }

    pub fn request(&self, method: Method, url: impl AsRef<str>) -> Builder {
        let url =
            Url::parse(url.as_ref()).map_err(|e| Error::schema(format!("`{}` is not an address: {e}", url.as_ref())));
        Builder {
            transport: self.transport.clone(),
            url,
            failure: None,
            method,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            repeatable: false,
            max_response: None,
        }
    }
}

/// A request that is complete.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    /// Values that are secret are marked sensitive; those are dropped on a redirect to another host.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// From the first byte out to the last byte in; the host's default when absent.
    pub timeout: Option<Duration>,
    /// The other side recognises a repetition, so that a lost acknowledgement does no harm.
    pub repeatable: bool,
    /// Bytes of the answer that are taken at the most; the host's default when absent.
    pub max_response: Option<usize>,
}

impl Request {
    /// Whether sending it twice does what sending it once does.
    pub fn is_idempotent(&self) -> bool {
        self.repeatable || self.method.is_idempotent() || reads(&self.method)
    }
}

/// Whether a method changes nothing at the other side, those of WebDAV among them.
pub fn reads(method: &Method) -> bool {
    method.is_safe() || ["PROPFIND", "REPORT", "SEARCH"].contains(&method.as_str())
}

pub struct Builder {
    transport: Arc<dyn Transport>,
    url: Result<Url>,
    failure: Option<Error>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    timeout: Option<Duration>,
    repeatable: bool,
    max_response: Option<usize>,
}

impl Builder {
    pub fn bearer(self, secret: &str) -> Self {
        self.secret_header("authorization", &format!("Bearer {secret}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.put_header(name, value, false);
        self
    }

    /// A header whose value never appears in a log and never goes to another host.
    pub fn secret_header(mut self, name: &str, value: &str) -> Self {
        self.put_header(name, value, true);
        self
    }

    fn put_header(&mut self, name: &str, value: &str, secret: bool) {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(secret);
                self.headers.insert(name, value);
            }
            _ => self.failure = Some(Error::schema(format!("The value of header `{name}` cannot be sent"))),
        }
    }

    pub fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        if let Ok(url) = &mut self.url {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => {
                self.body = bytes.into();
                self.header("content-type", "application/json")
            }
            Err(error) => {
                self.failure = Some(error.into());
                self
            }
        }
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Says that the other side recognises a repetition of this request.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = Some(bytes);
        self
    }

    /// Sends it. A failing status is an answer like any other; see [`Response::ok`].
    pub async fn send(self) -> Result<Response> {
        let (transport, request) = self.build()?;
        let repeatable = request.is_idempotent();
        let mut response = transport.send(request).await?;
        response.repeatable = repeatable;
        Ok(response)
    }

    /// Sends it and answers as soon as the headers are here.
    pub async fn stream(self) -> Result<Streaming> {
        let (transport, request) = self.build()?;
        transport.stream(request).await
    }

    fn build(self) -> Result<(Arc<dyn Transport>, Request)> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let request = Request {
            method: self.method,
            url: self.url?,
            headers: self.headers,
            body: self.body,
            timeout: self.timeout,
            repeatable: self.repeatable,
            max_response: self.max_response,
        };
        Ok((self.transport, request))
    }
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the request can be sent again without harm.
    pub repeatable: bool,
}

impl Response {
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body, repeatable: false }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// # Errors
    /// When the body is not JSON of that shape: `schema`; after a request that cannot be repeated and was answered with
    /// success `unknown_outcome`, because what it asked for may have happened.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| {
            let is_done = self.status.is_success() && !self.repeatable;
            let kind = if is_done { Kind::UnknownOutcome } else { Kind::Schema };
            Error::new(kind, format!("The answer is not what was expected: {e}")).status(self.status.as_u16())
        })
    }

    /// Turns a failing status into an error of the matching kind, with what the service said.
    pub fn ok(self) -> Result<Self> {
        let status = self.status.as_u16();
        let kind = match status {
            200..300 => return Ok(self),
            401 => Kind::Auth,
            402 | 403 | 407 | 451 => Kind::Forbidden,
            404 | 410 => Kind::NotFound,
            408 => Kind::Network,
            429 => Kind::RateLimited,
            // What redirects or refuses did nothing, whatever its reason.
            300..400 | 405 | 426 => Kind::Unsupported,
            400..500 => Kind::Schema,
            503 if self.header("retry-after").is_some() => Kind::Network,
            500.. if !self.repeatable => Kind::UnknownOutcome,
            502..=504 => Kind::Network,
            _ => Kind::Error,
        };
        let said: String = self.text().chars().take(300).collect();
        let message = format!("The service answered {status}: {}", said.trim());
        Err(Error::new(kind, message).status(status).retry_after(self.retry_after()))
    }

    /// `Retry-After`: seconds, or a time by the service's own clock. A day at the most.
    pub fn retry_after(&self) -> Option<Duration> {
        let asked = self.header("retry-after")?.trim();
        let seconds = match asked.parse() {
            Ok(seconds) => seconds,
            Err(_) => {
                let there = self.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
                let now = there.unwrap_or_else(SystemTime::now);
                let until = httpdate::parse_http_date(asked).ok()?;
                until.duration_since(now).map_or(0, |wait| wait.as_secs())
            }
        };
        Some(Duration::from_secs(seconds.min(86_400)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, repeatable: bool) -> Option<Kind> {
        let status = StatusCode::from_u16(status).unwrap();
        let response = Response { repeatable, ..Response::new(status, HeaderMap::new(), Bytes::new()) };
        let error = response.ok().err()?;
        assert_eq!(error.status, Some(status.as_u16()));
        Some(error.kind)
    }

    #[test]
    fn a_service_may_say_in_seconds_or_by_its_clock_when_to_come_again() {
        let wait = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let response = Response::new(StatusCode::TOO_MANY_REQUESTS, headers, Bytes::new());
            response.retry_after().map(|wait| wait.as_secs())
        };
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(&[("retry-after", "7")]), Some(7));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), date]), Some(30));
        assert_eq!(wait(&[("retry-after", "Sunday, 06-Nov-94 08:50:07 GMT"), date]), Some(30));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), date]), Some(0), "it has passed");
        assert_eq!(wait(&[("retry-after", "Fri, 31 Dec 2100 00:00:00 GMT")]), Some(86_400), "by our clock");
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn an_answer_that_cannot_be_read_leaves_open_whether_it_happened_unless_asking_again_does_no_harm() {
        let kind = |status: u16, repeatable| {
            let status = StatusCode::from_u16(status).unwrap();
            let body = Bytes::from_static(b"{\"id\": 7");
            let response = Response { repeatable, ..Response::new(status, HeaderMap::new(), body) };
            response.json::<serde_json::Value>().unwrap_err().kind
        };
        assert_eq!([kind(201, false), kind(200, true)], [Kind::UnknownOutcome, Kind::Schema]);
        assert_eq!([kind(400, false), kind(500, true)], [Kind::Schema, Kind::Schema]);
    }

    #[test]
    fn a_failing_status_says_whether_something_may_have_happened() {
        for status in 200..600 {
            let expected = match status {
                200..300 => [None; 2],
                401 => [Some(Kind::Auth); 2],
                402 | 403 | 407 | 451 => [Some(Kind::Forbidden); 2],
                404 | 410 => [Some(Kind::NotFound); 2],
                408 => [Some(Kind::Network); 2],
                429 => [Some(Kind::RateLimited); 2],
                300..400 | 405 | 426 => [Some(Kind::Unsupported); 2],
                400..500 => [Some(Kind::Schema); 2],
                502..=504 => [Some(Kind::UnknownOutcome), Some(Kind::Network)],
                _ => [Some(Kind::UnknownOutcome), Some(Kind::Error)],
            };
            assert_eq!([kind(status, false), kind(status, true)], expected, "{status}");
        }
    }
}
