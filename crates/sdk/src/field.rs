//! One thing that an operator fills in. The list of fields serves the connection form and the settings alike.

use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    Text,
    Password,
    Url,
    Checkbox,
    Number,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Key of the connection form: `token`.
    pub key: String,
    /// Environment name, also the key in settings: `FORGE_TOKEN`.
    pub env: String,
    pub label: String,
    #[serde(rename = "type")]
    pub kind: FieldType,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub secret: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub placeholder: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// What may be chosen; anything when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// A regular expression that the whole value matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// A text of several lines, such as a key file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multiline: bool,
    /// The server can make a random value, to be entered at the service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generate: bool,
    /// The service shows this secret to us: for so long the one before still counts after it was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<Duration>,
}

impl Field {
    pub fn text(key: &str, label: &str) -> Self {
        Self::new(key, label, FieldType::Text)
    }

    /// A secret: sealed at rest, never shown again.
    pub fn password(key: &str, label: &str) -> Self {
        Self { secret: true, ..Self::new(key, label, FieldType::Password) }
    }

    /// An address. What the operator puts here may be called, private or not.
    pub fn url(key: &str, label: &str) -> Self {
        Self::new(key, label, FieldType::Url)
    }

    fn new(key: &str, label: &str, kind: FieldType) -> Self {
        Self {
            key: key.into(),
            env: String::new(),
            label: label.into(),
            kind,
            required: false,
            secret: false,
            default: None,
            placeholder: String::new(),
            help: String::new(),
            options: Vec::new(),
            pattern: None,
            multiline: false,
            generate: false,
            rotate: None,
        }
    }

    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub fn default(mut self, value: &str) -> Self {
        self.default = Some(value.into());
        self
    }

    pub fn placeholder(mut self, text: &str) -> Self {
        self.placeholder = text.into();
        self
    }

    pub fn help(mut self, text: &str) -> Self {
        self.help = text.into();
        self
    }

    pub fn options(mut self, values: &[&str]) -> Self {
        self.options = values.iter().map(|value| (*value).to_owned()).collect();
        self
    }

    /// A regular expression that the whole value matches.
    pub fn pattern(mut self, pattern: &str) -> Self {
        self.pattern = Some(pattern.into());
        self
    }

    pub fn multiline(mut self) -> Self {
        self.multiline = true;
        self
    }

    /// The server makes a random value when none is given.
    pub fn generate(mut self) -> Self {
        self.generate = true;
        self
    }

    /// For a secret by which requests of the service are verified: the one before counts so long after a new one.
    pub fn rotate(mut self, overlap: Duration) -> Self {
        self.rotate = Some(overlap);
        self
    }
}
