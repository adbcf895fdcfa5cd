//! One attempt for one row.

use super::{
    core, notices,
    outcome::{Verdict, verdict, wait},
};
use crate::{
    announce,
    app::{App, Call},
    connection::choice,
    part::{within, words},
    queue::patiently,
    redact::Redactor,
    watchman,
};
use chrono::{DateTime, SecondsFormat};
use futures::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{panic::AssertUnwindSafe, sync::Arc};
use tercel_sdk::{Dispatcher, Error, Host, Kind, Mode, Outbound, Receipt, Result, Target, host::Ids};
use tercel_store::{AttemptEnd, OutboxRow, Uuid, now};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Attempts after which a row that could not be sent is given up: about a day.
const MOST_ATTEMPTS: i64 = 150;

/// Tries a row that was claimed, and commits how that ended.
pub async fn send(app: &Arc<App>, row: OutboxRow) {
    // A fault in here must not leave the row on its way for ever.
    let end = AssertUnwindSafe(attempt(app, &row)).catch_unwind().await.unwrap_or_else(|panic| {
        let message = format!("Sending hit a fault in the program: it panicked ({})", words(&*panic));
        AttemptEnd::Held(json(&Error::new(Kind::UnknownOutcome, message)))
    });
    notices::raise(app, &row, &end).await;
    if !commit(app, &row, end.clone()).await {
        return;
    }
    if let AttemptEnd::Sent(_) = end {
        tracing::info!(outbox.id = %row.id, "Delivered a part of an answer by `{}`", row.dispatch_type);
        if announce::is_one(&row) {
            announce::arrived(app).await;
        }
    }
    if row.attempts > 1 {
        notices::settle(app, &row.dispatch_type).await;
    }
}

/// Answers whether it is committed: what was sent must not be forgotten, so the disk is waited for.
pub async fn commit(app: &App, row: &OutboxRow, end: AttemptEnd) -> bool {
    match patiently("The end of an attempt", || app.store.end_attempt(row, end.clone())).await {
        Ok(()) => true,
        // The next start looks for it.
        Err(tercel_store::Error::Stopping) => false,
        Err(error) => {
            tracing::error!(outbox.id = %row.id, "The end of an attempt could not be committed: {error}");
            false
        }
    }
}

async fn attempt(app: &Arc<App>, row: &OutboxRow) -> AttemptEnd {
    if row.rehearse {
        return AttemptEnd::Withheld;
    }
    if row.expires_at.is_some_and(|at| at < now()) && !row.unknown {
        return AttemptEnd::Expired;
    }
    let target = match app.open_target(&row.sealed_target) {
        Ok(target) => target,
        Err(error) => return AttemptEnd::Parked(json(&Error::new(Kind::NotConfigured, error.to_string()))),
    };
    let about = match About::read(app, row, &target).await {
        Ok(about) => about,
        Err(error) => {
            let error = Error::new(Kind::Network, format!("What it belongs to could not be read: {error}"));
            return AttemptEnd::Retry {
                at: now() + wait(1, None).as_micros() as i64,
                error: json(&error),
                unknown: row.unknown,
            };
        }
    };
    let way = match way(app, row, &target, about) {
        Ok(way) => way,
        Err(error) if error.kind == Kind::NotConfigured => return AttemptEnd::Parked(json(&error)),
        Err(error) if row.unknown => return AttemptEnd::Held(json(&error)),
        Err(error) => return AttemptEnd::Dead(json(&error)),
    };
    if row.unknown && !way.idempotent() {
        match way.find(app, &target).await.map(|found| unquoted(app, &target, found)) {
            Some(Ok(Some(receipt))) => return sent(&receipt),
            // It never arrived: this attempt may send it.
            Some(Ok(None)) => {}
            Some(Err(error)) => return unresolved(row, error),
            None => {
                let message =
                    "It may have arrived: the acknowledgement was lost, and this dispatch type cannot look for it";
                let hint = "Look there. Then drop this row, or send it again";
                return AttemptEnd::Held(json(&Error::new(Kind::UnknownOutcome, message).hint(hint)));
            }
        }
    }
    let delivered = unquoted(app, &target, way.deliver(app, row, &target).await);
    if let Way::Part { host, .. } = &way
        && !has_own_secret(&target)
    {
        watchman::saw_in_use(app, host.integration(), host.connection(), &delivered).await;
    }
    match delivered {
        Ok(receipt) => sent(&receipt),
        Err(error) => failed(row, &way, error),
    }
}

