//! A connector class: `connect` with the values, then `test`, or `sync` with records.

use super::fields;
use crate::{
    call::{Part, Risk},
    description::{ConnectorOf, Description},
    worker::Supervisor,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tercel_sdk::{Checked, Depth, Error, Field, Handler, Host, Kind, Push, Pushed, Result, field::FieldType, sync};

/// The records that connector classes take.
const JOBS: &str = "jobs";
/// Records of one call for a class that says of each what became of it.
const BATCH: usize = 100;

#[derive(Deserialize)]
struct Verdict {
    ok: bool,
    #[serde(default)]
    code: Value,
    message: Option<String>,
    hint: Option<String>,
    account: Option<String>,
    account_id: Option<String>,
    status: Option<u16>,
    details: Option<String>,
    /// How much it proved, where the code says so.
    depth: Option<Depth>,
}

/// What a class says of one record.
#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    code: Value,
    remote_id: Option<String>,
    reason: Option<String>,
    status: Option<u16>,
}

pub fn connector(described: &ConnectorOf, all: &Description, worker: &Supervisor) -> Handler {
    let fields = form(all, worker);
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
                account_id: verdict.account_id,
                message: message.unwrap_or_else(|| "The connection works".into()),
            })?)
        })
    })
}

/// A class is given what is new or was changed, whole. It has no words for looking one up, nor for deleting.
pub fn sync(described: &ConnectorOf, all: &Description, worker: &Supervisor) -> Option<sync::Part> {
    let fields = form(all, worker);
    let part = Part { worker: worker.clone(), kind: "sync", name: described.name.clone(), risk: Risk::Effect };
    let push = move |host: Host, pushes: Vec<Push>| {
        let (part, fields) = (part.clone(), fields.clone());
        async move {
            let records: Vec<&Value> = pushes.iter().map(|push| &push.row).collect();
            let arguments = json!({"values": values(&host, &fields), "collection": JOBS, "records": records});
            let mut answer = part.call(&host, &arguments).await?;
            let answers: Vec<Answer> = serde_json::from_value(answer["results"].take()).unwrap_or_default();
            if answers.len() != pushes.len() {
                let message =
                    format!("sync of `{}` answered for {} of {} records", part.name, answers.len(), pushes.len());
                return Err(Error::new(Kind::UnknownOutcome, message));
            }
            Ok(pushes.into_iter().zip(answers).map(|(push, answer)| pushed(push.id, answer)).collect())
        }
    };
    let batch = if described.sync_results { BATCH } else { 1 };
    described.sync.then(|| sync::syncs(JOBS, push).batch(batch))
}

fn form(all: &Description, worker: &Supervisor) -> Arc<[Field]> {
    fields::fields(&worker.spec().integration, all, &mut Vec::new()).into()
}

fn pushed(id: String, Answer { ok, code, remote_id, reason, status }: Answer) -> Pushed {
    let error = (!ok).then(|| {
        let kind = serde_json::from_value(code).unwrap_or(Kind::Error);
        let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| "It does not say why".into());
        Error { status, ..Error::new(kind, reason) }
    });
    Pushed { id, remote_id, error }
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
