//! What an operator fills in.

use super::{place::At, units::Span};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// One thing that an operator fills in: a line of the connection form, and a setting.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What templates call it: `fields.url`, or `secrets.token` for a secret. A `token` of `forge` has the environment
    /// name `FORGE_TOKEN`.
    pub key: At<String>,
    pub label: Option<String>,
    #[serde(rename = "type")]
    pub kind: FieldKind,
    #[serde(default)]
    pub required: bool,
    /// It is never shown again. Passwords are.
    pub secret: Option<bool>,
    pub default: Option<Value>,
    #[serde(default)]
    pub placeholder: String,
    #[serde(default)]
    pub help: String,
    /// The values that it can have.
    #[serde(default)]
    pub options: Vec<String>,
    /// A regular expression that a value matches as a whole.
    pub pattern: Option<At<String>>,
    /// The value may have several lines, such as a key file.
    #[serde(default)]
    pub multiline: bool,
    /// Where nobody gives a value, a long random one is made.
    #[serde(default)]
    pub generate: bool,
    /// How long an old value of a secret is good for requests that come in, once there is a new one.
    pub rotate: Option<Span>,
    /// Environment name, where it is another than the integration's name and the key.
    pub env: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    Text,
    Password,
    Url,
    Checkbox,
    Number,
}

impl FieldKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Password => "password",
            Self::Url => "url",
            Self::Checkbox => "checkbox",
            Self::Number => "number",
        }
    }
}

impl Field {
    pub fn is_secret(&self) -> bool {
        self.secret.unwrap_or(self.kind == FieldKind::Password)
    }
}