/// Then a refusal says nothing about the credentials of the connection.
fn has_own_secret(target: &Target) -> bool {
    serde_json::to_value(target).is_ok_and(|target| !tercel_store::seal::secrets_in(target).is_empty())
}

/// A service may quote what it was sent: secrets of ours, of its connection, of the target.
fn unquoted<T: Serialize + DeserializeOwned>(app: &App, target: &Target, answer: Result<T>) -> Result<T> {
    let secrets = serde_json::to_value(target).map(tercel_store::seal::secrets_in).unwrap_or_default();
    let (catalog, own) = (app.catalog(), Redactor::new(secrets));
    let answer = answer.map_err(|error| own.error(catalog.redactor.error(error)))?;
    Ok(serde_json::from_value(own.json(catalog.redactor.json(serde_json::to_value(answer)?)))?)
}

fn sent(receipt: &Receipt) -> AttemptEnd {
    AttemptEnd::Sent(serde_json::to_string(receipt).unwrap_or_else(|_| "{}".into()))
}

fn failed(row: &OutboxRow, way: &Way, error: Error) -> AttemptEnd {
    let later = |unknown| AttemptEnd::Retry {
        at: now() + wait(row.attempts as u32, error.retry_after).as_micros() as i64,
        error: json(&error),
        unknown,
    };
    match verdict(&error) {
        Verdict::Park => AttemptEnd::Parked(json(&error)),
        Verdict::Refused => AttemptEnd::Dead(json(&error)),
        Verdict::Retry if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Dead(json(&error)),
        Verdict::Unknown if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Held(json(&error)),
        Verdict::Retry => later(false),
        Verdict::Unknown if way.idempotent() || way.can_find() => later(true),
        Verdict::Unknown => AttemptEnd::Held(json(&error)),
    }
}

/// Looking for a lost post failed: looked for again later, never sent before.
fn unresolved(row: &OutboxRow, error: Error) -> AttemptEnd {
    match verdict(&error) {
        Verdict::Park => AttemptEnd::Parked(json(&error)),
        Verdict::Refused => AttemptEnd::Held(json(&error)),
        _ if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Held(json(&error)),
        _ => AttemptEnd::Retry {
            at: now() + wait(row.attempts as u32, error.retry_after).as_micros() as i64,
            error: json(&error),
            unknown: true,
        },
    }
}

/// The run that a row belongs to, as dispatchers see it.
#[derive(Default)]
struct About {
    client_id: Option<String>,
    channel: Option<Uuid>,
    client_actions: Vec<Value>,
}

impl About {
    async fn read(app: &App, row: &OutboxRow, target: &Target) -> tercel_store::Result<Self> {
        let Some(session) = row.session_id.filter(|_| !core::TYPES.contains(&target.kind.as_str())) else {
            return Ok(Self::default());
        };
        let session = patiently("Reading a session", || app.store.session(session)).await?;
        let client_actions = match row.task_id.filter(|_| row.part == row.parts) {
            Some(task) => patiently("Reading the steps of a run", || app.store.tool_steps(task)).await?,
            None => Vec::new(),
        };
        let action = |step: String| {
            let step: Value = serde_json::from_str(&step).ok()?;
            Some(step["output"].get("client_action")?.clone()).filter(|action| !action.is_null())
        };
        Ok(Self {
            channel: session.as_ref().and_then(|session| session.channel_id),
            client_id: session.map(|session| session.client_id),
            client_actions: client_actions.into_iter().filter_map(action).collect(),
        })
    }
}

/// How a row leaves.
enum Way {
    Webhook,
    Internal,
    Part { dispatcher: Dispatcher, host: Host, outbound: Box<Outbound> },
}

