//! Anthropic's Messages API.

mod body;
mod reply;

use crate::{Model, Options, Sink, openai::failure};
use body::Dialect;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tercel_sdk::{Error, Kind, Result, chat, http};

/// The version of the interface, as every request names it.
const VERSION: &str = "2023-06-01";

pub struct Anthropic {
    endpoint: String,
    api_key: Option<SecretString>,
    options: Options,
    /// What each model turned out not to take.
    dialects: Mutex<HashMap<String, Dialect>>,
}

impl Anthropic {
    /// `base_url` is the address without `/v1/messages`; with it, or with `/v1`, does as well.
    pub fn new(base_url: &str, api_key: Option<SecretString>, options: Options) -> Self {
        let api_key = api_key.map(|key| key.expose_secret().trim().to_owned()).filter(|key| !key.is_empty());
        Self {
            endpoint: format!("{}/v1/messages", base(base_url)),
            api_key: api_key.map(SecretString::from),
            options,
            dialects: Mutex::default(),
        }
    }

    async fn ask(&self, http: &http::Client, request: &chat::Request, sink: &dyn Sink) -> Result<chat::Answer> {
        let mut dialect = self.dialects().get(&request.model).cloned().unwrap_or_default();
        loop {
            let sent = body::of(request, &dialect, self.options.stream);
            let reply = self.post(http, &sent).stream().await.map_err(failure::in_transport)?;
            if reply.status.is_success() {
                self.dialects().insert(request.model.clone(), dialect);
                return reply::read(reply, request, sink, |text| self.redact(text)).await;
            }
            let refused = failure::Refused::read(reply, |text| self.redact(text)).await;
            match dialect.adapted(&sent, &refused) {
                Some(adapted) => dialect = adapted,
                None => return Err(of_refusal(refused, &self.endpoint)),
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
        signed(request, self.api_key.as_ref())
    }

    fn dialects(&self) -> std::sync::MutexGuard<'_, HashMap<String, Dialect>> {
        self.dialects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn redact(&self, text: &str) -> String {
        crate::openai::without_key(text, self.api_key.as_ref())
    }
}

impl Model for Anthropic {
    fn id(&self) -> &str {
        "anthropic"
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

/// The address that paths are put behind.
pub fn base(url: &str) -> &str {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix("/messages").unwrap_or(url);
    url.strip_suffix("/v1").unwrap_or(url)
}

pub fn signed(request: http::Builder, key: Option<&SecretString>) -> http::Builder {
    let request = request.header("anthropic-version", VERSION);
    match key {
        Some(key) => request.secret_header("x-api-key", key.expose_secret()),
        None => request,
    }
}

/// A prepaid account that is empty is told as a bad request.
fn of_refusal(refused: failure::Refused, endpoint: &str) -> Error {
    let is_empty = refused.status == 400 && refused.said.contains("credit balance");
    let error = refused.into_error(endpoint);
    match is_empty {
        true => Error::new(Kind::Forbidden, error.message)
            .status(402)
            .hint("The provider's account has nothing left to spend: check its plan and billing"),
        false => error,
    }
}
