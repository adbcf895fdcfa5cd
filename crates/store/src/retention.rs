//! What is let go once it is old, in pieces so small that nobody waits for them. What somebody still has to deal with
//! is kept however old it is.

use crate::{
    Result, Store,
    engine::{Connection, list},
    writer::Write,
};
use std::time::{Duration, Instant};

/// What can become too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Old {
    /// Bodies of webhook requests; what became of them stays.
    Bodies,
    /// Steps of tasks that ended. Task, question and answer stay.
    Steps,
    /// Answers that left or were given up, with their attempts.
    Answers,
    /// What repetitions were known by; the time is when each stops to count.
    Dedupe,
    /// The ledger of what went out.
    Egress,
    /// Closed notices.
    Notices,
    /// What hooks were told. What one that is enabled was not told yet stays.
    HookEvents,
}

impl Old {
    pub const ALL: [Self; 7] =
        [Self::Bodies, Self::Steps, Self::Answers, Self::Dedupe, Self::Egress, Self::Notices, Self::HookEvents];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bodies => "bodies",
            Self::Steps => "steps",
            Self::Answers => "answers",
            Self::Dedupe => "dedupe",
            Self::Egress => "egress",
            Self::Notices => "notices",
            Self::HookEvents => "hook_events",
        }
    }

    /// Table and column of the time that counts.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Bodies => ("deliveries", "received_at"),
            Self::Steps => ("tasks", "completed_at"),
            Self::Answers => ("outbox", "ended_at"),
            Self::Dedupe => ("dedupe", "expires_at"),
            Self::Egress => ("egress", "at"),
            Self::Notices => ("notices", "closed_at"),
            Self::HookEvents => ("hook_events", "created_at"),
        }
    }

    /// Rows of that table that are looked at in one write.
    fn piece(self) -> i64 {
        match self {
            Self::Steps => 20,
            Self::Bodies | Self::Answers => 100,
            Self::Dedupe | Self::Egress | Self::Notices | Self::HookEvents => 200,
        }
    }

    /// Removes what is old between two times, `$1` not included.
    fn statements(self) -> &'static [&'static str] {
        match self {
            Self::Bodies => &[
                "UPDATE deliveries SET body = NULL, sealed_request = NULL WHERE received_at > $1 AND received_at <= $2 AND body IS NOT NULL \
                   AND state IN ('processed', 'failed')",
            ],
            Self::Steps => &["DELETE FROM steps WHERE task_id IN (SELECT t.id FROM tasks t WHERE t.completed_at > $1 \
                 AND t.completed_at <= $2 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.task_id = t.id \
                 AND o.state IN ('pending', 'sending', 'held', 'parked', 'dead')))"],
            Self::Answers => &[
                "DELETE FROM attempts WHERE outbox_id IN (SELECT p.id FROM outbox p WHERE p.ended_at > $1 AND p.ended_at <= $2 \
                 AND p.state IN ('sent', 'withheld', 'dropped', 'expired') AND NOT EXISTS (SELECT 1 FROM outbox o \
                 WHERE o.task_id = p.task_id AND o.state IN ('pending', 'sending', 'held', 'parked', 'dead')))",
                "DELETE FROM outbox WHERE ended_at > $1 AND ended_at <= $2 \
                 AND state IN ('sent', 'withheld', 'dropped', 'expired') AND NOT EXISTS (SELECT 1 FROM outbox o \
                 WHERE o.task_id = outbox.task_id AND o.state IN ('pending', 'sending', 'held', 'parked', 'dead'))",
            ],
            Self::Dedupe => &["DELETE FROM dedupe WHERE expires_at > $1 AND expires_at <= $2"],
            Self::Egress => &["DELETE FROM egress WHERE at > $1 AND at <= $2"],
            Self::Notices => &["DELETE FROM notices WHERE closed_at > $1 AND closed_at <= $2"],
            Self::HookEvents => &["DELETE FROM hook_events WHERE created_at > $1 AND created_at <= $2 AND NOT EXISTS \
                 (SELECT 1 FROM hooks h WHERE h.enabled AND h.reached < hook_events.seq)"],
        }
    }
}

/// What one piece of work came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    pub rows: u64,
    /// Everything up to this time was looked at.
    pub upto: i64,
    /// There is more that is old.
    pub more: bool,
    /// How long the writer was held.
    pub held: Duration,
}

struct Prune {
    old: Old,
    after: i64,
    upto: i64,
}

impl Write for Prune {
    type Answer = (u64, Duration);

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<(u64, Duration)>>> {
        let mut answers = Vec::new();
        for prune in group {
            let begun = Instant::now();
            let mut rows = 0;
            for sql in prune.old.statements() {
                rows = connection.run(*sql, list![prune.after, prune.upto]).await?;
            }
            answers.push(Ok((rows, begun.elapsed())));
        }
        Ok(answers)
    }
}

impl Store {
    /// Removes one piece of what is older than `before` and later than `after`.
    pub async fn prune(&self, old: Old, after: i64, before: i64) -> Result<Pruned> {
        let (table, time) = old.place();
        // Looked up by a reader: the writer is held for the piece only.
        let sql = format!(
            "SELECT {time} FROM {table} WHERE {time} > $1 AND {time} < $2 ORDER BY {time} LIMIT 1 OFFSET {}",
            old.piece() - 1
        );
        let end: Option<(i64,)> = self.engine.read_first(sql, list![after, before]).await?;
        let upto = end.map_or(before - 1, |(end,)| end);
        let none = Pruned { rows: 0, upto, more: end.is_some(), held: Duration::ZERO };
        if end.is_none() {
            let sql = format!("SELECT {time} FROM {table} WHERE {time} > $1 AND {time} < $2 ORDER BY {time} LIMIT 1");
            if self.engine.read_first::<(i64,)>(sql, list![after, before]).await?.is_none() {
                return Ok(none);
            }
        }
        let (rows, held) = self.writer.write(Prune { old, after, upto }).await?;
        Ok(Pruned { rows, held, ..none })
    }

    /// Bytes that each table takes with its indexes, the largest first, and bytes that are free for new rows. Reads the
    /// whole of an embedded database.
    pub async fn table_sizes(&self) -> Result<Vec<(String, i64)>> {
        self.engine.read(self.engine.dialect().either(SIZES.0, SIZES.1), list![]).await
    }
}

/// On SQLite, on PostgreSQL.
pub(crate) const SIZES: (&str, &str) = (
    "SELECT tbl_name, SUM(pgsize) FROM dbstat JOIN sqlite_schema ON sqlite_schema.name = dbstat.name WHERE aggregate = TRUE \
     GROUP BY tbl_name ORDER BY 2 DESC",
    "SELECT c.relname::TEXT, pg_total_relation_size(c.oid) FROM pg_class c WHERE c.relkind = 'r' \
     AND c.relnamespace = current_schema()::REGNAMESPACE ORDER BY 2 DESC",
);
