//! The dispatch types that are the server's own: `webhook` and `internal`.

use crate::{app::App, inject, runner};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::SystemTime};
use tercel_sdk::{Error, Kind, Receipt, Result, Scheme, Target};
use tercel_store::{OutboxRow, Uuid};
use tokio_util::sync::CancellationToken;

pub const TYPES: [&str; 3] = ["none", "webhook", "internal"];

/// The secret by which receivers know our webhooks, as Standard Webhooks writes it.
pub fn webhook_secret(app: &App) -> String {
    format!("whsec_{}", BASE64.encode(app.sealer.derived("webhook")))
}

fn config<T: for<'a> Deserialize<'a>>(target: &Target) -> Result<T> {
    let config = Value::Object(target.config.clone());
    serde_json::from_value(config)
        .map_err(|e| Error::schema(format!("The dispatch_config of type `{}` is not right: {e}", target.kind)))
}

#[derive(Deserialize)]
struct Webhook {
    url: String,
    /// Signs this target's requests instead of the server's own secret.
    secret: Option<String>,
}

/// POSTs `{"task_id", "result"}`, signed by Standard Webhooks under the row's id: receivers can tell a repetition.
pub async fn webhook(app: &Arc<App>, row: &OutboxRow, target: &Target, cancel: &CancellationToken) -> Result<Receipt> {
    let Webhook { url, secret } = config(target)?;
    let body = json!({"task_id": row.task_id, "result": row.text}).to_string();
    let scheme = Scheme::standard(&secret.unwrap_or_else(|| webhook_secret(app)));
    let signature = scheme.sign_as(&row.id.to_string(), body.as_bytes(), SystemTime::now());
    let mut request = app.plain_http(None, row.task_id, cancel).post(url).body("application/json", body).repeatable();
    for (name, value) in &signature {
        request = request.header(name.as_str(), value.to_str().unwrap_or_default());
    }
    request.send().await?.ok()?;
    Ok(Receipt { id: Some(row.id.to_string()), url: None })
}

#[derive(Deserialize)]
struct Internal {
    session_id: Uuid,
    #[serde(default)]
    run_agent: bool,
}

/// Puts the answer into another session as a user's message. The row's id makes a repetition known.
pub async fn internal(app: &Arc<App>, row: &OutboxRow, target: &Target) -> Result<Receipt> {
    let Internal { session_id, run_agent } = config(target)?;
    let (trusted, from) = speaker(app, row).await.map_err(passing)?;
    let input = inject::Input {
        source: Some("internal".into()),
        run_agent,
        trusted,
        from: Some(from),
        hops: row.hops as u32,
        // As long as the row may be sent again, which nobody can tell: for ever.
        idempotency: Some((format!("internal/{}", row.id), i64::MAX)),
        ..inject::Input::new(session_id, row.text.clone())
    };
    match inject::inject(app, input).await {
        Ok(injected) => Ok(Receipt { id: Some(injected.message_id.to_string()), url: None }),
        Err(error) => Err(passing(error)),
    }
}

/// Whether the answer is trusted: what a run read counts, not only what it was asked. And the place whose event the run
/// began with, empty when nobody knows.
async fn speaker(app: &App, row: &OutboxRow) -> tercel_store::Result<(bool, String)> {
    let Some(session) = row.session_id else { return Ok((false, String::new())) };
    // Among the newest: one that is not found there is not trusted.
    let said = app.store.messages(session, None, 100).await?;
    let of = |role: &str| said.iter().find(|message| message.role == role && message.task_id == row.task_id);
    let trusted = of("assistant").is_some_and(|answer| answer.trusted);
    let asked = of("user").map(|asked| (asked.trusted, runner::from(asked.metadata.as_deref())));
    let from = match asked {
        Some((false, from)) => from,
        // Asked by somebody who is trusted, it has read what its own place says.
        Some((true, _)) => app.store.session(session).await?.map(|session| session.client_id).unwrap_or_default(),
        None => String::new(),
    };
    Ok((trusted, from))
}

fn passing(error: tercel_store::Error) -> Error {
    match &error {
        tercel_store::Error::NotFound(_) => Error::new(Kind::NotFound, error.to_string()),
        tercel_store::Error::Conflict(_) => Error::new(Kind::Unsupported, error.to_string()),
        _ => Error::new(Kind::Network, error.to_string()),
    }
}
