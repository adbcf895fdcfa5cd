//! Answers on their way out: one row per part, in order per target.

mod beginning;
mod leave;
mod order;
mod queue;

pub use beginning::BROKEN_OFF;
pub(crate) use beginning::take_back;
pub(crate) use queue::insert_all;

use crate::{
    Error, Result, Store,
    engine::{list, record},
};
use beginning::Begin;
use leave::{Claim, EndAttempt};
use order::Order;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct NewOutbox {
    pub id: Uuid,
    /// What rows that must keep their order have in common: dispatch type and address.
    pub target: String,
    pub task_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub bot_id: String,
    pub dispatch_type: String,
    /// JSON, secrets sealed.
    pub sealed_target: String,
    pub text: String,
    /// From 1; 0 is the beginning of an answer that is still being written, and what becomes of it when there is none.
    pub part: u32,
    pub parts: u32,
    pub hops: u32,
    pub rehearse: bool,
    pub expires_at: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct OutboxRow {
    pub id: Uuid,
    pub target: String,
    pub seq: i64,
    pub task_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub bot_id: String,
    pub dispatch_type: String,
    pub sealed_target: String,
    pub text: String,
    pub part: i64,
    pub parts: i64,
    pub hops: i64,
    pub rehearse: bool,
    pub state: String,
    pub attempts: i64,
    pub unknown: bool,
    pub next_at: i64,
    pub receipt: Option<String>,
    /// JSON of an `sdk::Error`.
    pub error: Option<String>,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub ended_at: Option<i64>,
}

record!(OutboxRow {
    id,
    target,
    seq,
    task_id,
    session_id,
    bot_id,
    dispatch_type,
    sealed_target,
    text,
    part,
    parts,
    hops,
    rehearse,
    state,
    attempts,
    unknown,
    next_at,
    receipt,
    error,
    created_at,
    expires_at,
    ended_at
});

#[derive(Debug, Clone)]
pub struct Attempt {
    pub outbox_id: Uuid,
    pub n: i64,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub outcome: Option<String>,
    pub error: Option<String>,
}

record!(Attempt { outbox_id, n, started_at, ended_at, outcome, error });

/// Rows that a worker now sends, and when the next one that is not yet due will be.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub rows: Vec<OutboxRow>,
    pub next_at: Option<i64>,
}

/// How an attempt ended. Errors are JSON of an `sdk::Error`.
#[derive(Debug, Clone)]
pub enum AttemptEnd {
    /// With the receipt, JSON.
    Sent(String),
    /// A rehearsal: shown, never sent.
    Withheld,
    /// To be tried again at that time.
    Retry {
        at: i64,
        error: String,
        unknown: bool,
    },
    /// Nobody knows whether it arrived, and nothing can tell.
    Held(String),
    /// Waits for a person to mend the connection.
    Parked(String),
    /// Will never work as it is.
    Dead(String),
    /// Not worth a further attempt, nor a person's time.
    Dropped {
        error: String,
        unknown: bool,
    },
    Expired,
}

impl AttemptEnd {
    /// State, outcome of the attempt, receipt, error.
    fn columns(&self) -> (&'static str, &'static str, Option<&String>, Option<&String>) {
        match self {
            Self::Sent(receipt) => ("sent", "sent", Some(receipt), None),
            Self::Withheld => ("withheld", "withheld", None, None),
            Self::Retry { error, unknown: false, .. } => ("pending", "not_sent", None, Some(error)),
            Self::Retry { error, unknown: true, .. } => ("pending", "unknown", None, Some(error)),
            Self::Held(error) => ("held", "unknown", None, Some(error)),
            Self::Parked(error) => ("parked", "not_sent", None, Some(error)),
            Self::Dead(error) => ("dead", "refused", None, Some(error)),
            Self::Dropped { error, unknown: false } => ("dropped", "not_sent", None, Some(error)),
            Self::Dropped { error, unknown: true } => ("dropped", "unknown", None, Some(error)),
            Self::Expired => ("expired", "not_sent", None, None),
        }
    }
}

const COLUMNS: &str = "id, target, seq, task_id, session_id, bot_id, dispatch_type, sealed_target, text, part, parts, hops, \
                       rehearse, state, attempts, unknown, next_at, receipt, error, created_at, expires_at, ended_at";

/// What has an index of its own: the few rows that wait for a person.
const STUCK: &str = "state IN ('held', 'parked', 'dead')";

impl Store {
    /// Takes rows that are due, first of their targets; each begins an attempt.
    pub async fn claim_outbox(&self, limit: i64) -> Result<Leaving> {
        self.claim_outbox_but(limit, Vec::new()).await
    }

    /// The same, without rows of these dispatch types.
    pub async fn claim_outbox_but(&self, limit: i64, but: Vec<String>) -> Result<Leaving> {
        self.writer.write(Claim { worker: self.worker, limit, but }).await
    }

    pub async fn end_attempt(&self, row: &OutboxRow, end: AttemptEnd) -> Result<()> {
        self.writer.write(EndAttempt { worker: self.worker, id: row.id, attempt: row.attempts, end }).await
    }

