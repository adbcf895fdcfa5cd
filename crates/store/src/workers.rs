//! Who writes: one row per process that ever ran on this database.

use crate::{
    Result,
    engine::{Connection, list},
    now,
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
        connection.run("UPDATE tasks SET status = 'pending', worker = NULL WHERE status = 'running'", list![]).await?;
        connection
            .run("UPDATE outbox SET state = 'pending', unknown = TRUE, worker = NULL, next_at = $1 WHERE state = 'sending'", list![time])
            .await?;
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

pub(crate) async fn leave(connection: &mut Connection, worker: i64) -> Result<()> {
    connection.run("UPDATE workers SET stopped_at = $2 WHERE id = $1", list![worker, now()]).await.map(drop)
}
