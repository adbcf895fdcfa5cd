//! Why a provider did not answer, in the kinds that the agent acts on.

use crate::reading;
use serde_json::Value;
use std::time::Duration;
use tercel_sdk::{Error, Kind, http, text};

/// An answer with a failing status.
pub struct Refused {
    pub status: u16,
    /// What the server said, without our key.
    pub said: String,
    retry_after: Option<Duration>,
}

impl Refused {
    pub async fn read(answer: http::Streaming, redact: impl Fn(&str) -> String) -> Self {
        let (status, headers) = (answer.status, answer.headers.clone());
        // What is missing of a broken error page does not change what it says.
        let body = reading::collect(answer.body).await.unwrap_or_default();
        let response = http::Response::new(status, headers, body);
        Self { status: status.as_u16(), said: redact(&response.text()), retry_after: response.retry_after() }
    }

    pub fn into_error(self, endpoint: &str) -> Error {
        let value = serde_json::from_str(&self.said).unwrap_or(Value::Null);
        let message = message_in(&value).unwrap_or(self.said);
        let message = format!("The model provider answered {}: {}", self.status, text::cut(message.trim(), 300));
        let error = of_status(self.status, &code_in(&value), message, self.retry_after);
        match self.status {
            404 => error.hint(not_found_hint(endpoint)),
            405 => error.hint("Is LLM_BASE_URL the address of an OpenAI-compatible API? It usually ends in /v1"),
            _ => error,
        }
    }
}

/// An error object in an answer whose status says that all is well.
pub fn within(error: &Value) -> Error {
    let said = message_in(error).unwrap_or_else(|| error.to_string());
    let message = format!("The model provider failed while answering: {}", text::cut(said.trim(), 200));
    match status_in(error) {
        Some(status) => of_status(status, &code_in(error), message, None),
        None => Error::new(Kind::Error, message),
    }
}

/// Nothing has come of a call that went unanswered, so that there is no outcome to be unsure about.
pub fn in_transport(mut error: Error) -> Error {
    if error.kind == Kind::UnknownOutcome {
        error.kind = Kind::Network;
    }
    error
}

/// The connection broke while the answer came.
pub fn in_stream(error: Error) -> Error {
    match error.kind {
        Kind::Timeout => error,
        _ => Error { kind: Kind::Network, ..error },
    }
}

fn of_status(status: u16, code: &str, message: String, retry_after: Option<Duration>) -> Error {
    let error = |kind| Error::new(kind, message).status(status);
    match status {
        401 => error(Kind::Auth).hint("Check LLM_API_KEY: the provider does not accept it"),
        402 => nothing_left(error(Kind::Forbidden)),
        429 if is_exhausted(code) => nothing_left(error(Kind::Forbidden)),
        429 => error(Kind::RateLimited).retry_after(retry_after),
        403 => error(Kind::Forbidden).hint("The key behind LLM_API_KEY may not use this model, or not from here"),
        404 => error(Kind::NotFound),
        400 | 413 | 422 => error(Kind::Schema),
        408 | 500.. => error(Kind::Network).retry_after(retry_after),
        _ => error(Kind::Error),
    }
}

fn nothing_left(error: Error) -> Error {
    error.status(402).hint("The provider's account has nothing left to spend: check its plan and billing")
}

fn is_exhausted(code: &str) -> bool {
    ["insufficient_quota", "billing", "exceeded_current_quota", "insufficient_balance"]
        .iter()
        .any(|reason| code.contains(reason))
}

fn not_found_hint(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches("/chat/completions");
    let has_path = base.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    let path = if has_path { "" } else { ", whose path usually ends in /v1" };
    format!("Check the name of the model, and LLM_BASE_URL{path}")
}

/// OpenAI, OpenRouter: `{"error": {"message"}}`; Ollama: `{"error": "…"}`; vLLM: `{"message"}`; FastAPI: `{"detail"}`.
fn message_in(value: &Value) -> Option<String> {
    let said = match value.get("error") {
        Some(Value::String(text)) => return Some(text.clone()),
        Some(error @ Value::Object(_)) => error,
        _ => value,
    };
    let text = match said.get("message").or_else(|| said.get("detail"))? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match said.pointer("/metadata/raw").and_then(Value::as_str) {
        Some(raw) => Some(format!("{text}: {raw}")),
        None => Some(text),
    }
}

/// Code and type of an error, together: providers disagree which of them says it.
fn code_in(value: &Value) -> String {
    let said = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
    let words = ["code", "type"].iter().filter_map(|key| said.get(*key)?.as_str());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

fn status_in(value: &Value) -> Option<u16> {
    let said = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
    said.get("code")?.as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code))
}
