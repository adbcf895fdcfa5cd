//! Syncs: going through the records of a collection and pushing to a connection what it has not yet.

mod forget;
mod page;
mod place;
mod settings;
mod start;
mod step;

pub(crate) use step::free;

pub use page::SyncRow;
pub use place::SyncPlace;
pub use settings::{DueSync, SyncSettings};
pub use start::{NewItem, NewSync, Started};
pub use step::{ItemEnd, SyncEnd, SyncStep};

use crate::{
    Error, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::{Bell, Write},
};
use uuid::Uuid;

/// Those that have not ended.
pub(crate) const OPEN: &str = "status IN ('pending', 'running', 'waiting')";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub id: Uuid,
    pub integration: String,
    pub connection: String,
    pub collection: String,
    /// `api` or `schedule`.
    pub origin: String,
    pub dry_run: bool,
    /// Only the records that are its items.
    pub partial: bool,
    /// The ledger was begun anew with it: the target or the account is another one.
    pub anew: bool,
    /// Names what was asked for.
    pub asked: Option<String>,
    /// `pending`, `running`, `waiting`, `complete`, `failed` or `cancelled`.
    pub status: String,
    /// Somebody has asked it to stop.
    pub stopping: bool,
    pub next_at: i64,
    /// Since it last got on.
    pub attempts: i64,
    /// `records` or `removals`.
    pub phase: String,
    /// The last record of the phase that was looked at.
    pub reached: String,
    pub total: i64,
    pub created: i64,
    pub updated: i64,
    pub deleted: i64,
    pub skipped: i64,
    pub failed: i64,
    pub unknown: i64,
    /// JSON of an `sdk::Error`.
    pub error: Option<String>,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
}

record!(Sync {
    id,
    integration,
    connection,
    collection,
    origin,
    dry_run,
    partial,
    anew,
    asked,
    status,
    stopping,
    next_at,
    attempts,
    phase,
    reached,
    total,
    created,
    updated,
    deleted,
    skipped,
    failed,
    unknown,
    error,
    created_at,
    started_at,
    ended_at
});

const COLUMNS: &str = "id, integration, connection, collection, origin, dry_run, partial, anew, asked, status, stopping, \
                       next_at, attempts, phase, reached, total, created, updated, deleted, skipped, failed, unknown, error, created_at, \
                       started_at, ended_at";

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncItem {
    pub record_id: String,
    /// `create`, `update` or `delete`.
    pub change: Option<String>,
    /// `done`, `withheld` (a dry run), `skipped`, `failed` or `unknown`; absent: not yet looked at.
    pub outcome: Option<String>,
    pub remote_id: Option<String>,
    /// Why it failed.
    pub code: Option<String>,
    pub error: Option<String>,
    pub at: Option<i64>,
}

record!(SyncItem { record_id, change, outcome, remote_id, code, error, at });

/// Takes syncs that are due, one of each connection.
struct Claim {
    worker: i64,
    limit: i64,
}

impl Write for Claim {
    type Answer = (Vec<Sync>, Option<i64>);

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Self::Answer>>> {
        let mut answers = Vec::with_capacity(group.len());
        for claim in group {
            let time = now();
            let skip_locked = connection.dialect().skip_locked();
            let first = "NOT EXISTS (SELECT 1 FROM syncs o WHERE o.status IN ('pending', 'running', 'waiting') \
                         AND o.integration = s.integration AND o.connection = s.connection \
                         AND (o.status = 'running' OR o.created_at < s.created_at OR o.created_at = s.created_at AND o.id < s.id))";
            let sql = format!(
                "WITH due AS MATERIALIZED (SELECT s.id FROM syncs s WHERE s.status IN ('pending', 'running', 'waiting') \
                 AND s.status = 'pending' AND s.next_at <= $2 AND {first} ORDER BY s.next_at LIMIT $3 {skip_locked}) \
                 UPDATE syncs SET status = 'running', worker = $1, attempts = attempts + 1, error = NULL, \
                 started_at = COALESCE(started_at, $2) WHERE id IN (SELECT id FROM due) RETURNING {COLUMNS}"
            );
            let syncs: Vec<Sync> = connection.all(sql, list![claim.worker, time, claim.limit]).await?;
            let sql = format!("SELECT MIN(next_at) FROM syncs WHERE {OPEN} AND status = 'pending' AND next_at > $1");
            let next: Option<(Option<i64>,)> = connection.first(sql, list![time]).await?;
            answers.push(Ok((syncs, next.and_then(|(at,)| at))));
        }
        Ok(answers)
    }
}

enum Order {
    /// Ends one that does not run, asks one that runs to stop.
    Cancel(Uuid),
    /// Sends on one that waits, or those of an integration, or all.
    Resume { id: Option<Uuid>, integration: Option<String> },
}

