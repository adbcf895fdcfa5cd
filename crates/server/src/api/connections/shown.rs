//! What is shown of a connection and of its tests. Secrets are masked.

use super::{
    super::{
        integrations::{self, Webhook},
        time::Time,
    },
    authorize::Consent,
};
use crate::{
    app::App,
    catalog::Entry,
    connection::{self, state},
    consent::{Place, begin},
};
use regex::{NoExpand, Regex};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};
use tercel_sdk::Field;
use tercel_store::{MASK, now};

/// In the help of a field: the address that the service has to know.
static REDIRECT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{\s*oauth\.redirect\s*\}\}").expect("it is valid"));

#[derive(Serialize, utoipa::ToSchema)]
pub struct Connection {
    /// The integration.
    name: String,
    label: String,
    tier: String,
    /// Which of its connections: `default` has what stands in the settings.
    connection: String,
    state: state::State,
    fields: Vec<FormField>,
    /// Values by field key, secrets masked.
    values: BTreeMap<String, String>,
    /// Secrets that were replaced and are accepted until then, by field key.
    #[schema(value_type = BTreeMap<String, String>)]
    earlier: BTreeMap<String, Time>,
    /// What the last test said.
    health: Option<Health>,
    /// What to enter at the service for this connection.
    webhook: Option<Webhook>,
    /// What a person has agreed to; absent where nobody has to.
    consent: Option<Consent>,
    /// Why stored values cannot be used, by field key.
    problems: BTreeMap<String, String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct FormField {
    key: String,
    /// The name of the same value in the settings.
    env: String,
    label: String,
    /// `text`, `password`, `url`, `checkbox` or `number`.
    r#type: String,
    required: bool,
    secret: bool,
    default: Option<String>,
    placeholder: String,
    help: String,
    /// What may be chosen; anything when empty.
    options: Vec<String>,
    /// A regular expression that the whole value matches.
    pattern: Option<String>,
    multiline: bool,
    /// The server makes a random value when none is given.
    generate: bool,
    /// Seconds for which the secret before a new one is accepted from the service.
    rotate: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    code: String,
    message: String,
    hint: Option<String>,
    account: Option<String>,
    /// How much was proved: `presence`, `auth`, `target` or `write`.
    depth: Option<String>,
    /// HTTP status of the service's last answer.
    status: Option<i64>,
    latency_ms: Option<i64>,
    /// Absent when the last test passed.
    failing_since: Option<Time>,
    checked_at: Time,
}

/// What a test of a connection said.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub struct Outcome {
    pub ok: bool,
    /// `ok`, `not_configured`, `auth`, `forbidden`, `network`, …
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub account: Option<String>,
    /// How much was proved: `presence`, `auth`, `target` or `write`.
    pub depth: Option<String>,
    /// HTTP status of the service's last answer.
    pub status: Option<u16>,
    pub latency_ms: Option<u64>,
    /// The values are stored now.
    pub saved: bool,
    /// Secrets that were made for it, by field key: they are not shown again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub generated: BTreeMap<String, String>,
}

impl From<connection::Outcome> for Outcome {
    fn from(outcome: connection::Outcome) -> Self {
        let common = Self {
            code: outcome.code().into(),
            status: outcome.status,
            latency_ms: outcome.latency_ms,
            ..Self::default()
        };
        match outcome.result {
            Ok(checked) => Self {
                ok: true,
                message: checked.message,
                account: checked.account,
                depth: json!(checked.depth).as_str().map(str::to_owned),
                ..common
            },
            Err(error) => Self { message: error.message, hint: error.hint, ..common },
        }
    }
}

impl Connection {
    pub fn of(app: &Arc<App>, entry: &Entry, connection: &str) -> Self {
        let integration = &entry.integration;
        let values = entry.values(connection).cloned().unwrap_or_default();
        let masked = integration.fields.iter().filter_map(|field| {
            let value = values.fields.get(&field.key)?;
            Some((field.key.clone(), if field.secret { MASK.to_owned() } else { value.clone() }))
        });
        let earlier = values.earlier.iter().filter(|(_, (_, until))| *until > now());
        Self {
            name: integration.name.clone(),
            label: integration.label.clone(),
            tier: integration.tier.clone(),
            connection: connection.into(),
            state: state::of(entry, connection),
            fields: integration.fields.iter().map(|field| FormField::of(app, field)).collect(),
            values: masked.collect(),
            earlier: earlier.map(|(key, (_, until))| (key.clone(), Time(*until))).collect(),
            health: entry.healths.get(connection).map(Health::from),
            webhook: integrations::webhook(app, entry, connection),
            consent: Consent::of(app, &Place::new(&integration.name, connection), &values),
            problems: values.broken,
        }
    }
}

impl FormField {
    fn of(app: &App, field: &Field) -> Self {
        let help = REDIRECT.replace_all(&field.help, NoExpand(&begin::redirect(app))).into_owned();
        Self {
            key: field.key.clone(),
            env: field.env.clone(),
            label: field.label.clone(),
            r#type: json!(field.kind).as_str().unwrap_or("text").into(),
            required: field.required,
            secret: field.secret,
            default: field.default.clone().filter(|_| !field.secret),
            placeholder: field.placeholder.clone(),
            help,
            options: field.options.clone(),
            pattern: field.pattern.clone(),
            multiline: field.multiline,
            generate: field.generate,
            rotate: field.rotate.map(|overlap| overlap.as_secs()),
        }
    }
}

impl From<&tercel_store::Health> for Health {
    fn from(row: &tercel_store::Health) -> Self {
        Self {
            code: row.code.clone(),
            message: row.message.clone(),
            hint: row.hint.clone(),
            account: row.account.clone(),
            depth: row.depth.clone(),
            status: row.http_status,
            latency_ms: row.latency_ms,
            failing_since: row.failing_since.map(Time),
            checked_at: Time(row.checked_at),
        }
    }
}
