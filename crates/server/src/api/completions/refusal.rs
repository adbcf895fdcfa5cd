//! Failures as OpenAI words them, so that its clients raise what their users know.

use super::super::error::Error;
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};
use serde_json::{Value, json};
use tercel_sdk::Kind;

/// Puts OpenAI's shape beside ours into every failure, also those from before the route.
pub async fn in_their_shape(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if status.is_success() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let said = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let ours: Value = serde_json::from_slice(&said).unwrap_or_default();
    let text = |key: &str| ours[key].as_str().unwrap_or_default();
    let body = shaped(status, text("detail"), text("code")).to_string();
    head.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}

/// A failure in the middle of a stream.
pub fn body(error: &Error) -> Value {
    shaped(error.status(), error.detail(), error.code())
}

fn shaped(status: StatusCode, detail: &str, code: &str) -> Value {
    let (kind, theirs) = match status.as_u16() {
        401 => ("invalid_request_error", "invalid_api_key"),
        403 => ("invalid_request_error", "insufficient_permissions"),
        404 => ("invalid_request_error", "model_not_found"),
        429 => ("rate_limit_error", "rate_limit_exceeded"),
        400..=499 => ("invalid_request_error", code),
        _ => ("server_error", code),
    };
    let param = if matches!(status.as_u16(), 400 | 413 | 422) { parameter(detail) } else { None };
    json!({ "error": { "message": detail, "type": kind, "param": param, "code": theirs }, "detail": detail, "code": code })
}

/// What a refusal of a parameter begins with.
fn parameter(detail: &str) -> Option<&str> {
    let (name, _) = detail.split_once(": ")?;
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '[' | ']');
    (name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_of_name)).then_some(name)
}

/// Why the agent did not answer. A key of ours that a provider refuses is not the caller's key.
pub fn of_agent(error: tercel_sdk::Error) -> Error {
    let said = match &error.hint {
        Some(hint) => format!("{}. {hint}", error.message.trim_end_matches('.')),
        None => error.message.clone(),
    };
    let seconds = error.retry_after.map(|wait| wait.as_secs());
    match error.kind {
        Kind::RateLimited => Error::rate_limited(said, seconds.unwrap_or(1)),
        Kind::Schema => Error::bad_request(said),
        // What a model cannot do is told by the parameter that asked for it.
        Kind::Unsupported => Error::bad_request(said.split_once(" did not answer: ").map_or(&*said, |(_, why)| why)),
        Kind::NotConfigured => Error::unavailable(said),
        _ if error.not_asked => Error::unavailable(said),
        _ => Error::bad_gateway(said),
    }
}
