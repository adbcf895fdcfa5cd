//! Which models a provider has, as it says itself. Asking costs nothing.

use crate::{Provider, adapter::Interface, anthropic, failure, openai, reading};
use serde_json::Value;
use std::time::Duration;
use tercel_sdk::{Error, Kind, Result, http};

/// A list comes at once, or the provider is not there.
const LIMIT: Duration = Duration::from_secs(10);

/// # Errors
/// As [`crate::Model::answer`] does.
pub async fn models(provider: &Provider, http: &http::Client) -> Result<Vec<String>> {
    let (request, list, name) = match provider {
        Provider::OpenAi { base_url, api_key } => {
            (openai::Chat::signed(http.get(format!("{}/models", trimmed(base_url))), api_key.as_ref()), "data", "id")
        }
        Provider::Anthropic { base_url, api_key } => {
            let request = http.get(format!("{}/v1/models", anthropic::base(base_url))).query(&[("limit", "1000")]);
            (anthropic::Messages::signed(request, api_key.as_ref()), "data", "id")
        }
        Provider::Ollama { base_url, api_key } => {
            (openai::Chat::signed(http.get(format!("{}/api/tags", root(base_url))), api_key.as_ref()), "models", "name")
        }
        Provider::Rehearsal | Provider::ScriptedRehearsal => return Ok(vec!["rehearsal".into()]),
    };
    let reply = request.timeout(LIMIT).stream().await.map_err(failure::in_transport)?;
    let status = reply.status;
    if !status.is_success() {
        return Err(failure::Refused::read(reply, str::to_owned).await.into_error(&format!("{status}")));
    }
    let body = reading::collect(reply.body).await?;
    let value: Value = serde_json::from_slice(&body).map_err(|_| not_a_list())?;
    let names = value[list].as_array().ok_or_else(not_a_list)?.iter();
    Ok(names.filter_map(|model| model[name].as_str().map(str::to_owned)).collect())
}

/// The address of Ollama itself, which has the address compatible with OpenAI below `/v1`.
pub fn root(base_url: &str) -> &str {
    let base = trimmed(base_url);
    base.strip_suffix("/v1").or_else(|| base.strip_suffix("/api")).unwrap_or(base)
}

fn trimmed(base_url: &str) -> &str {
    let base = base_url.trim().trim_end_matches('/');
    base.strip_suffix("/chat/completions").unwrap_or(base)
}

fn not_a_list() -> Error {
    Error::new(Kind::Schema, "The provider's list of models is not as expected")
        .hint("Is LLM_BASE_URL the address that the provider's documentation calls so?")
}
