//! Deliveries that code in a folder answers: stored before it is called, and what became of the call.

use crate::{
    Result, Store,
    engine::{Connection, list},
    writer::Write,
};
use uuid::Uuid;

/// Takes a delivery up, unless somebody has it or it is done.
struct Begin {
    id: Uuid,
    /// An operator wants one that is done processed again.
    again: bool,
}

impl Write for Begin {
    type Answer = Option<i64>;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Option<i64>>>> {
        let mut answers = Vec::new();
        for begin in group {
            let sql = "UPDATE deliveries SET state = 'processing', generation = generation + $2 \
                       WHERE id = $1 AND state <> 'processing' AND ($2 = 1 OR state <> 'processed') RETURNING generation";
            let row: Option<(i64,)> = connection.first(sql, list![begin.id, i64::from(begin.again)]).await?;
            answers.push(Ok(row.map(|(generation,)| generation)));
        }
        Ok(answers)
    }
}

/// How one processing of a delivery ended.
#[derive(Debug, Clone)]
pub struct Handled {
    pub id: Uuid,
    /// The one that was processed: a later one does not count as ended.
    pub generation: i64,
    /// `run`, `stored` or `reply`; absent when it failed.
    pub outcome: Option<&'static str>,
    pub reason: Option<String>,
    /// What the sender was answered.
    pub answer: Option<String>,
    /// Keys by which a repetition would be known: it shall be processed anew.
    pub released: Vec<String>,
}

impl Write for Handled {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        for end in group {
            let state = if end.outcome.is_some() { "processed" } else { "failed" };
            let sql = "UPDATE deliveries SET state = $3, outcome = $4, reason = $5, answer = $6 WHERE id = $1 AND generation = $2";
            let args = list![end.id, end.generation, state, end.outcome, &end.reason, &end.answer];
            connection.run(sql, args).await?;
            release(end.id, &end.released, connection).await?;
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

/// A request that the code refused: nothing of it stays.
struct Refuse {
    id: Uuid,
    released: Vec<String>,
}

impl Write for Refuse {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        for refuse in group {
            connection.run("DELETE FROM deliveries WHERE id = $1 AND generation = 1", list![refuse.id]).await?;
            release(refuse.id, &refuse.released, connection).await?;
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

async fn release(id: Uuid, keys: &[String], connection: &mut Connection) -> Result<()> {
    for key in keys {
        connection.run("DELETE FROM dedupe WHERE key = $1 AND subject = $2", list![key, id]).await?;
    }
    Ok(())
}

impl Store {
    /// The generation that is processed now; nothing when it is being processed or was processed already.
    pub async fn begin_delivery(&self, id: Uuid) -> Result<Option<i64>> {
        self.writer.write(Begin { id, again: false }).await
    }

    /// The same for one that may be done, as a new generation.
    pub async fn begin_delivery_again(&self, id: Uuid) -> Result<Option<i64>> {
        self.writer.write(Begin { id, again: true }).await
    }

    pub async fn end_delivery(&self, end: Handled) -> Result<()> {
        self.writer.write(end).await
    }

    /// Removes a delivery that was refused by what it was for.
    pub async fn refuse_delivery(&self, id: Uuid, released: Vec<String>) -> Result<()> {
        self.writer.write(Refuse { id, released }).await
    }

    /// Deliveries that were stored and not processed when the last process ended, the oldest first.
    pub async fn open_deliveries(&self, limit: i64) -> Result<Vec<(Uuid, String)>> {
        let sql = "SELECT id, integration FROM deliveries WHERE state IN ('received', 'processing') ORDER BY received_at LIMIT $1";
        self.engine.read(sql, list![limit]).await
    }
}
