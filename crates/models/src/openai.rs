//! OpenAI's chat completions, as OpenAI and everybody else speaks them.

mod assembly;
mod body;
mod shape;

use crate::{
    Sink,
    adapter::{Adapter, Interface},
    failure::Refused,
};
use assembly::Assembly;
use body::Dialect;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tercel_sdk::{chat, http};

pub type OpenAi = Adapter<Chat>;

pub struct Chat;

impl Interface for Chat {
    const ID: &'static str = "openai";
    const HINT: &'static str = "Is LLM_BASE_URL the address of an OpenAI-compatible API? It usually ends in /v1";
    type Dialect = Dialect;
    type Assembly<'a> = Assembly<'a>;

    fn endpoint(base_url: &str) -> String {
        let base = base_url.trim().trim_end_matches('/');
        format!("{}/chat/completions", base.strip_suffix("/chat/completions").unwrap_or(base))
    }

    fn signed(request: http::Builder, key: Option<&SecretString>) -> http::Builder {
        match key {
            Some(key) => request.bearer(key.expose_secret()),
            None => request,
        }
    }

    fn body(request: &chat::Request, dialect: &Dialect, stream: bool) -> Value {
        body::of(request, dialect, stream)
    }

    fn adapted(dialect: &Dialect, sent: &Value, refused: &Refused) -> Option<Dialect> {
        dialect.adapted(sent, refused)
    }

    fn taken(dialect: &mut Dialect) {
        dialect.is_proven = true;
    }

    fn assembly<'a>(request: &'a chat::Request, sink: &'a dyn Sink) -> Assembly<'a> {
        Assembly::new(request, sink)
    }
}
