//! What concerns code that a folder brings along.

use super::{
    place::At,
    units::{Size, Span},
};
use crate::{sandbox::Limits, worker::Times};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use std::{borrow::Cow, path::PathBuf};

/// The process that has the code.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// Program and arguments; absent for Python folders.
    pub command: Vec<String>,
    /// The oldest Python that will do: `>=3.12`.
    pub python: Option<At<String>>,
    pub limits: LimitKeys,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitKeys {
    memory: Option<Size>,
    /// For one call.
    call: Option<Span>,
    start: Option<Span>,
    /// After which it is ended until something needs it.
    idle: Option<Span>,
    processes: Option<u64>,
}

impl LimitKeys {
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        let processes = self.processes.unwrap_or(usual.processes);
        Limits { memory: self.memory.map_or(usual.memory, |size| size.0), processes, ..usual }
    }

    pub fn times(&self) -> Times {
        let usual = Times::default();
        let or = |span: Option<Span>, usual| span.map_or(usual, |span| span.0);
        Times {
            call: or(self.call, usual.call),
            start: or(self.start, usual.start),
            idle: or(self.idle, usual.idle),
            ..usual
        }
    }
}

/// A program that is kept running.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Process {
    #[serde(default)]
    pub description: String,
    pub command: Vec<String>,
    /// Keys of fields that must have a value.
    #[serde(default)]
    pub needs: Vec<At<String>>,
    /// Files and directories of the folder; when one changes, it is started anew.
    #[serde(default)]
    pub watch: Vec<String>,
    /// How many of it run.
    #[serde(default)]
    #[expect(dead_code, reason = "one server at a time has a database, so that both are one")]
    pub instances: Instances,
}

/// How many of a process run: one, wherever, or one on each server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Instances {
    #[default]
    One,
    Each,
}

impl<'de> Deserialize<'de> for Instances {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(number) if number.as_u64() == Some(1) => Ok(Self::One),
            Value::String(text) if text == "each" => Ok(Self::Each),
            other => Err(D::Error::custom(format!("`instances` is 1 or each, and not {other}"))),
        }
    }
}

impl JsonSchema for Instances {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instances".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"enum": [1, "each"]})
    }
}

/// What it may beyond what every integration may.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PermissionKeys {
    /// Tools of others that it may call.
    pub tools: Vec<String>,
    /// Hosts that it may call beside those that are written here and in its fields of type `url`.
    pub hosts: Vec<At<String>>,
    /// Scopes of the API.
    pub api: Vec<String>,
    /// Environment variables that its code reads.
    pub env: Vec<String>,
    pub paths: Paths,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
}
