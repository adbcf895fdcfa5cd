//! Model providers behind one trait: what is asked and answered is the `chat` of the SDK, whoever answers.

mod adapter;
mod anthropic;
mod breaker;
mod calls;
mod content;
mod failure;
mod json;
mod listing;
mod meter;
mod openai;
mod pictures;
mod reading;
mod rehearsal;
mod usage;

pub use adapter::Options;
pub use anthropic::Anthropic;
pub use breaker::Breaker;
pub use listing::models;
pub use meter::Meter;
pub use openai::OpenAi;
pub use rehearsal::Rehearsal;
pub use secrecy::SecretString;

use futures::future::BoxFuture;
use std::sync::Arc;
use tercel_sdk::{Result, chat, http};

pub trait Model: Send + Sync {
    /// The provider: `openai`, `anthropic`, `rehearsal`.
    fn id(&self) -> &str;

    /// Answers one request; what can be shown before the answer is complete goes to the sink.
    ///
    /// # Errors
    /// - `auth`, and `forbidden` with status 402 (nothing left to spend) or 403: a person must act.
    /// - `not_found`, `schema`, `unsupported`: the request itself is refused; repeating it changes nothing.
    /// - `rate_limited`, `network`, `timeout`: repeat it later.
    /// - `error`: the answer was not understood.
    fn answer<'a>(
        &'a self,
        http: &'a http::Client,
        request: &'a chat::Request,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<chat::Answer>>;
}

/// Who watches an answer while it comes. What was shown of an answer that then fails is void.
pub trait Sink: Send + Sync {
    fn text(&self, delta: &str);
    fn thinking(&self, delta: &str);
    /// What the call has taken so far, as the provider counts it: it is paid for even when the answer then fails.
    fn spent(&self, _: chat::Usage) {}
}

/// Nobody watches.
pub struct NoSink;

impl Sink for NoSink {
    fn text(&self, _: &str) {}
    fn thinking(&self, _: &str) {}
}

/// Who answers.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Any server that speaks OpenAI's chat completions.
    OpenAi { base_url: String, api_key: Option<SecretString> },
    /// Anthropic's Messages API.
    Anthropic { base_url: String, api_key: Option<SecretString> },
    /// Ollama, through its address that is compatible with OpenAI.
    Ollama { base_url: String, api_key: Option<SecretString> },
    /// No model at all: an answer that is computed and says so.
    Rehearsal,
    /// The same, and lines `rehearse: …` in a user's message say what to answer. Only for tests: whoever can write to
    /// the bot decides what it does.
    ScriptedRehearsal,
}

pub fn from_config(provider: Provider, options: Options) -> Arc<dyn Model> {
    match provider {
        Provider::OpenAi { base_url, api_key } => Arc::new(OpenAi::new(&base_url, api_key, options)),
        Provider::Anthropic { base_url, api_key } => Arc::new(Anthropic::new(&base_url, api_key, options)),
        Provider::Ollama { base_url, api_key } => {
            Arc::new(OpenAi::new(&format!("{}/v1", listing::root(&base_url)), api_key, options))
        }
        Provider::Rehearsal => Arc::new(Rehearsal::new()),
        Provider::ScriptedRehearsal => Arc::new(Rehearsal::scripted()),
    }
}
