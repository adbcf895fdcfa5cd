//! What an answer that does not get through tells people, and when that is over.

use super::core::TYPES;
use crate::{announce, app::App, watchman};
use tercel_sdk::{Error, Kind};
use tercel_store::{AttemptEnd, NewNotice, OutboxRow, Result};

/// States in which rows wait for a person; each has a notice for each dispatch type.
const STATES: [&str; 3] = ["parked", "dead", "held"];

/// Tells of an end that needs a person.
pub async fn raise(app: &App, row: &OutboxRow, end: &AttemptEnd) {
    let kind = &row.dispatch_type;
    let (state, title, error, repair) = match end {
        AttemptEnd::Parked(error) => ("parked", format!("Answers wait for `{kind}`"), error, mend(kind)),
        AttemptEnd::Dead(error) => (
            "dead",
            format!("An answer could not be delivered by `{kind}`"),
            error,
            "See GET /api/v1/outbox?state=dead; a row can be sent again or dropped".to_owned(),
        ),
        AttemptEnd::Held(error) => (
            "held",
            format!("Nobody knows whether an answer arrived by `{kind}`"),
            error,
            "See GET /api/v1/outbox?state=held; look whether it arrived, then drop it or send it again".to_owned(),
        ),
        AttemptEnd::Sent(_)
        | AttemptEnd::Retry { .. }
        | AttemptEnd::Withheld
        | AttemptEnd::Dropped { .. }
        | AttemptEnd::Expired => return,
    };
    let cause = serde_json::from_str::<Error>(error);
    let is_refused = cause.as_ref().is_ok_and(|error| error.kind == Kind::Auth) && watchman::is_refused(app, kind);
    let detail = cause.map_or_else(|_| error.clone(), |error| error.message);
    if announce::is_one(row) {
        return announce::failed(app, row, detail).await;
    }
    // One cause, one notice: that the credentials are refused is told already.
    if state == "parked" && is_refused {
        return;
    }
    app.raise(NewNotice { key: key(state, kind), severity: "error", title, detail, repair: Some(repair) }).await;
}

fn mend(kind: &str) -> String {
    match TYPES.contains(&kind) {
        // It has no settings that could be changed.
        true => "See GET /api/v1/outbox?state=parked; when the receiver is mended, send them again".into(),
        false => format!("Mend the settings of `{kind}`: what waits is sent then"),
    }
}

/// Closes, at the start, the notices of rows that wait no more. Those that are tried again may wait again.
pub async fn settle_all(app: &App) -> Result<()> {
    let open = app.store.notices(Some(true), None, 1000).await?;
    let kind = |key: &str| {
        let (state, kind) = key.split_once(':')?;
        STATES.contains(&state).then(|| kind.to_owned())
    };
    let kinds: std::collections::BTreeSet<String> = open.iter().filter_map(|notice| kind(&notice.key)).collect();
    for kind in kinds {
        try_settle(app, &kind).await?;
    }
    Ok(())
}

/// Closes the notices of a dispatch type whose rows have gone on.
pub async fn settle(app: &App, kind: &str) {
    if let Err(error) = try_settle(app, kind).await {
        tracing::error!("Notices of `{kind}` may stay open: {error}");
    }
}

async fn try_settle(app: &App, kind: &str) -> Result<()> {
    let open = app.store.notices(Some(true), None, 1000).await?;
    let is_open = |state: &&str| open.iter().any(|notice| notice.key == key(state, kind));
    let told: Vec<&str> = STATES.into_iter().filter(is_open).collect();
    if told.is_empty() {
        return Ok(());
    }
    let mut stuck = app.store.stuck(kind).await?;
    // What is on its way once more has not arrived yet.
    if app.store.is_tried_again(kind).await? {
        stuck.push("parked".into());
    }
    for state in told.into_iter().filter(|state| !stuck.iter().any(|other| other == state)) {
        app.close_notice(&key(state, kind)).await;
    }
    Ok(())
}

fn key(state: &str, kind: &str) -> String {
    format!("{state}:{kind}")
}
