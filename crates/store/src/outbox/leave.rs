//! Rows on their way: taken by a worker, and what became of the attempt.

use super::{AttemptEnd, COLUMNS, Leaving, OutboxRow, queue::promote};
use crate::{
    Error, Result,
    engine::{Arg, Connection, list, record},
    now,
    writer::{Bell, Write},
};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

pub(super) struct Claim {
    pub worker: i64,
    pub limit: i64,
    /// Dispatch types that have enough on their way.
    pub but: Vec<String>,
}

impl Write for Claim {
    type Answer = Leaving;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Leaving>>> {
        let mut answers = Vec::new();
        for claim in group {
            let time = now();
            let skip_locked = connection.dialect().skip_locked();
            let due: String = (4..).zip(&claim.but).map(|(n, _)| format!(" AND dispatch_type <> ${n}")).collect();
            let sql = format!(
                "WITH due AS MATERIALIZED \
                 (SELECT id FROM outbox WHERE ready AND state = 'pending' AND next_at <= $2{due} ORDER BY next_at LIMIT $3 {skip_locked}) \
                 UPDATE outbox SET state = 'sending', attempts = attempts + 1, worker = $1 WHERE id IN (SELECT id FROM due) \
                 RETURNING {COLUMNS}"
            );
            let mut args = list![claim.worker, time, claim.limit];
            args.extend(claim.but.iter().map(Arg::from));
            let mut rows: Vec<OutboxRow> = connection.all(sql, args).await?;
            rows.sort_by_key(|row| row.next_at);
            let attempts = rows.iter().map(|row| list![row.id, row.attempts, time]).collect();
            connection.run_rows("INSERT INTO attempts (outbox_id, n, started_at) VALUES", attempts, "").await?;
            let next_at = if (rows.len() as i64) < claim.limit {
                let due: String = (1..).zip(&claim.but).map(|(n, _)| format!(" AND dispatch_type <> ${n}")).collect();
                let sql = format!("SELECT MIN(next_at) FROM outbox WHERE ready AND state = 'pending'{due}");
                let args = claim.but.iter().map(Arg::from).collect();
                connection.first::<(Option<i64>,)>(sql, args).await?.and_then(|(at,)| at)
            } else {
                Some(time)
            };
            answers.push(Ok(Leaving { rows, next_at }));
        }
        Ok(answers)
    }
}

pub(super) struct EndAttempt {
    pub worker: i64,
    pub id: Uuid,
    pub attempt: i64,
    pub end: AttemptEnd,
}

impl Write for EndAttempt {
    type Answer = ();
    const WAKES: &'static [Bell] = &[Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let time = now();
        let mut ends: BTreeMap<(Uuid, i64), &Self> = BTreeMap::new();
        for end in group {
            ends.entry((end.id, end.attempt)).or_insert(end);
        }
        let rows = ends
            .values()
            .map(|e| {
                let (state, _, receipt, error) = e.end.columns();
                let (next_at, unknown) = match &e.end {
                    AttemptEnd::Retry { at, unknown, .. } => (*at, Some(*unknown)),
                    AttemptEnd::Held(_) => (time, Some(true)),
                    AttemptEnd::Sent(_) | AttemptEnd::Withheld => (time, Some(false)),
                    // What an earlier attempt left open is open still.
                    AttemptEnd::Parked(_) | AttemptEnd::Dead(_) | AttemptEnd::Dropped { .. } | AttemptEnd::Expired => {
                        (time, None)
                    }
                };
                let ended_at = (state != "pending").then_some(time);
                list![e.id, e.worker, e.attempt, state, receipt.cloned(), error.cloned(), next_at, unknown, ended_at]
            })
            .collect();
        let ended: Vec<Ended> = connection
            .all_rows(
                "UPDATE outbox SET state = v.column4, receipt = v.column5, error = v.column6, next_at = v.column7, \
                 unknown = COALESCE(v.column8, outbox.unknown), ended_at = v.column9, worker = NULL FROM (VALUES",
                rows,
                ") AS v WHERE outbox.id = v.column1 AND outbox.worker = v.column2 AND outbox.attempts = v.column3 \
                 AND outbox.state = 'sending' RETURNING id, attempts, target, state, part, parts, task_id, seq",
            )
            .await?;
        let held: HashMap<(Uuid, i64), &Self> =
            ended.iter().filter_map(|row| ends.remove_entry(&(row.id, row.attempts))).collect();
        let rows = held
            .values()
            .map(|e| {
                let (_, outcome, _, error) = e.end.columns();
                list![e.id, e.attempt, outcome, error.cloned(), time]
            })
            .collect();
        connection
            .run_rows(
                "UPDATE attempts SET outcome = v.column3, error = v.column4, ended_at = v.column5 FROM (VALUES",
                rows,
                ") AS v WHERE attempts.outbox_id = v.column1 AND attempts.n = v.column2",
            )
            .await?;
        for row in ended.iter().filter(|row| row.part < row.parts) {
            match row.state.as_str() {
                "sent" => release_parts(row, connection).await?,
                "held" | "parked" | "dead" | "expired" => hold_parts(row, connection).await?,
                _ => {}
            }
        }
        promote(ended.into_iter().map(|row| row.target).collect(), connection).await?;
        let answer = |e: &&Self| match held.get(&(e.id, e.attempt)) {
            Some(first) if std::ptr::eq(*first, *e) => Ok(()),
            _ => Err(Error::Fenced),
        };
        Ok(group.iter().map(answer).collect())
    }
}

/// A row whose state has just changed.
pub(super) struct Ended {
    id: Uuid,
    attempts: i64,
    target: String,
    state: String,
    part: i64,
    parts: i64,
    task_id: Option<Uuid>,
    seq: i64,
}

record!(Ended { id, attempts, target, state, part, parts, task_id, seq });

impl From<&OutboxRow> for Ended {
    fn from(row: &OutboxRow) -> Self {
        let OutboxRow { id, attempts, part, parts, task_id, seq, .. } = *row;
        Self { id, attempts, target: row.target.clone(), state: row.state.clone(), part, parts, task_id, seq }
    }
}

/// A part must not arrive without the one before it. The parts of an answer stand in a row.
pub(super) async fn hold_parts(row: &Ended, connection: &mut Connection) -> Result<()> {
    let message = format!("Part {} of this answer was not delivered", row.part);
    let error = serde_json::json!({"code": "error", "message": message}).to_string();
    let sql = "UPDATE outbox SET state = 'held', ready = FALSE, error = $5 \
               WHERE target = $1 AND task_id IS NOT DISTINCT FROM $2 AND seq > $3 AND seq <= $4 AND state = 'pending'";
    let last = row.seq + row.parts - row.part;
    connection.run(sql, list![&row.target, row.task_id, row.seq, last, error]).await.map(drop)
}

pub(super) async fn release_parts(row: &Ended, connection: &mut Connection) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'pending', error = NULL \
               WHERE target = $1 AND task_id IS NOT DISTINCT FROM $2 AND seq > $3 AND seq <= $4 AND state = 'held' AND attempts = 0";
    let last = row.seq + row.parts - row.part;
    connection.run(sql, list![&row.target, row.task_id, row.seq, last]).await.map(drop)
}
