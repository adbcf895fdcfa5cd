//! From the text of an answer to the rows that carry it away.

use crate::app::App;
use std::sync::Arc;
use tercel_sdk::text;
use tercel_store::{Error, NewOutbox, Result, Session, Task, Uuid};

/// One row for each part of the answer, for the effective target: the task's, else the session's, else the channel's.
pub async fn parts(app: &Arc<App>, task: &Task, session: &Session, answer: &str) -> Result<Vec<NewOutbox>> {
    let catalog = app.catalog();
    let channel = task.channel_id.and_then(|id| catalog.channel(id));
    let sealed =
        [&task.sealed_target, &session.sealed_target, &channel.and_then(|channel| channel.sealed_target.clone())]
            .into_iter()
            .flatten()
            .next()
            .cloned();
    let Some(sealed) = sealed else { return Ok(Vec::new()) };
    let target =
        app.open_target(&sealed).map_err(|e| Error::Sealed(format!("The target of the answer cannot be read: {e}")))?;
    if target.kind == "none" {
        return Ok(Vec::new());
    }
    let limit = catalog
        .integrations
        .get(&target.kind)
        .and_then(|entry| entry.integration.dispatcher.as_ref())
        .map_or(usize::MAX, |dispatcher| dispatcher.limit);
    let pieces = text::split(answer, limit);
    let parts = pieces.len() as u32;
    let key = crate::outbox::key(&target);
    Ok(pieces
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
        .collect())
}
