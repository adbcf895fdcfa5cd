//! Answers that are shown while they are written: the first row of such an answer posts its beginning, what comes of it
//! changes that post.

use super::{
    outcome::{Verdict, verdict},
    send::{has_own_secret, unquoted},
    way::{About, Way},
};
use crate::{app::App, queue::patiently, watchman};
use std::{sync::Arc, time::Duration};
use tercel_sdk::{Error, Kind, Receipt, Target};
use tercel_store::{AttemptEnd, OutboxRow, Result, Uuid};

/// Attempts to change a post of which nobody knows what became of them, after which the answer is posted anew.
const MOST_UNKNOWN: i64 = 5;

/// What became of the post that a row goes on with.
pub enum Changed {
    /// It has the text of the row.
    Now(Receipt),
    /// There is none, or none that can be changed: the row is posted.
    Never,
    /// Nothing needs to be posted or changed any more.
    NoNeed(Error),
    /// Not yet: the same again.
    Later(Error),
}

/// Changes the post with which the answer of this row began.
pub async fn go_on(app: &Arc<App>, row: &OutboxRow, target: &Target, way: &Way) -> Result<Changed> {
    let (Some(task), true) = (row.task_id, row.part == 0 || row.part == 1 && way.can_update()) else {
        return Ok(Changed::Never);
    };
    let Some(begun) = patiently("Reading how an answer began", || app.store.beginning_of(row)).await? else {
        // It is the beginning itself, or the answer is there without one.
        return match row.part == 0 && !row.unknown {
            true => begin(app, task, way).await,
            false => Ok(Changed::Never),
        };
    };
    let changed = match post(&begun) {
        Some(receipt) => change(app, row, target, way, receipt).await,
        None => Changed::Never,
    };
    Ok(match changed {
        Changed::Never if row.part == 0 => no_need("There is no post of this answer that could be changed"),
        changed => changed,
    })
}

/// A beginning that is about to be posted.
async fn begin(app: &Arc<App>, task: Uuid, way: &Way) -> Result<Changed> {
    let task = patiently("Reading a task", || app.store.task(task)).await?;
    Ok(match task.is_none_or(|task| task.completed_at.is_some()) {
        true => no_need("The answer was there before its beginning was shown"),
        false if !way.can_update() => no_need("This dispatch type cannot change what it has posted"),
        false => Changed::Never,
    })
}

async fn change(app: &Arc<App>, row: &OutboxRow, target: &Target, way: &Way, receipt: Receipt) -> Changed {
    let Some(changed) = way.update(target, &receipt, app.config.limits.dispatcher).await else { return Changed::Never };
    let changed = unquoted(app, target, changed);
    if let Way::Part { host, .. } = way
        && !has_own_secret(target)
    {
        watchman::saw_in_use(app, host.integration(), host.connection(), &changed).await;
    }
    let Err(error) = changed else { return Changed::Now(receipt) };
    match verdict(&error) {
        // It is gone, or too old: the answer is worth a post of its own.
        Verdict::Refused => Changed::Never,
        Verdict::Unknown if row.attempts >= MOST_UNKNOWN => Changed::Never,
        Verdict::Unknown | Verdict::Retry | Verdict::Park => Changed::Later(error),
    }
}

/// The receipt of a post that can be changed.
fn post(row: &OutboxRow) -> Option<Receipt> {
    let receipt: Receipt = serde_json::from_str(row.receipt.as_deref()?).ok()?;
    (row.state == "sent" && receipt.id.is_some()).then_some(receipt)
}

fn no_need(why: &str) -> Changed {
    Changed::NoNeed(Error::new(Kind::Error, why))
}

/// How the attempt of a beginning ends: whatever becomes of it, the answer leaves by a row of its own, which tells people
/// where that is needed.
pub fn without_a_person(end: AttemptEnd) -> AttemptEnd {
    match end {
        AttemptEnd::Held(error) => AttemptEnd::Dropped { error, unknown: true },
        AttemptEnd::Parked(error) | AttemptEnd::Dead(error) => AttemptEnd::Dropped { error, unknown: false },
        end => end,
    }
}

/// What became of showing more of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grown {
    Now,
    /// Its beginning has not been posted yet.
    NotYet,
    /// The service wants to be asked more rarely, at the earliest after this time.
    Later(Option<Duration>),
    /// Nobody knows whether it was changed.
    Unknown,
    /// It cannot be changed any more.
    Never,
}

/// Gives the post of a beginning more text. Nothing of this is kept: what counts is the answer at the end.
pub async fn grow(app: &Arc<App>, id: Uuid, text: String) -> Result<Grown> {
    let Some(row) = app.store.outbox_row(id).await? else { return Ok(Grown::Never) };
    if ["pending", "sending"].contains(&row.state.as_str()) {
        return Ok(Grown::NotYet);
    }
    let (Some(receipt), Ok(target)) = (post(&row), app.open_target(&row.sealed_target)) else {
        return Ok(Grown::Never);
    };
    let row = OutboxRow { text, ..row };
    let about = About::read(app, &row, &target).await?;
    let Ok(way) = Way::of(app, &row, &target, about) else { return Ok(Grown::Never) };
    // The run waits for it, so that it cannot come after the answer.
    let limit = app.config.limits.hook;
    let Some(changed) = way.update(&target, &receipt, limit).await else { return Ok(Grown::Never) };
    Ok(match unquoted(app, &target, changed) {
        Ok(()) => Grown::Now,
        Err(error) => {
            tracing::debug!(outbox.id = %id, "More of an answer could not be shown: {error}");
            match verdict(&error) {
                Verdict::Retry => Grown::Later(error.retry_after),
                Verdict::Unknown => Grown::Unknown,
                Verdict::Park | Verdict::Refused => Grown::Never,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_about_a_beginning() {
        let ends = [AttemptEnd::Held("e".into()), AttemptEnd::Parked("e".into()), AttemptEnd::Dead("e".into())];
        let dropped = ends.map(|end| match without_a_person(end) {
            AttemptEnd::Dropped { unknown, .. } => unknown,
            other => panic!("{other:?}"),
        });
        assert_eq!(dropped, [true, false, false]);
        assert!(matches!(without_a_person(AttemptEnd::Expired), AttemptEnd::Expired));
    }
}
