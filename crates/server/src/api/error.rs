//! Every failure as it is answered: a status, a code for programs, a sentence for people.

use crate::{
    folders::{acts::Refused, route::Failure as RouteFailure},
    webhook,
};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tercel_sdk::Refusal;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<u64>,
}

/// What went wrong.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Failure {
    /// For people: what is wrong and what to do.
    detail: String,
    /// For programs: `invalid`, `not_found`, `conflict`, …
    code: String,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// The tier in force does not have it.
    pub fn locked(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "tier", detail)
    }

    pub fn missing_scope(scope: &str) -> Self {
        Self::forbidden(format!("Missing required scope: {scope}"))
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub fn wrong_method(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub fn reused(made: &str) -> Self {
        Self::conflict(format!("This Idempotency-Key was used for another {made}"))
    }

    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub fn encoding(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
    }

    /// A file that is not what it says, or that is not taken.
    pub fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type", detail)
    }

    /// What this server was not told how to do.
    pub fn not_configured(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_configured", detail)
    }

    /// A model did not answer.
    pub fn model(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "model", detail)
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub fn rate_limited(detail: impl Into<String>, seconds: u64) -> Self {
        let seconds = Some(seconds.max(1));
        Self { retry_after: seconds, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail) }
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// What this server does not do.
    pub fn not_implemented(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", detail)
    }

    /// A model or a service behind this server failed.
    pub fn bad_gateway(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "upstream", detail)
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn timeout(seconds: u64) -> Self {
        let detail = format!("The request took longer than {seconds} seconds; what it wrote until then is kept");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
    }

    /// The cause goes to the log, where the operator reads it, and not to the caller.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!("A request failed inside the server: {cause}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong in the server; its log says what",
        )
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = Failure { detail: self.detail, code: self.code.into() };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<tercel_store::Error> for Error {
    fn from(error: tercel_store::Error) -> Self {
        use tercel_store::Error as Store;
        match error {
            Store::NotFound(detail) => Self::not_found(detail),
            Store::Conflict(detail) => Self::conflict(detail),
            passing if passing.is_passing() => {
                tracing::warn!("A request was answered 503: {passing}");
                Self::unavailable(passing.obstacle())
            }
            other => Self::internal(other),
        }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<tercel_store::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::internal(format!("{error:#}")),
        }
    }
}

impl From<Refused> for Error {
    fn from(Refused(words): Refused) -> Self {
        Self::forbidden(words)
    }
}

impl From<RouteFailure> for Error {
    fn from(failure: RouteFailure) -> Self {
        match failure {
            RouteFailure::NotFound(detail) => Self::not_found(detail),
            RouteFailure::Malformed(detail) => Self::bad_request(detail),
            RouteFailure::Refused(detail) => Self::forbidden(detail),
            RouteFailure::Locked(detail) => Self::locked(detail),
            RouteFailure::Unavailable(detail, seconds) => {
                Self { retry_after: Some(seconds), ..Self::unavailable(detail) }
            }
            RouteFailure::TooLarge => Self::too_large(super::request::TOO_LARGE),
            RouteFailure::Store(error) => error.into(),
        }
    }
}

impl From<webhook::Error> for Error {
    fn from(error: webhook::Error) -> Self {
        match error {
            webhook::Error::Refused(Refusal::Signature(detail)) => Self::forbidden(detail),
            webhook::Error::Refused(Refusal::Malformed(detail)) => Self::bad_request(detail),
            webhook::Error::Locked(detail) => Self::locked(detail),
            webhook::Error::Unavailable(detail) => Self::unavailable(detail),
            webhook::Error::Store(error) => error.into(),
            unknown => Self::not_found(unknown.to_string()),
        }
    }
}