    /// Shows the beginning of an answer while its task runs. Answers the row, which is that of an earlier attempt of the task
    /// where there is one: it is shown once for each target.
    ///
    /// # Errors
    /// `Fenced` when the task is not held by this worker in that attempt.
    pub async fn begin_answer(&self, attempt: i64, row: NewOutbox) -> Result<Uuid> {
        self.writer.write(Begin { worker: self.worker, attempt, row }).await
    }

    /// # Errors
    /// `Conflict` when the row is on its way, was delivered or dropped.
    pub async fn retry_outbox(&self, id: Uuid, resolve: bool) -> Result<OutboxRow> {
        let rows = self.writer.write(Order::Retry { id, resolve }).await?;
        rows.into_iter().next().ok_or_else(|| {
            Error::Conflict("Only a row that is not on its way, delivered or dropped can be sent again".into())
        })
    }

    /// # Errors
    /// `Conflict` when the row is on its way, was delivered or dropped.
    pub async fn drop_outbox(&self, id: Uuid) -> Result<OutboxRow> {
        let rows = self.writer.write(Order::Drop { id }).await?;
        rows.into_iter().next().ok_or_else(|| {
            Error::Conflict("Only a row that is not on its way, delivered or dropped can be dropped".into())
        })
    }

    /// Answers how many rows go on.
    pub async fn unpark_outbox(&self, dispatch_type: &str) -> Result<usize> {
        Ok(self.writer.write(Order::Unpark { dispatch_type: dispatch_type.into() }).await?.len())
    }

    pub async fn outbox_row(&self, id: Uuid) -> Result<Option<OutboxRow>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM outbox WHERE id = $1"), list![id]).await
    }

    /// Newest first, older than the row `after`.
    pub async fn outbox(&self, state: Option<&str>, after: Option<Uuid>, limit: i64) -> Result<Vec<OutboxRow>> {
        let by_state = match state {
            None => "$1 IS NULL".to_owned(),
            Some("pending") => "state = 'pending' AND state = $1".to_owned(),
            Some("sending") => "state = 'sending' AND state = $1".to_owned(),
            Some("held" | "parked" | "dead") => format!("{STUCK} AND state = $1"),
            Some(_) => "state = $1".to_owned(),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM outbox WHERE {by_state} AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
        );
        self.engine.read(sql, list![state, after, limit]).await
    }

    /// The row that showed the beginning of what this one goes on with.
    pub async fn beginning_of(&self, row: &OutboxRow) -> Result<Option<OutboxRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM outbox WHERE task_id = $1 AND target = $2 AND part = 0 AND seq < $3 LIMIT 1"
        );
        self.engine.read_first(sql, list![row.task_id, &row.target, row.seq]).await
    }

    pub async fn outbox_of(&self, task: Uuid) -> Result<Vec<OutboxRow>> {
        self.engine.read(format!("SELECT {COLUMNS} FROM outbox WHERE task_id = $1 ORDER BY part"), list![task]).await
    }

    pub async fn attempts(&self, row: Uuid) -> Result<Vec<Attempt>> {
        let sql =
            "SELECT outbox_id, n, started_at, ended_at, outcome, error FROM attempts WHERE outbox_id = $1 ORDER BY n";
        self.engine.read(sql, list![row]).await
    }

    /// Which states that wait for a person rows of a dispatch type are in. Messages about notices do not count: a notice
    /// about them would be about itself.
    pub async fn stuck(&self, dispatch_type: &str) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT DISTINCT state FROM outbox WHERE {STUCK} AND dispatch_type = $1 AND target NOT LIKE 'notice:%'"
        );
        let rows: Vec<(String,)> = self.engine.read(sql, list![dispatch_type]).await?;
        Ok(rows.into_iter().map(|(state,)| state).collect())
    }

    /// Whether rows of a dispatch type have been tried and are to be tried again. Those about notices do not count.
    pub async fn is_tried_again(&self, dispatch_type: &str) -> Result<bool> {
        let sql = "SELECT CAST(1 AS BIGINT) FROM outbox WHERE state = 'pending' AND attempts > 0 AND dispatch_type = $1 \
                   AND target NOT LIKE 'notice:%' UNION ALL \
                   SELECT CAST(1 AS BIGINT) FROM outbox WHERE state = 'sending' AND attempts > 1 AND dispatch_type = $1 \
                   AND target NOT LIKE 'notice:%' LIMIT 1";
        Ok(self.engine.read_first::<(i64,)>(sql, list![dispatch_type]).await?.is_some())
    }

    /// Rows by state, and when the oldest pending one was made.
    pub async fn outbox_backlog(&self) -> Result<(Vec<(String, i64)>, Option<i64>)> {
        let sql = format!(
            "SELECT 'pending', COUNT(*) FROM outbox WHERE state = 'pending' UNION ALL \
             SELECT state, COUNT(*) FROM outbox WHERE {STUCK} GROUP BY state"
        );
        let counts = self.engine.read(sql, list![]).await?;
        let sql = "SELECT MIN(created_at) FROM outbox WHERE state = 'pending'";
        let oldest: Option<(Option<i64>,)> = self.engine.read_first(sql, list![]).await?;
        Ok((counts, oldest.and_then(|(at,)| at)))
    }
}
