//! One attempt for one row.

use super::{
    core,
    outcome::{Verdict, verdict, wait},
};
use crate::{
    app::{App, Call},
    catalog::DEFAULT,
};
use chrono::{DateTime, SecondsFormat};
use std::{sync::Arc, time::Duration};
use tercel_sdk::{Dispatcher, Error, Host, Kind, Mode, Outbound, Receipt, Result, Target, host::Ids};
use tercel_store::{AttemptEnd, NewNotice, OutboxRow, now};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
/// Attempts after which a row that could not be sent is given up: about a day.
const MOST_ATTEMPTS: i64 = 150;

/// Tries a row that was claimed, and commits how that ended.
pub async fn send(app: &Arc<App>, row: OutboxRow) {
    let end = attempt(app, &row).await;
    report(app, &row, &end).await;
    let mut pause = Duration::from_millis(100);
    loop {
        match app.store.end_attempt(&row, end.clone()).await {
            Err(error) if error.is_passing() && !matches!(error, tercel_store::Error::Stopping) => {
                tracing::error!(outbox.id = %row.id, "The end of an attempt cannot be committed and is tried again: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => {
                tracing::error!(outbox.id = %row.id, "The end of an attempt could not be committed: {error}");
                return;
            }
            Ok(()) => return,
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
    let way = match way(app, row, &target) {
        Ok(way) => way,
        Err(error) => return AttemptEnd::Dead(json(&error)),
    };
    if row.unknown && !way.idempotent() {
        match way.find(row, &target).await {
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
    match way.deliver(app, row, &target).await {
        Ok(receipt) => sent(&receipt),
        Err(error) => failed(row, &way, error),
    }
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
        _ if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Dead(json(&error)),
        Verdict::Retry => later(false),
        Verdict::Unknown if way.idempotent() || way.can_find() => later(true),
        Verdict::Unknown => AttemptEnd::Held(json(&error)),
    }
}

/// Looking for a lost post failed: looked for again later, never sent before.
fn unresolved(row: &OutboxRow, error: Error) -> AttemptEnd {
    match verdict(&error) {
        Verdict::Park | Verdict::Refused => AttemptEnd::Held(json(&error)),
        _ if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Held(json(&error)),
        _ => AttemptEnd::Retry {
            at: now() + wait(row.attempts as u32, error.retry_after).as_micros() as i64,
            error: json(&error),
            unknown: true,
        },
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
fn way(app: &Arc<App>, row: &OutboxRow, target: &Target) -> Result<Way> {
    match target.kind.as_str() {
        "webhook" => return Ok(Way::Webhook),
        "internal" => return Ok(Way::Internal),
        _ => {}
    }
    let catalog = app.catalog();
    let dispatcher = catalog.integrations.get(&target.kind).and_then(|entry| entry.integration.dispatcher.clone());
    let call = Call {
        ids: Ids { task: row.task_id, session: row.session_id, bot: Some(row.bot_id.clone()), ..Ids::default() },
        mode: Mode::Live,
        idempotency_key: Some(row.id.to_string()),
        timeout: Some(LIMIT),
        ..Call::default()
    };
    match (dispatcher, app.host(&target.kind, DEFAULT, call)) {
        (Some(dispatcher), Some(host)) => Ok(Way::Part { dispatcher, host, outbound: Box::new(outbound(app, row)) }),
        _ => {
            let types = catalog.integrations.values().filter(|entry| entry.integration.dispatcher.is_some());
            let known: Vec<&str> =
                core::TYPES.into_iter().chain(types.map(|entry| entry.integration.name.as_str())).collect();
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
        task_id: row.task_id,
        session_id: row.session_id,
        created_at: DateTime::from_timestamp_micros(row.created_at)
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
            .unwrap_or_default(),
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
    async fn find(&self, _row: &OutboxRow, target: &Target) -> Option<Result<Option<Receipt>>> {
        let Self::Part { dispatcher, host, outbound } = self else { return None };
        let find = dispatcher.find.as_ref()?;
        let found = tokio::time::timeout(LIMIT, find(host.clone(), Dispatcher::call(target, outbound))).await;
        let late = || Error::new(Kind::Timeout, format!("Looking for it took longer than {} seconds", LIMIT.as_secs()));
        Some(found.unwrap_or_else(|_| Err(late())).and_then(|value| Ok(serde_json::from_value(value)?)))
    }

    async fn deliver(&self, app: &Arc<App>, row: &OutboxRow, target: &Target) -> Result<Receipt> {
        let late = || Error::new(Kind::UnknownOutcome, format!("Sending took longer than {} seconds", LIMIT.as_secs()));
        let cancel = CancellationToken::new();
        let delivered = async {
            match self {
                Self::Webhook => core::webhook(app, row, target, &cancel).await,
                Self::Internal => core::internal(app, row, target).await,
                Self::Part { dispatcher, host, outbound } => {
                    let value = (dispatcher.deliver)(host.clone(), Dispatcher::call(target, outbound)).await?;
                    // The post was made; that its receipt is odd changes nothing.
                    Ok(serde_json::from_value(value).unwrap_or_default())
                }
            }
        };
        tokio::time::timeout(LIMIT, delivered).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Notices for what needs a person, closed again when answers get through.
async fn report(app: &App, row: &OutboxRow, end: &AttemptEnd) {
    let kind = &row.dispatch_type;
    let raise = |key: String, title: &str, error: &str, repair: &str| NewNotice {
        key,
        severity: "error",
        title: title.into(),
        detail: serde_json::from_str::<Error>(error).map_or_else(|_| error.to_owned(), |error| error.message),
        repair: Some(repair.into()),
    };
    match end {
        AttemptEnd::Sent(_) => {
            tracing::info!(outbox.id = %row.id, "Delivered a part of an answer by `{kind}`");
            if row.attempts > 1 || app.outbox_trouble.load(std::sync::atomic::Ordering::Relaxed) {
                app.close_notice(&format!("parked:{kind}")).await;
            }
        }
        AttemptEnd::Parked(error) => {
            app.outbox_trouble.store(true, std::sync::atomic::Ordering::Relaxed);
            let repair = format!("Mend the settings of `{kind}`: what waits is sent then");
            app.raise(raise(format!("parked:{kind}"), &format!("Answers wait for `{kind}`"), error, &repair)).await;
        }
        AttemptEnd::Dead(error) => {
            let repair = "See GET /api/v1/outbox?state=dead; a row can be sent again or dropped";
            app.raise(raise(
                format!("dead:{kind}"),
                &format!("An answer could not be delivered by `{kind}`"),
                error,
                repair,
            ))
            .await;
        }
        AttemptEnd::Held(error) => {
            let repair = "See GET /api/v1/outbox?state=held; look whether it arrived, then drop it or send it again";
            app.raise(raise(
                format!("held:{kind}"),
                &format!("Nobody knows whether an answer arrived by `{kind}`"),
                error,
                repair,
            ))
            .await;
        }
        AttemptEnd::Retry { .. } | AttemptEnd::Withheld | AttemptEnd::Expired => {}
    }
}

fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}
