//! What an agent can do on GitHub.

pub mod comments;
pub mod files;
pub mod issues;
pub mod pulls;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tercel_sdk::text;

const BODY: usize = 20_000;

/// Text of a length that a model can take, and a sentence when it was cut.
fn excerpt(text: &str, limit: usize) -> (String, Option<String>) {
    let characters = text.chars().count();
    let note = (characters > limit).then(|| format!("cut: the first {limit} of {characters} characters"));
    (text::cut(text, limit), note)
}

/// Somebody as GitHub names them; the account may be gone.
#[derive(Deserialize)]
struct User {
    login: String,
}

fn login(user: &Option<User>) -> &str {
    user.as_ref().map_or("ghost", |user| &user.login)
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

/// What a writing tool made. It exists even if the answer cannot be read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Created {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(rename(serialize = "url"), skip_serializing_if = "Option::is_none")]
    html_url: Option<String>,
}

fn put(answer: &mut Value, key: &str, value: Option<String>) {
    if let Some(value) = value {
        answer[key] = json!(value);
    }
}
