//! What the interfaces of all providers have in common: asking, leaving out what a server turned out not to take, reading
//! what it answers.

use crate::{Model, Sink, failure, failure::Refused, pictures::Pictures, reading};
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tercel_sdk::{Error, Result, chat, http};

/// A provider that speaks one interface.
pub struct Adapter<I: Interface> {
    endpoint: String,
    api_key: Option<SecretString>,
    options: Options,
    /// What each model's server turned out not to take.
    known: Mutex<HashMap<String, Known<I::Dialect>>>,
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

/// How one kind of provider is spoken to.
pub trait Interface: Send + Sync + 'static {
    const ID: &'static str;
    /// What to look at when what comes back is no answer at all.
    const HINT: &'static str;
    /// How one model differs from what is documented.
    type Dialect: Clone + Default + Send;
    type Assembly<'a>: Assembly + Send;

    fn endpoint(base_url: &str) -> String;

    fn signed(request: http::Builder, key: Option<&SecretString>) -> http::Builder;

    /// # Errors
    /// `unsupported` when the request asks for what the interface does not have.
    fn check(_: &chat::Request) -> Result<()> {
        Ok(())
    }

    fn body(request: &chat::Request, dialect: &Self::Dialect, stream: bool) -> Value;

    /// What to try instead, when that may be what was refused.
    fn adapted(dialect: &Self::Dialect, sent: &Value, refused: &Refused) -> Option<Self::Dialect>;

    /// It was taken as it is.
    fn taken(_: &mut Self::Dialect) {}

    fn refusal(refused: Refused, endpoint: &str) -> Error {
        refused.into_error(endpoint)
    }

    fn assembly<'a>(request: &'a chat::Request, sink: &'a dyn Sink) -> Self::Assembly<'a>;
}

/// Puts an answer together.
pub trait Assembly {
    /// All of it at once; `said` is what it was read from.
    fn whole(&mut self, value: Value, said: &str) -> Result<()>;

    /// One event of a stream. Answers whether it says that nothing comes after it.
    fn event(&mut self, name: &str, value: Value, said: &str) -> Result<bool>;

    /// Whether the provider has said that the answer is over.
    fn is_over(&self) -> bool;

    /// Notes what was mended.
    fn note(&mut self, repair: &str);

    /// # Errors
    /// `error` when there is no answer in what came.
    fn finish(self) -> Result<chat::Answer>;
}

#[derive(Clone, Default)]
struct Known<D> {
    dialect: D,
    pictures: Pictures,
}

impl<I: Interface> Adapter<I> {
    /// `base_url` is what the provider's documentation calls so.
    pub fn new(base_url: &str, api_key: Option<SecretString>, options: Options) -> Self {
        let api_key = api_key.map(|key| key.expose_secret().trim().to_owned()).filter(|key| !key.is_empty());
        let api_key = api_key.map(SecretString::from);
        Self { endpoint: I::endpoint(base_url), api_key, options, known: Mutex::default() }
    }

    async fn ask(&self, http: &http::Client, request: &chat::Request, sink: &dyn Sink) -> Result<chat::Answer> {
        I::check(request)?;
        let mut known = self.known().get(&request.model).cloned().unwrap_or_default();
        loop {
            let shown = known.pictures.in_request(request);
            let sent = I::body(&shown, &known.dialect, self.options.stream);
            let reply = self.post(http, &sent).stream().await.map_err(failure::in_transport)?;
            if reply.status.is_success() {
                let mut assembly = I::assembly(&shown, sink);
                if let Some(note) = known.pictures.note(request) {
                    assembly.note(note);
                }
                I::taken(&mut known.dialect);
                known.pictures = known.pictures.next_time();
                self.known().insert(request.model.clone(), known);
                return reading::read(reply, assembly, |text| self.redact(text), I::HINT).await;
            }
            let refused = Refused::read(reply, |text| self.redact(text)).await;
            if let Some(pictures) = known.pictures.withheld(&shown, &refused) {
                known.pictures = pictures;
                continue;
            }
            match I::adapted(&known.dialect, &sent, &refused) {
                Some(adapted) => known.dialect = adapted,
                None => return Err(I::refusal(refused, &self.endpoint)),
            }
        }
    }

    fn post(&self, http: &http::Client, body: &Value) -> http::Builder {
        let request = http
            .post(&self.endpoint)
            .header("accept", "text/event-stream, application/json")
            .json(body)
            .timeout(self.options.timeout)
            .repeatable();
        I::signed(request, self.api_key.as_ref())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known<I::Dialect>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Servers quote what they were sent; a key among it must not get into an error. Placeholders are too short to hide.
    fn redact(&self, text: &str) -> String {
        match &self.api_key {
            Some(key) if key.expose_secret().len() >= 8 => text.replace(key.expose_secret(), "[LLM_API_KEY]"),
            _ => text.to_owned(),
        }
    }
}

impl<I: Interface> Model for Adapter<I> {
    fn id(&self) -> &str {
        I::ID
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
