//! What a worker says it has: the answer to `GET /v1/describe`.

use crate::{Problem, Variable};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tercel_sdk::{Effect, hook::Watches, routes::Route};

/// The version of the worker protocol that this server speaks.
pub const PROTOCOL: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    pub protocol: u32,
    pub name: Option<String>,
    pub version: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub description: String,
    pub icon: Option<String>,
    pub tier: Option<String>,
    /// Tiers that single actions need, by feature.
    #[serde(deserialize_with = "or_default")]
    pub features: BTreeMap<String, String>,
    pub variables: Vec<Variable>,
    pub undeclared: Vec<String>,
    pub fields: Vec<FieldOf>,
    pub webhook: Option<WebhookOf>,
    pub routes: Vec<Route>,
    pub tools: Vec<ToolOf>,
    pub dispatchers: Vec<DispatcherOf>,
    pub hooks: Vec<String>,
    pub watches: Watches,
    pub meta: Vec<Meta>,
    pub connector: Option<ConnectorOf>,
    pub process: Option<tercel_sdk::Process>,
    pub sidebar_section: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub dashboard_modules: Vec<Value>,
    pub activation: Option<Value>,
    /// What of a person or a bot the service needs to know: fields of `integration_config`.
    #[serde(deserialize_with = "or_default")]
    pub identity_fields: Vec<Value>,
    /// Scopes of the API that its key is to have, where it does not want all that a folder has.
    #[serde(deserialize_with = "or_default")]
    pub api_permissions: Vec<String>,
    pub problems: Vec<Problem>,
    pub siblings: Vec<String>,
}

/// A field of a connection form, as a connector class lists it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldOf {
    pub key: String,
    pub label: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    pub secret: Option<bool>,
    pub default: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub placeholder: String,
    #[serde(deserialize_with = "or_default")]
    pub help: String,
    /// Environment name, where it is not made of the integration's name and the key.
    pub env: Option<String>,
    pub options: Vec<String>,
    pub pattern: Option<String>,
    pub multiline: bool,
    pub generate: bool,
    /// Seconds for which the secret before a new one still counts.
    pub rotate: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookOf {
    /// As it is called from outside: `/integrations/crm/webhook`.
    pub path: String,
    #[serde(deserialize_with = "or_default")]
    pub description: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolOf {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub description: String,
    pub parameters: Map<String, Value>,
    pub effect: Option<Effect>,
    pub idempotent: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DispatcherOf {
    #[serde(rename = "type")]
    pub kind: String,
    /// Characters of one post.
    pub limit: Option<usize>,
    pub idempotent: bool,
    pub find: bool,
    pub update: bool,
    pub notify_start: bool,
    pub request_approval: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    pub integration_type: String,
    pub client_id_prefix: Option<String>,
    pub user_attribution: bool,
    pub resolve_display_names: bool,
    pub resolve_dispatch_config: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectorOf {
    pub name: String,
    pub label: Option<String>,
    pub tier: Option<String>,
    pub sync: bool,
    pub sync_results: bool,
}

/// Python's `None` where a value was expected says the same as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Description {
    /// Reads an answer.
    ///
    /// # Errors
    /// In words for whoever writes the worker.
    pub fn read(answer: &[u8]) -> Result<Self, String> {
        let described: Self = serde_json::from_slice(answer)
            .map_err(|error| format!("GET /v1/describe answered what the worker protocol does not know: {error}"))?;
        match described.protocol {
            PROTOCOL => Ok(described),
            other => {
                Err(format!("It speaks version {other} of the worker protocol, and this server version {PROTOCOL}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_but_the_version_may_be_absent() {
        let described = Description::read(br#"{"protocol": 1}"#).unwrap();
        assert_eq!(described, Description { protocol: 1, ..Description::default() });
    }

    #[test]
    fn the_example_of_the_protocol_is_understood() {
        let page = include_str!("../../../docs/worker-protocol.md");
        let after = page.split("### `GET /v1/describe`").nth(1).unwrap();
        let example = after.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let described = Description::read(example.as_bytes()).unwrap();
        assert_eq!(described.tools[0].effect, Some(Effect::Write));
        assert_eq!(described.process.unwrap().command, ["python", "integrations/myservice/listen.py"]);
        assert_eq!(described.problems[0].line, Some(3));
    }

    #[test]
    fn another_version_or_shape_is_said() {
        assert!(Description::read(br#"{"protocol": 2}"#).unwrap_err().contains("version 2"));
        assert!(Description::read(b"<html>").unwrap_err().contains("does not know"));
    }
}