/// # Errors
/// An unknown dispatch type.
fn way(app: &Arc<App>, row: &OutboxRow, target: &Target, about: About) -> Result<Way> {
    match target.kind.as_str() {
        "webhook" => return Ok(Way::Webhook),
        "internal" => return Ok(Way::Internal),
        _ => {}
    }
    let catalog = app.catalog();
    let owned = catalog.dispatchers.get(&target.kind);
    let ids = Ids {
        task: row.task_id,
        session: row.session_id,
        channel: about.channel,
        bot: Some(row.bot_id.clone()),
        client_id: about.client_id,
        target: serde_json::from_value(app.masked_target(Some(&row.sealed_target))).ok(),
        ..Ids::default()
    };
    let call = Call {
        ids,
        mode: Mode::Live,
        idempotency_key: Some(row.id.to_string()),
        timeout: Some(app.config.limits.dispatcher),
        ..Call::default()
    };
    let entry = owned.and_then(|owned| catalog.integrations.get(&owned.integration));
    let connection = entry.map(|entry| choice::of_target(entry, target)).transpose()?;
    match owned.zip(connection).and_then(|(owned, name)| Some((owned, app.host(&owned.integration, name, call)?))) {
        Some((owned, host)) => {
            let dispatcher = owned.dispatcher.clone();
            let outbound = Outbound { client_actions: about.client_actions, ..outbound(app, row) };
            Ok(Way::Part { dispatcher, host, outbound: Box::new(outbound) })
        }
        None if catalog.absent.contains_key(&target.kind) => {
            let name = &catalog.absent[&target.kind];
            let obstacle = catalog.integrations.get(name).and_then(|entry| entry.listed.obstacle());
            let obstacle = obstacle.unwrap_or_else(|| format!("`{name}` cannot be used now"));
            Err(Error::not_configured(format!("The answer waits: {obstacle}")))
        }
        None => {
            let known: Vec<&str> =
                core::TYPES.into_iter().chain(catalog.dispatchers.keys().map(String::as_str)).collect();
            Err(Error::new(Kind::NotFound, format!("There is no dispatch type `{}`", target.kind))
                .hint(format!("Known are {}", known.join(", "))))
        }
    }
}

fn outbound(app: &App, row: &OutboxRow) -> Outbound {
    Outbound {
        id: row.id,
        marker: app.sealer.marker(row.id),
        text: row.text.clone(),
        part: row.part as u32,
        parts: row.parts as u32,
        attempt: row.attempts as u32,
        bot_id: row.bot_id.clone(),
        bot_name: app.catalog().bots.get(&row.bot_id).and_then(|bot| bot.display_name.clone().or(bot.name.clone())),
        task_id: row.task_id,
        session_id: row.session_id,
        created_at: DateTime::from_timestamp_micros(row.created_at)
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
            .unwrap_or_default(),
        client_actions: Vec::new(),
    }
}

impl Way {
    fn idempotent(&self) -> bool {
        match self {
            Self::Webhook | Self::Internal => true,
            Self::Part { dispatcher, .. } => dispatcher.idempotent,
        }
    }

    fn can_find(&self) -> bool {
        matches!(self, Self::Part { dispatcher, .. } if dispatcher.find.is_some())
    }

    /// `None` when it cannot be looked for.
    async fn find(&self, app: &App, target: &Target) -> Option<Result<Option<Receipt>>> {
        let Self::Part { dispatcher, host, outbound } = self else { return None };
        let find = dispatcher.find.clone()?;
        let (host, call) = (host.clone(), Dispatcher::call(target, outbound));
        let what = format!("Looking for it by `{}`", target.kind);
        let found = async move { find(host, call).await };
        let found = within(app.config.limits.dispatcher, &what, Kind::Timeout, found).await;
        Some(found.and_then(|value| Ok(serde_json::from_value(value)?)))
    }

    async fn deliver(&self, app: &Arc<App>, row: &OutboxRow, target: &Target) -> Result<Receipt> {
        let what = format!("Sending by `{}`", target.kind);
        let limit = app.config.limits.dispatcher;
        let late = |_| Error::new(Kind::UnknownOutcome, format!("{what} took longer than {} seconds", limit.as_secs()));
        let cancel = CancellationToken::new();
        match self {
            Self::Webhook => timeout(limit, core::webhook(app, row, target, &cancel)).await.map_err(late)?,
            Self::Internal => timeout(limit, core::internal(app, row, target)).await.map_err(late)?,
            Self::Part { dispatcher, host, outbound } => {
                let (deliver, host) = (dispatcher.deliver.clone(), host.clone());
                let call = Dispatcher::call(target, outbound);
                let sent = within(limit, &what, Kind::UnknownOutcome, async move { deliver(host, call).await }).await;
                // The post was made; that its receipt is odd changes nothing.
                sent.map(|receipt| serde_json::from_value(receipt).unwrap_or_default())
            }
        }
    }
}

pub fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}
