//! Getting on with a sync: what it pushes is written down before it leaves, and what became of it after.

use super::Sync;
use crate::{
    Error, LedgerRow, Result, Store,
    engine::{Connection, list},
    ledger, now,
    writer::{Bell, Write},
};
/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemEnd {
    pub record_id: String,
    /// `create`, `update` or `delete`; absent when there was nothing to do.
    pub change: Option<&'static str>,
    /// `done`, `withheld`, `skipped`, `failed` or `unknown`.
    pub outcome: &'static str,
    pub remote_id: Option<String>,
    /// Why it failed: the kind, and JSON of the `sdk::Error`.
    pub error: Option<(&'static str, String)>,
}

/// One commit of a sync that runs.
#[derive(Debug, Clone, Default)]
pub struct SyncStep {
    /// What leaves next. Not written when somebody has asked the sync to stop: then it must not leave.
    pub begun: Vec<LedgerRow>,
    /// As they are from now on.
    pub rows: Vec<LedgerRow>,
    /// Records that the service has no more.
    pub gone: Vec<String>,
    pub items: Vec<ItemEnd>,
    /// Phase and record up to which all was looked at.
    pub reached: Option<(&'static str, String)>,
    /// Records that were as before, and are no items.
    pub skipped: i64,
}

struct Step {
    sync: Sync,
    worker: i64,
    step: SyncStep,
}

impl Write for Step {
    /// Whether the sync shall go on.
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::with_capacity(group.len());
        for step in group {
            answers.push(step.take(connection).await?);
        }
        Ok(answers)
    }
}

impl Step {
    async fn take(&self, connection: &mut Connection) -> Result<Result<bool>> {
        let Self { sync, worker, step } = self;
        let count = |outcomes: &[&str], change: Option<&str>| {
            let fits =
                |item: &&ItemEnd| outcomes.contains(&item.outcome) && (change.is_none() || item.change == change);
            step.items.iter().filter(fits).count() as i64
        };
        let done = ["done", "withheld"];
        let (phase, reached) = step.reached.clone().unzip();
        let sql = "UPDATE syncs SET phase = COALESCE($3, phase), reached = COALESCE($4, reached), created = created + $5, \
                   updated = updated + $6, deleted = deleted + $7, skipped = skipped + $8, failed = failed + $9, \
                   unknown = unknown + $10, attempts = CASE WHEN $11 THEN 0 ELSE attempts END \
                   WHERE id = $1 AND worker = $2 AND status = 'running' RETURNING stopping";
        let args = list![
            sync.id,
            *worker,
            phase,
            reached,
            count(&done, Some("create")),
            count(&done, Some("update")),
            count(&done, Some("delete")),
            step.skipped + count(&["skipped"], None),
            count(&["failed"], None),
            count(&["unknown"], None),
            step.reached.is_some() || !step.items.is_empty()
        ];
        let Some((stopping,)) = connection.first::<(bool,)>(sql, args).await? else { return Ok(Err(Error::Fenced)) };
        let of = (sync.integration.as_str(), sync.connection.as_str(), sync.collection.as_str());
        if !stopping {
            ledger::put(of, &step.begun, connection).await?;
        }
        ledger::put(of, &step.rows, connection).await?;
        ledger::remove(of, &step.gone, connection).await?;
        self.note_items(connection).await?;
        Ok(Ok(!stopping))
    }

    async fn note_items(&self, connection: &mut Connection) -> Result<()> {
        let time = now();
        let rows = self.step.items.iter().map(|item| {
            let (code, error) = item.error.clone().unzip();
            list![self.sync.id, &item.record_id, item.change, item.outcome, &item.remote_id, code, error, time]
        });
        let before = "INSERT INTO sync_items (sync_id, record_id, change, outcome, remote_id, code, error, at) VALUES";
        let after = " ON CONFLICT (sync_id, record_id) DO UPDATE SET change = excluded.change, outcome = excluded.outcome, \
                     remote_id = excluded.remote_id, code = excluded.code, error = excluded.error, at = excluded.at";
        connection.run_rows(before, rows.collect(), after).await
    }
}

/// How the work on a sync ended, for now or for good. Errors are JSON of an `sdk::Error`.
#[derive(Debug, Clone)]
pub enum SyncEnd {
    /// All was looked at.
    Complete,
    Failed(String),
    Cancelled,
    /// Nothing more can be pushed before that time.
    Later {
        at: i64,
        error: Option<String>,
    },
    /// Waits for a person.
    Waiting(String),
}

struct End {
    sync: Sync,
    worker: i64,
    end: SyncEnd,
}

impl Write for End {
    type Answer = ();
    const WAKES: &'static [Bell] = &[Bell::Syncs];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::with_capacity(group.len());
        for End { sync, worker, end } in group {
            let time = now();
            let (status, next_at, error, has_ended) = match end {
                SyncEnd::Complete => ("complete", None, None, true),
                SyncEnd::Failed(error) => ("failed", None, Some(error.clone()), true),
                SyncEnd::Cancelled => ("cancelled", None, None, true),
                SyncEnd::Later { at, error } => ("pending", Some(*at), error.clone(), false),
                SyncEnd::Waiting(error) => ("waiting", None, Some(error.clone()), false),
            };
            let sql = "UPDATE syncs SET status = $3, next_at = COALESCE($4, next_at), error = $5, worker = NULL, \
                       ended_at = $6 WHERE id = $1 AND worker = $2 AND status = 'running'";
            let args = list![sync.id, *worker, status, next_at, error, has_ended.then_some(time)];
            if connection.run(sql, args).await? == 0 {
                answers.push(Err(Error::Fenced));
                continue;
            }
            answers.push(Ok(()));
        }
        Ok(answers)
    }
}

/// Frees what other workers had in hand. What they had on its way is marked in the ledger.
pub(crate) async fn free(connection: &mut Connection, worker: i64, time: i64) -> Result<()> {
    let sql = "UPDATE syncs SET status = 'pending', worker = NULL, next_at = $2 WHERE status IN ('pending', 'running', 'waiting') \
               AND status = 'running' AND worker <> $1";
    connection.run(sql, list![worker, time]).await.map(drop)
}

impl Store {
    /// Commits a step of a sync; answers whether it shall go on.
    ///
    /// # Errors
    /// `Fenced` when another worker has it.
    pub async fn step_sync(&self, sync: &Sync, step: SyncStep) -> Result<bool> {
        self.writer.write(Step { sync: sync.clone(), worker: self.worker, step }).await
    }

    pub async fn end_sync(&self, sync: &Sync, end: SyncEnd) -> Result<()> {
        self.writer.write(End { sync: sync.clone(), worker: self.worker, end }).await
    }
}
