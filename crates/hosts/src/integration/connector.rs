//! The connection test of a connector class: `connect` with the values, then `test`.

use super::fields;
use crate::{
    call::{Part, Risk},
    description::{ConnectorOf, Description},
    worker::Supervisor,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tercel_sdk::{Checked, Depth, Error, Field, Handler, Host, Kind, Result, field::FieldType};

#[derive(Deserialize)]
struct Verdict {
    ok: bool,
    #[serde(default)]
    code: Value,
    message: Option<String>,
    hint: Option<String>,
    account: Option<String>,
    status: Option<u16>,
    details: Option<String>,
    /// How much it proved, where the code says so.
    depth: Option<Depth>,
}

pub fn connector(described: &ConnectorOf, all: &Description, worker: &Supervisor) -> Handler {
    let id = &worker.spec().integration;
    let fields: Arc<[Field]> = fields::fields(id, all, &mut Vec::new()).into();
    let part = |kind| Part { worker: worker.clone(), kind, name: described.name.clone(), risk: Risk::None };
    let (connect, test) = (part("connect"), part("test"));
    Arc::new(move |host, _| {
        let (connect, test, fields) = (connect.clone(), test.clone(), fields.clone());
        Box::pin(async move {
            let arguments = json!({ "values": values(&host, &fields) });
            checked(connect.call(&host, &arguments).await?, Kind::NotConfigured)?;
            let verdict = checked(test.call(&host, &arguments).await?, Kind::Error)?;
            let message = verdict.message.filter(|message| !message.is_empty());
            Ok(serde_json::to_value(Checked {
                depth: verdict.depth.unwrap_or(Depth::Auth),
                account: verdict.account,
                message: message.unwrap_or_else(|| "The connection works".into()),
            })?)
        })
    })
}

/// By field key, with the types that a form gives.
fn values(host: &Host, fields: &[Field]) -> Map<String, Value> {
    fields
        .iter()
        .map(|field| {
            let value = host.optional(&field.key);
            let value = match field.kind {
                FieldType::Checkbox => json!(value.is_some_and(|value| matches!(value, "true" | "1" | "on" | "yes"))),
                _ => json!(value.unwrap_or_default()),
            };
            (field.key.clone(), value)
        })
        .collect()
}

fn checked(answer: Value, otherwise: Kind) -> Result<Verdict> {
    let verdict: Verdict = serde_json::from_value(answer)
        .map_err(|error| Error::schema(format!("The connection test answered what is no verdict: {error}")))?;
    if verdict.ok {
        return Ok(verdict);
    }
    let kind = serde_json::from_value(verdict.code).unwrap_or(otherwise);
    let message = verdict.message.filter(|message| !message.is_empty());
    let mut message = message.unwrap_or_else(|| "The connection test failed".into());
    if let Some(details) = verdict.details.filter(|details| !details.is_empty()) {
        message = format!("{message}\n{details}");
    }
    Err(Error { hint: verdict.hint, status: verdict.status, ..Error::new(kind, message) })
}
