//! From the text of an answer to the rows that carry it away.

use super::prepare::Prepared;
use crate::{app::App, mirror, places};
use std::{collections::HashSet, sync::Arc};
use tercel_sdk::Target;
use tercel_store::{NewOutbox, Uuid};

/// One row for each part of the answer, for each of its targets.
pub async fn parts(app: &Arc<App>, prepared: &Prepared, answer: &str) -> Vec<NewOutbox> {
    let catalog = app.catalog();
    let rows = rows(app, prepared).await.into_iter();
    rows.flat_map(|(_, row)| mirror::cut(&catalog, row, answer)).collect()
}

/// Where the answer goes, and what its rows have in common: to the effective target, which is the task's, else the
/// session's, else the channel's. What was typed at the server itself is answered where its channel is bound to, too.
pub async fn rows(app: &Arc<App>, prepared: &Prepared) -> Vec<(Target, NewOutbox)> {
    let (task, session) = (&prepared.task, &prepared.session);
    let own = task.sealed_target.clone().or_else(|| session.sealed_target.clone());
    let effective = match (own, task.channel_id) {
        (None, Some(channel)) => places::target_of(app, channel).await,
        (own, _) => own,
    };
    let mut told = HashSet::new();
    let mut rows = Vec::new();
    for sealed in effective.into_iter().chain(mirror::targets(app, &task.origin, task.channel_id).await) {
        // One that cannot be opened gets a row all the same: its attempt says why, and the answer is not lost.
        let target = app.open_target(&sealed).unwrap_or_else(|_| {
            let kind = app.masked_target(Some(&sealed))["type"].as_str().unwrap_or("unreadable").to_owned();
            Target::new(&kind, serde_json::json!({"sealed": sealed}))
        });
        let key = crate::outbox::key(&target);
        if target.kind == "none" || !told.insert(key.clone()) {
            continue;
        }
        let row = NewOutbox {
            id: Uuid::nil(),
            target: key,
            task_id: Some(task.id),
            session_id: Some(session.id),
            bot_id: task.bot_id.clone(),
            dispatch_type: target.kind.clone(),
            sealed_target: sealed,
            text: String::new(),
            part: 1,
            parts: 1,
            hops: task.hops as u32 + 1,
            rehearse: task.rehearse,
            expires_at: None,
        };
        rows.push((target, row));
    }
    rows
}
