//! Who writes: one row per process that ever ran on this database.

use crate::{
    Result, Store,
    engine::{Connection, list},
    now,
    writer::Write,
};

/// Enters a new worker and frees what earlier ones left in the middle. Answers the worker's number.
pub(crate) async fn enter(connection: &mut Connection) -> Result<i64> {
    connection.begin().await?;
    let entered = async {
        let time = now();
        let (worker,): (i64,) = connection
            .first("INSERT INTO workers (started_at, seen_at) VALUES ($1, $1) RETURNING id", list![time])
            .await?
            .ok_or_else(|| crate::Error::Unusable("The database does not answer".into()))?;
        free(connection, worker, time).await?;
        Ok(worker)
    }
    .await;
    match entered {
        Ok(worker) => {
            connection.commit().await?;
            Ok(worker)
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
    connection.run(sql, list![worker, time]).await.map(drop)
}

/// After the lock was lost and taken again: another server may have been here meanwhile.
pub(crate) async fn take_over(connection: &mut Connection, worker: i64) -> Result<()> {
    connection.begin().await?;
    free(connection, worker, now()).await?;
    connection.commit().await
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
    /// From when until when nobody was there before this process. Nothing for the first process of all.
    pub async fn last_down_time(&self) -> Result<Option<(i64, i64)>> {
        let sql = "SELECT COALESCE(e.stopped_at, e.seen_at), w.started_at FROM workers w \
                   JOIN workers e ON e.id = (SELECT MAX(id) FROM workers WHERE id < $1) WHERE w.id = $1";
        self.engine.read_first(sql, list![self.worker]).await
    }

    /// Notes that this process is there, so that a later one knows when it ended.
    pub fn beat(&self) {
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
}