impl Write for Order {
    type Answer = Vec<Uuid>;
    const WAKES: &'static [Bell] = &[Bell::Syncs];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Vec<Uuid>>>> {
        let mut answers = Vec::with_capacity(group.len());
        for order in group {
            let time = now();
            let rows: Vec<(Uuid,)> = match order {
                Self::Cancel(id) => {
                    let sql = format!(
                        "UPDATE syncs SET stopping = TRUE, ended_at = CASE WHEN status = 'running' THEN NULL ELSE $2 END, \
                         status = CASE WHEN status = 'running' THEN status ELSE 'cancelled' END WHERE id = $1 AND {OPEN} \
                         RETURNING id"
                    );
                    connection.all(sql, list![*id, time]).await?
                }
                Self::Resume { id, integration } => {
                    let sql = format!(
                        "UPDATE syncs SET status = 'pending', next_at = $1, attempts = 0 WHERE {OPEN} \
                         AND (status = 'waiting' OR status = 'pending' AND $2 IS NOT NULL) AND ($2 IS NULL OR id = $2) \
                         AND ($3 IS NULL OR integration = $3) RETURNING id"
                    );
                    connection.all(sql, list![time, *id, integration]).await?
                }
            };
            answers.push(Ok(rows.into_iter().map(|(id,)| id).collect()));
        }
        Ok(answers)
    }
}

impl Store {
    /// Takes syncs that are due, the first of their connections; says when the next will be.
    pub async fn claim_syncs(&self, limit: i64) -> Result<(Vec<Sync>, Option<i64>)> {
        self.writer.write(Claim { worker: self.worker, limit }).await
    }

    /// Ends a sync that does not run, asks one that runs to stop.
    ///
    /// # Errors
    /// `Conflict` when it has ended.
    pub async fn cancel_sync(&self, id: Uuid) -> Result<()> {
        match self.writer.write(Order::Cancel(id)).await?.is_empty() {
            true => Err(Error::Conflict("The sync has ended".into())),
            false => Ok(()),
        }
    }

    /// Sends on a sync that waits, for a person or for its next attempt. Answers whether it did.
    pub async fn resume_sync(&self, id: Uuid) -> Result<bool> {
        Ok(!self.writer.write(Order::Resume { id: Some(id), integration: None }).await?.is_empty())
    }

    /// Sends on the syncs that wait for a person: those of an integration, or all.
    pub async fn resume_syncs(&self, integration: Option<&str>) -> Result<usize> {
        let order = Order::Resume { id: None, integration: integration.map(str::to_owned) };
        Ok(self.writer.write(order).await?.len())
    }

    pub async fn sync(&self, id: Uuid) -> Result<Option<Sync>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM syncs WHERE id = $1"), list![id]).await
    }

    /// Newest first, those made before that time; of a connection, or all.
    pub async fn syncs(&self, of: Option<(&str, &str)>, before: Option<(i64, Uuid)>, limit: i64) -> Result<Vec<Sync>> {
        let (integration, connection) = of.unzip();
        let (at, id) = before.unwrap_or((i64::MAX, Uuid::max()));
        let sql = format!(
            "SELECT {COLUMNS} FROM syncs WHERE ($1 IS NULL OR integration = $1) AND ($2 IS NULL OR connection = $2) \
             AND (created_at < $3 OR created_at = $3 AND id < $4) ORDER BY created_at DESC, id DESC LIMIT $5"
        );
        self.engine.read(sql, list![integration, connection, at, id, limit]).await
    }

    /// Those that have not ended, the oldest first.
    pub async fn open_syncs(&self, limit: i64) -> Result<Vec<Sync>> {
        let sql = format!("SELECT {COLUMNS} FROM syncs WHERE {OPEN} ORDER BY created_at, id LIMIT $1");
        self.engine.read(sql, list![limit]).await
    }

    /// What became of records in a sync, by record, after that one; those with an outcome, or all.
    pub async fn sync_items(
        &self,
        sync: Uuid,
        outcome: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<SyncItem>> {
        let only = match outcome {
            None => "AND $3 IS NULL",
            // They have codes: an index is of those alone.
            Some("failed" | "unknown") => "AND outcome = $3 AND code IS NOT NULL",
            Some(_) => "AND outcome = $3",
        };
        let sql = format!(
            "SELECT record_id, change, outcome, remote_id, code, error, at FROM sync_items WHERE sync_id = $1 \
             AND record_id > $2 {only} ORDER BY record_id LIMIT $4"
        );
        self.engine.read(sql, list![sync, after.unwrap_or_default(), outcome, limit]).await
    }

    /// How many records of a sync failed, by the reason.
    pub async fn sync_codes(&self, sync: Uuid) -> Result<Vec<(String, i64)>> {
        let sql =
            "SELECT code, COUNT(*) FROM sync_items WHERE sync_id = $1 AND code IS NOT NULL GROUP BY code ORDER BY code";
        self.engine.read(sql, list![sync]).await
    }
}
