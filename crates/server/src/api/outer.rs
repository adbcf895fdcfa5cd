//! What stands before and after every route.

use super::error::Error;
use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use std::{any::Any, panic::AssertUnwindSafe, time::Instant};

/// Refuses compressed bodies, turns panics into answers, counts, and sets the headers that every answer has.
pub async fn around(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let mut response = match encoding(&request) {
        Some(refusal) => refusal.into_response(),
        None => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => Error::internal(words(&*panic)).into_response(),
        },
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let status = response.status();
    let route = path.as_ref().map_or("none", MatchedPath::as_str);
    metrics::counter!("tercel_http_requests_total", "route" => route.to_owned(), "status" => class(status))
        .increment(1);
    metrics::histogram!("tercel_http_request_seconds", "route" => route.to_owned())
        .record(begun.elapsed().as_secs_f64());
    tracing::debug!(%method, route, status = status.as_u16(), ms = begun.elapsed().as_millis() as u64, "Answered a request");
    response
}

/// A small body that unpacks to a huge one would pass the limit, and signatures cover what was sent, not what it unpacks to.
fn encoding(request: &Request) -> Option<Error> {
    let encoding = request.headers().get(header::CONTENT_ENCODING)?;
    let is_plain = encoding.to_str().is_ok_and(|text| text.is_empty() || text.eq_ignore_ascii_case("identity"));
    (!is_plain).then(|| Error::encoding("Compressed bodies are not taken: send it without Content-Encoding"))
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a panic: {}", text.unwrap_or_else(|| "without words".into()))
}
