//! The keys of a manifest. Every object is closed: what is not known is an error that names what may be meant.

use super::{FILE, units};
use crate::{Problem, description::FieldOf, sandbox::Limits, worker::Times};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use serde_saphyr::{Error, Spanned};
use std::{path::PathBuf, time::Duration};
use tercel_sdk::Effect;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub schema: Spanned<u32>,
    pub name: Spanned<String>,
    pub version: Option<String>,
    pub label: Option<String>,
    #[serde(default)]
    pub description: String,
    pub icon: Option<String>,
    pub tier: Option<Tier>,
    #[serde(default)]
    pub fields: Vec<Field>,
    pub worker: Option<Worker>,
    #[serde(default)]
    pub tools: Vec<Tool>,
    pub webhook: Option<Webhook>,
    pub process: Option<Process>,
    #[serde(default)]
    pub permissions: PermissionKeys,
    pub sidebar_section: Option<Value>,
    #[serde(default)]
    pub dashboard_modules: Vec<Value>,
    pub activation: Option<Value>,
}

/// What an integration may ask for.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Free,
    Paid,
    Premium,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Paid => "paid",
            Self::Premium => "premium",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub key: String,
    label: Option<String>,
    #[serde(rename = "type")]
    kind: FieldKind,
    #[serde(default)]
    required: bool,
    secret: Option<bool>,
    default: Option<Value>,
    #[serde(default)]
    placeholder: String,
    #[serde(default)]
    help: String,
    /// Environment name, where it is another than the integration's name and the key.
    env: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FieldKind {
    Text,
    Password,
    Url,
    Checkbox,
    Number,
}

impl From<Field> for FieldOf {
    fn from(field: Field) -> Self {
        let kind = match field.kind {
            FieldKind::Text => "text",
            FieldKind::Password => "password",
            FieldKind::Url => "url",
            FieldKind::Checkbox => "checkbox",
            FieldKind::Number => "number",
        };
        Self {
            label: field.label.unwrap_or_else(|| field.key.clone()),
            key: field.key,
            kind: kind.into(),
            required: field.required,
            secret: field.secret,
            default: field.default,
            placeholder: field.placeholder,
            help: field.help,
            env: field.env,
            ..Self::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    pub command: Vec<String>,
    pub python: Option<Spanned<String>>,
    pub limits: LimitKeys,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitKeys {
    #[serde(deserialize_with = "size")]
    memory: Option<u64>,
    #[serde(deserialize_with = "duration")]
    call: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    start: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    idle: Option<Duration>,
    processes: Option<u64>,
}

impl LimitKeys {
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        let processes = self.processes.unwrap_or(usual.processes);
        Limits { memory: self.memory.unwrap_or(usual.memory), processes, ..usual }
    }

    pub fn times(&self) -> Times {
        let usual = Times::default();
        Times {
            call: self.call.unwrap_or(usual.call),
            start: self.start.unwrap_or(usual.start),
            idle: self.idle.unwrap_or(usual.idle),
            ..usual
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: Spanned<String>,
    pub description: String,
    pub effect: Option<Effect>,
    #[serde(default)]
    pub idempotent: bool,
    /// JSON Schema of each argument.
    #[serde(default)]
    pub args: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub path: Option<String>,
    #[serde(default)]
    pub description: String,
    pub verify: Spanned<Value>,
    /// Who makes events of what was received: here always the code.
    #[serde(rename = "events")]
    _events: Events,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Events {
    Code,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    #[serde(default)]
    pub description: String,
    pub command: Vec<String>,
    /// Keys of fields.
    #[serde(default)]
    pub needs: Vec<Spanned<String>>,
    #[serde(default)]
    pub watch: Vec<String>,
    /// How many run where there are several servers; on one, both are one.
    #[serde(default, rename = "instances", deserialize_with = "instances")]
    _instances: (),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PermissionKeys {
    pub tools: Vec<String>,
    pub hosts: Vec<String>,
    pub api: Vec<String>,
    pub env: Vec<String>,
    pub paths: Paths,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
}

fn instances<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    let value = Value::deserialize(deserializer)?;
    match &value {
        Value::Number(number) if number.as_u64() == Some(1) => Ok(()),
        Value::String(text) if text == "each" => Ok(()),
        other => Err(D::Error::custom(format!("`instances` is 1 or each, and not {other}"))),
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::size(&text)
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is not a size such as 64KB or 512MB")))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || D::Error::custom(format!("`{text}` is not a duration such as 30s, 5m or 2h"));
    units::duration(&text).map(Some).ok_or_else(wrong)
}

/// Keys of manifests that need no code.
const WITHOUT_CODE: [&str; 9] =
    ["http", "test", "dispatch", "sync", "events", "poll", "features", "binding", "record_fields"];

/// An error of the file, for whoever writes it.
pub fn explain(error: &Error) -> Problem {
    let error = error.without_snippet();
    let message = match error {
        Error::SerdeUnknownField { field, .. } if WITHOUT_CODE.contains(&field.as_str()) => {
            format!(
                "`{field}` belongs to manifests whose host makes the requests itself; this server reads those of code only"
            )
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            let likeness = |known: &&&str| strsim::jaro_winkler(field, known);
            let nearest = expected.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).copied();
            format!("There is no key `{field}` here; is `{}` meant?", nearest.unwrap_or("another"))
        }
        Error::SerdeMissingField { field, .. } => format!("The key `{field}` is missing"),
        other => other.to_string(),
    };
    match error.location() {
        Some(at) => super::problem(at, &message),
        None => Problem::new(FILE, message),
    }
}
