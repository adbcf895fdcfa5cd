//! One thing that an operator fills in. The list of fields serves the connection form and the settings alike.

use serde::{Deserialize, Serialize};

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
}
