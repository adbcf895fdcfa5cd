//! How a part fails: one list of kinds for connection tests, tools and the outbox.

use serde::{Deserialize, Serialize};
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a part failed. The names are those of the connector contract; they appear in the API and in traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A setting that the part needs has no value.
    NotConfigured,
    /// The service does not know the credentials (401).
    Auth,
    /// The service knows them and says no (403).
    Forbidden,
    NotFound,
    /// The request did not reach the service, or the service refused to take it: nothing happened there.
    Network,
    /// The service did not answer in time a request that changes nothing there.
    Timeout,
    /// 429 and its relatives: nothing happened, come back after `retry_after`.
    RateLimited,
    /// What was sent or what came back does not have the agreed shape.
    Schema,
    MissingDependency,
    Unsupported,
    /// The request went out and its acknowledgement was lost: the effect may or may not have happened.
    UnknownOutcome,
    Error,
}

impl Kind {
    /// The name as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::Auth => "auth",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Schema => "schema",
            Self::MissingDependency => "missing_dependency",
            Self::Unsupported => "unsupported",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Error => "error",
        }
    }
}

/// A failure that speaks to the person who must act.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Error {
    #[serde(rename = "code")]
    pub kind: Kind,
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How long the other side asked us to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// The HTTP status that the other side answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Nobody was asked: whoever knows somebody else asks there at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_asked: bool,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry_after: None, status: None, not_asked: false }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub fn not_asked(mut self) -> Self {
        self.not_asked = true;
        self
    }

    pub fn not_configured(message: impl Into<String>) -> Self {
        Self::new(Kind::NotConfigured, message)
    }

    pub fn schema(message: impl Into<String>) -> Self {
        Self::new(Kind::Schema, message)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::schema(error.to_string())
    }
}
