//! OpenAI's chat completions, as OpenAI and everybody else speaks them.

mod assembly;
mod body;
pub(crate) mod failure;
pub(crate) mod reply;
mod wire;

use crate::{Model, Sink};
use body::Dialect;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tercel_sdk::{Error, Kind, Result, chat, http};

pub struct OpenAi {
    endpoint: String,
    api_key: Option<SecretString>,
    options: Options,
    /// What each model's server turned out not to take.
    dialects: Mutex<HashMap<String, Dialect>>,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// The longest wait for the beginning of an answer, and between two pieces of it.
    pub timeout: Duration,
    /// Whether to ask for the answer in pieces.
    pub stream: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(120), stream: true }
    }
}

impl OpenAi {
    /// `base_url` is what the provider's documentation calls so: usually it ends in `/v1`.
    pub fn new(base_url: &str, api_key: Option<SecretString>, options: Options) -> Self {
        let base = base_url.trim().trim_end_matches('/');
        let base = base.strip_suffix("/chat/completions").unwrap_or(base);
        let api_key = api_key.map(|key| key.expose_secret().trim().to_owned()).filter(|key| !key.is_empty());
        Self {
            endpoint: format!("{base}/chat/completions"),
            api_key: api_key.map(SecretString::from),
            options,
            dialects: Mutex::default(),
        }
    }

    async fn ask(&self, http: &http::Client, request: &chat::Request, sink: &dyn Sink) -> Result<chat::Answer> {
        let mut dialect = self.dialect(&request.model);
        loop {
            let sent = body::of(request, &dialect, self.options.stream);
            let reply = self.post(http, &sent).stream().await.map_err(failure::in_transport)?;
            if reply.status.is_success() {
                dialect.is_proven = true;
                self.remember(&request.model, dialect);
                return reply::read(reply, request, sink, |text| self.redact(text)).await;
            }
            let refused = failure::Refused::read(reply, |text| self.redact(text)).await;
            match dialect.adapted(&sent, &refused) {
                Some(adapted) => dialect = adapted,
                None => return Err(refused.into_error(&self.endpoint)),
            }
        }
    }

    fn post(&self, http: &http::Client, body: &serde_json::Value) -> http::Builder {
        let request = http
            .post(&self.endpoint)
            .header("accept", "text/event-stream, application/json")
            .json(body)
            .timeout(self.options.timeout)
            .repeatable();
        match &self.api_key {
            Some(key) => request.bearer(key.expose_secret()),
            None => request,
        }
    }

    fn dialect(&self, model: &str) -> Dialect {
        let dialects = self.dialects.lock().unwrap_or_else(PoisonError::into_inner);
        dialects.get(model).cloned().unwrap_or_default()
    }

    fn remember(&self, model: &str, dialect: Dialect) {
        self.dialects.lock().unwrap_or_else(PoisonError::into_inner).insert(model.into(), dialect);
    }

    fn redact(&self, text: &str) -> String {
        without_key(text, self.api_key.as_ref())
    }
}

impl Model for OpenAi {
    fn id(&self) -> &str {
        "openai"
    }

    fn answer<'a>(
        &'a self,
        http: &'a http::Client,
        request: &'a chat::Request,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<chat::Answer>> {
        Box::pin(async move {
            self.ask(http, request, sink).await.map_err(|mut error| {
                error.message = self.redact(&error.message);
                error
            })
        })
    }
}

/// Servers quote what they were sent; a key among it must not get into an error. Placeholders are too short to hide.
pub(crate) fn without_key(text: &str, key: Option<&SecretString>) -> String {
    match key {
        Some(key) if key.expose_secret().len() >= 8 => text.replace(key.expose_secret(), "[LLM_API_KEY]"),
        _ => text.to_owned(),
    }
}

/// What was not understood, with its beginning.
pub(crate) fn not_understood(what: &str, said: &str) -> Error {
    let said = tercel_sdk::text::cut(said.trim(), 200);
    Error::new(Kind::Error, format!("{what}: {said}"))
}
