//! From the text of an answer to the rows that carry it away.

use super::prepare::Prepared;
use crate::app::App;
use tercel_sdk::{Target, text};
use tercel_store::{NewOutbox, Uuid};

/// One row for each part of the answer, for the effective target: the task's, else the session's, else the channel's.
pub fn parts(app: &App, prepared: &Prepared, answer: &str) -> Vec<NewOutbox> {
    let catalog = app.catalog();
    let (task, session) = (&prepared.task, &prepared.session);
    let own = task.sealed_target.as_ref().or(session.sealed_target.as_ref());
    let Some(sealed) = own.or_else(|| catalog.target_of(task.channel_id?)) else { return Vec::new() };
    // One that cannot be opened gets a row all the same: its attempt says why, and the answer is not lost.
    let target = app.open_target(sealed).unwrap_or_else(|_| {
        let kind = app.masked_target(Some(sealed))["type"].as_str().unwrap_or("unreadable").to_owned();
        Target::new(&kind, serde_json::json!({"sealed": sealed}))
    });
    if target.kind == "none" {
        return Vec::new();
    }
    let limit = catalog
        .integrations
        .get(&target.kind)
        .and_then(|entry| entry.integration.dispatcher.as_ref())
        .map_or(usize::MAX, |dispatcher| dispatcher.limit);
    let pieces = text::split(answer, limit);
    let parts = pieces.len() as u32;
    let key = crate::outbox::key(&target);
    pieces
        .into_iter()
        .zip(1..)
        .map(|(text, part)| NewOutbox {
            id: Uuid::now_v7(),
            target: key.clone(),
            task_id: Some(task.id),
            session_id: Some(session.id),
            bot_id: task.bot_id.clone(),
            dispatch_type: target.kind.clone(),
            sealed_target: sealed.clone(),
            text,
            part,
            parts,
            hops: task.hops as u32 + 1,
            rehearse: task.rehearse,
            expires_at: None,
        })
        .collect()
}
