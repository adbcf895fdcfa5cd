//! Anthropic's Messages API.

mod assembly;
mod body;

use crate::{
    Sink,
    adapter::{Adapter, Interface},
    failure::Refused,
};
use assembly::Building;
use body::Dialect;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tercel_sdk::{Error, Kind, Result, chat, http};

/// The version of the interface, as every request names it.
const VERSION: &str = "2023-06-01";

pub type Anthropic = Adapter<Messages>;

pub struct Messages;

impl Interface for Messages {
    const ID: &'static str = "anthropic";
    const HINT: &'static str =
        "Is LLM_BASE_URL the address of Anthropic's Messages API, such as https://api.anthropic.com?";
    type Dialect = Dialect;
    type Assembly<'a> = Building<'a>;

    fn endpoint(base_url: &str) -> String {
        format!("{}/v1/messages", base(base_url))
    }

    fn signed(request: http::Builder, key: Option<&SecretString>) -> http::Builder {
        let request = request.header("anthropic-version", VERSION);
        match key {
            Some(key) => request.secret_header("x-api-key", key.expose_secret()),
            None => request,
        }
    }

    fn check(request: &chat::Request) -> Result<()> {
        match request.shape.format {
            chat::Format::Json => {
                let message = "response_format: models of Anthropic have no `json_object`";
                Err(Error::new(Kind::Unsupported, message).hint("Ask for a `json_schema`"))
            }
            chat::Format::Text | chat::Format::Schema(_) => Ok(()),
        }
    }

    fn body(request: &chat::Request, dialect: &Dialect, stream: bool) -> Value {
        body::of(request, dialect, stream)
    }

    fn adapted(dialect: &Dialect, sent: &Value, refused: &Refused) -> Option<Dialect> {
        dialect.adapted(sent, refused)
    }

    /// A prepaid account that is empty is told as a bad request.
    fn refusal(refused: Refused, endpoint: &str) -> Error {
        let is_empty = refused.status == 400 && refused.said.contains("credit balance");
        let error = refused.into_error(endpoint);
        match is_empty {
            true => Error::new(Kind::Forbidden, error.message)
                .status(402)
                .hint("The provider's account has nothing left to spend: check its plan and billing"),
            false => error,
        }
    }

    fn assembly<'a>(request: &'a chat::Request, sink: &'a dyn Sink) -> Building<'a> {
        Building::new(request, sink)
    }
}

/// The address that paths are put behind; with `/v1/messages`, or with `/v1`, it is understood as well.
pub fn base(url: &str) -> &str {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix("/messages").unwrap_or(url);
    url.strip_suffix("/v1").unwrap_or(url)
}
