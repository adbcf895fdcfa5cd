//! One attempt for one row.

use super::{
    beginning::{self, Changed},
    notices,
    outcome::{Verdict, verdict, wait},
    way::{About, Way},
};
use crate::{announce, app::App, part::words, queue::patiently, redact::Redactor, watchman};
use futures::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use std::{panic::AssertUnwindSafe, sync::Arc};
use tercel_sdk::{Error, Kind, Receipt, Result, Target};
use tercel_store::{AttemptEnd, OutboxRow, now};

/// Attempts after which a row that could not be sent is given up: about a day.
const MOST_ATTEMPTS: i64 = 150;

/// Tries a row that was claimed, and commits how that ended.
pub async fn send(app: &Arc<App>, row: OutboxRow) {
    // A fault in here must not leave the row on its way for ever.
    let end = AssertUnwindSafe(attempt(app, &row)).catch_unwind().await.unwrap_or_else(|panic| {
        let message = format!("Sending hit a fault in the program: it panicked ({})", words(&*panic));
        AttemptEnd::Held(json(&Error::new(Kind::UnknownOutcome, message)))
    });
    let end = if row.part == 0 { beginning::without_a_person(end) } else { end };
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
        Err(error) => return unread(row, &error),
    };
    let way = match Way::of(app, row, &target, about) {
        Ok(way) => way,
        Err(error) if error.kind == Kind::NotConfigured => return AttemptEnd::Parked(json(&error)),
        Err(error) if row.unknown => return AttemptEnd::Held(json(&error)),
        Err(error) => return AttemptEnd::Dead(json(&error)),
    };
    match beginning::go_on(app, row, &target, &way).await {
        Ok(Changed::Now(receipt)) => return sent(&receipt),
        Ok(Changed::Never) => {}
        Ok(Changed::NoNeed(why)) => return AttemptEnd::Dropped { error: json(&why), unknown: false },
        Ok(Changed::Later(error)) => return unchanged(row, error),
        Err(error) => return unread(row, &error),
    }
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

fn unread(row: &OutboxRow, error: &tercel_store::Error) -> AttemptEnd {
    let error = Error::new(Kind::Network, format!("What it belongs to could not be read: {error}"));
    AttemptEnd::Retry { at: now() + wait(1, None).as_micros() as i64, error: json(&error), unknown: row.unknown }
}

/// Then a refusal says nothing about the credentials of the connection.
pub fn has_own_secret(target: &Target) -> bool {
    serde_json::to_value(target).is_ok_and(|target| !tercel_store::seal::secrets_in(target).is_empty())
}

/// A service may quote what it was sent: secrets of ours, of its connection, of the target.
pub fn unquoted<T: Serialize + DeserializeOwned>(app: &App, target: &Target, answer: Result<T>) -> Result<T> {
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
        // The answer comes, and is not to wait behind its own beginning.
        Verdict::Retry if row.part == 0 => AttemptEnd::Dropped { error: json(&error), unknown: false },
        Verdict::Retry if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Dead(json(&error)),
        Verdict::Unknown if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Held(json(&error)),
        Verdict::Retry => later(false),
        Verdict::Unknown if way.idempotent() || way.can_find() => later(true),
        Verdict::Unknown => AttemptEnd::Held(json(&error)),
    }
}

/// Changing a post can be done again, whatever became of it: what an earlier attempt left open stays as it is.
fn unchanged(row: &OutboxRow, error: Error) -> AttemptEnd {
    match verdict(&error) {
        Verdict::Park => AttemptEnd::Parked(json(&error)),
        _ if row.attempts >= MOST_ATTEMPTS => AttemptEnd::Dead(json(&error)),
        _ => AttemptEnd::Retry {
            at: now() + wait(row.attempts as u32, error.retry_after).as_micros() as i64,
            error: json(&error),
            unknown: row.unknown,
        },
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

pub fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}
