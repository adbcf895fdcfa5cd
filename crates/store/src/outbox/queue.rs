//! The queues of targets: rows stand in order, the first one is ready.

use super::NewOutbox;
use crate::{
    Result,
    engine::{Connection, list},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// Puts rows at the end of their targets' queues.
pub(crate) async fn insert_all(rows: &[&NewOutbox], connection: &mut Connection, time: i64) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut targets: BTreeMap<&str, (i64, Uuid)> = BTreeMap::new();
    for row in rows {
        targets.entry(&row.target).or_insert((0, row.id)).0 += 1;
    }
    let values = targets.iter().map(|(key, (count, head))| list![*key, *count, *head]).collect();
    let queues: Vec<(String, i64, Option<Uuid>)> = connection
        .all_rows(
            "INSERT INTO targets (key, seq, head) VALUES",
            values,
            " ON CONFLICT (key) DO UPDATE SET seq = targets.seq + excluded.seq, head = COALESCE(targets.head, excluded.head) \
             RETURNING key, seq, head",
        )
        .await?;
    let mut next: HashMap<&str, (i64, Option<Uuid>)> =
        queues.iter().map(|(key, seq, head)| (key.as_str(), (seq - targets[key.as_str()].0, *head))).collect();
    let values = rows
        .iter()
        .map(|row| {
            let (seq, head) = next.get_mut(row.target.as_str()).expect("every target was upserted");
            *seq += 1;
            list![
                row.id,
                &row.target,
                *seq,
                *head == Some(row.id),
                row.task_id,
                row.session_id,
                &row.bot_id,
                &row.dispatch_type,
                &row.sealed_target,
                &row.text,
                row.part,
                row.parts,
                row.hops,
                row.rehearse,
                "pending",
                0_i64,
                false,
                time,
                time,
                row.expires_at,
            ]
        })
        .collect();
    connection
        .run_rows(
            "INSERT INTO outbox (id, target, seq, ready, task_id, session_id, bot_id, dispatch_type, sealed_target, text, part, \
             parts, hops, rehearse, state, attempts, unknown, next_at, created_at, expires_at) VALUES",
            values,
            "",
        )
        .await
}

/// Makes the first pending row of each target its head, unless one is on its way.
pub(super) async fn promote(targets: BTreeSet<String>, connection: &mut Connection) -> Result<()> {
    let rows: Vec<_> = targets.into_iter().map(|target| list![target]).collect();
    connection.lock("targets", "key", rows.clone()).await?;
    // A row that was sent again may stand before the one that was next.
    connection
        .run_rows(
            "UPDATE outbox SET ready = FALSE WHERE state = 'pending' AND id IN (SELECT head FROM targets WHERE key IN (VALUES",
            rows.clone(),
            "))",
        )
        .await?;
    let heads: Vec<(Option<Uuid>,)> = connection
        .all_rows(
            "UPDATE targets SET head = (SELECT o.id FROM outbox o WHERE o.target = targets.key AND o.state = 'pending' \
             ORDER BY o.seq LIMIT 1) WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = targets.head AND o.state = 'sending') \
             AND key IN (VALUES",
            rows,
            ") RETURNING head",
        )
        .await?;
    let heads = heads.into_iter().filter_map(|(head,)| head).map(|head| list![head]).collect();
    connection.run_rows("UPDATE outbox SET ready = TRUE WHERE id IN (VALUES", heads, ")").await
}
