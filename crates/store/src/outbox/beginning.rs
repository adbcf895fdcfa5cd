//! Beginnings of answers that are still being written: rows of part 0, which stand before those of the answer.

use super::{COLUMNS, NewOutbox, OutboxRow, insert_all};
use crate::{
    Error, Result,
    engine::{Connection, list},
    now,
    writer::{Bell, Write},
};
use uuid::Uuid;

/// What is shown instead of a beginning when there will be no answer.
pub const BROKEN_OFF: &str = "This answer was not finished.";

pub(super) struct Begin {
    pub worker: i64,
    pub attempt: i64,
    pub row: NewOutbox,
}

impl Write for Begin {
    type Answer = Uuid;
    const WAKES: &'static [Bell] = &[Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Uuid>>> {
        let mut answers = Vec::new();
        for begin in group {
            answers.push(begin.once(connection).await?);
        }
        Ok(answers)
    }
}

impl Begin {
    async fn once(&self, connection: &mut Connection) -> Result<Result<Uuid>> {
        let row = &self.row;
        let hold = connection.dialect().hold();
        let sql = format!(
            "SELECT t.id FROM tasks t WHERE t.id = $1 AND t.worker = $2 AND t.attempt = $3 AND t.status = 'running'{hold}"
        );
        let task: Option<(Uuid,)> = connection.first(sql, list![row.task_id, self.worker, self.attempt]).await?;
        if task.is_none() {
            return Ok(Err(Error::Fenced));
        }
        let sql = "SELECT id FROM outbox WHERE task_id = $1 AND target = $2 AND part = 0 LIMIT 1";
        let begun: Option<(Uuid,)> = connection.first(sql, list![row.task_id, &row.target]).await?;
        if let Some((id,)) = begun {
            return Ok(Ok(id));
        }
        insert_all(&[row], connection, now()).await?;
        Ok(Ok(row.id))
    }
}

/// No half sentence stands as if it were the answer: where a task that is over has shown a beginning and has no answer for
/// that target, a row says so in its place.
pub(crate) async fn take_back(task: Uuid, answers: &[NewOutbox], connection: &mut Connection, time: i64) -> Result<()> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox WHERE task_id = $1 AND part = 0 AND state IN ('pending', 'sending', 'sent')"
    );
    let begun: Vec<OutboxRow> = connection.all(sql, list![task]).await?;
    let begun = begun.into_iter().filter(|row| answers.iter().all(|answer| answer.target != row.target));
    let rows: Vec<NewOutbox> = begun.map(instead).collect();
    insert_all(&rows.iter().collect::<Vec<_>>(), connection, time).await
}

fn instead(row: OutboxRow) -> NewOutbox {
    NewOutbox {
        id: Uuid::now_v7(),
        target: row.target,
        task_id: row.task_id,
        session_id: row.session_id,
        bot_id: row.bot_id,
        dispatch_type: row.dispatch_type,
        sealed_target: row.sealed_target,
        text: BROKEN_OFF.into(),
        part: 0,
        parts: 0,
        hops: row.hops as u32,
        rehearse: row.rehearse,
        expires_at: row.expires_at,
    }
}
