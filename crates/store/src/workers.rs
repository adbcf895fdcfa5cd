//! Who writes: one row per process that ever ran on this database.

use crate::{
    Result, Store,
    engine::{Connection, list},
    now,
    writer::Write,
};

/// The time between the end of the process before this one and the start of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownTime {
    /// When it stopped, or was last seen.
    pub from: i64,
    pub to: i64,
    /// It said that it stops.
    pub orderly: bool,
}

/// Enters a new worker and frees what earlier ones left in the middle. Answers the worker's number, and how long there
/// was none.
pub(crate) async fn enter(connection: &mut Connection) -> Result<(i64, Option<DownTime>)> {
    connection.begin().await?;
    let entered = async {
        let time = now();
        let last: Option<(i64, Option<i64>)> =
            connection.first("SELECT seen_at, stopped_at FROM workers ORDER BY id DESC LIMIT 1", list![]).await?;
        let down = last.map(|(seen, stopped)| DownTime {
            from: stopped.unwrap_or(seen).min(time),
            to: time,
            orderly: stopped.is_some(),
        });
        let (worker,): (i64,) = connection
            .first("INSERT INTO workers (started_at, seen_at) VALUES ($1, $1) RETURNING id", list![time])
            .await?
            .ok_or_else(|| crate::Error::Unusable("The database does not answer".into()))?;
        free(connection, worker, time).await?;
        Ok((worker, down))
    }
    .await;
    match entered {
        Ok(entered) => {
            connection.commit().await?;
            Ok(entered)
        }
        Err(error) => {
            let _ = connection.rollback().await;
            Err(error)
        }
    }
}

/// Frees what others hold: this worker has the lock of the database, so that they are gone.
async fn free(connection: &mut Connection, worker: i64, time: i64) -> Result<()> {
    let sql = "UPDATE tasks SET status = 'pending', worker = NULL WHERE status = 'running' AND worker <> $1";
    connection.run(sql, list![worker]).await?;
    let sql = "UPDATE outbox SET state = 'pending', unknown = TRUE, worker = NULL, next_at = $2 \
               WHERE state = 'sending' AND worker <> $1";
    connection.run(sql, list![worker, time]).await?;
    crate::syncs::free(connection, worker, time).await?;
    let sql = "UPDATE deliveries SET state = 'received' WHERE state IN ('received', 'processing')";
    connection.run(sql, list![]).await.map(drop)
}

/// After the lock was lost and taken again: another server may have been here meanwhile.
pub(crate) async fn take_over(connection: &mut Connection, worker: i64) -> Result<()> {
    connection.begin().await?;
    free(connection, worker, now()).await?;
    // Done twice it is the same: its COMMIT has no number, so that it is not taken for that of the writes before it.
    connection.run("COMMIT", list![]).await.map(drop)
}

pub(crate) async fn leave(connection: &mut Connection, worker: i64) -> Result<()> {
    connection.run("UPDATE workers SET stopped_at = $2 WHERE id = $1", list![worker, now()]).await.map(drop)
}

/// A write that changes nothing anybody reads: it shows whether the database takes one.
struct Seen(i64);

impl Write for Seen {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        connection.run("UPDATE workers SET seen_at = $2 WHERE id = $1", list![group[0].0, now()]).await?;
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// How long no process was there before this one; nothing for the first.
    pub fn down_time(&self) -> Option<DownTime> {
        self.down
    }

    /// Leaves a sign that this process is there. Nobody waits for it.
    pub fn is_here(&self) {
        self.writer.leave(Seen(self.worker));
    }

    /// Whether the database took nothing of what it was given last. Asking leaves a write that finds out whether it
    /// does again.
    pub fn is_refused(&self) -> bool {
        let refused = self.writer.is_refused();
        if refused && self.writer.lag().is_zero() {
            self.writer.leave(Seen(self.worker));
        }
        refused
    }

    /// Whether the embedded database was found damaged since the start: what can be read and written still is, until a
    /// backup is restored.
    pub fn is_damaged(&self) -> bool {
        self.engine.is_damaged() || self.writer.is_damaged()
    }
}
