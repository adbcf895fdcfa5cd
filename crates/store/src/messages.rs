//! What was said in a session.

use crate::{
    Result, Store, Task,
    engine::{Arg, Connection, list, record},
    now,
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Message {
    pub id: Uuid,
    pub session_id: Uuid,
    pub seq: i64,
    pub role: String,
    pub content: String,
    pub source: Option<String>,
    pub task_id: Option<Uuid>,
    pub delivery_id: Option<Uuid>,
    pub trusted: bool,
    pub hops: i64,
    /// JSON object.
    pub metadata: Option<String>,
    pub created_at: i64,
}

record!(Message {
    id,
    session_id,
    seq,
    role,
    content,
    source,
    task_id,
    delivery_id,
    trusted,
    hops,
    metadata,
    created_at
});

const COLUMNS: &str =
    "id, session_id, seq, role, content, source, task_id, delivery_id, trusted, hops, metadata, created_at";

pub(crate) async fn insert_all(rows: Vec<Vec<Arg>>, connection: &mut Connection) -> Result<()> {
    connection.run_rows(&format!("INSERT INTO messages ({COLUMNS}) VALUES"), rows, "").await
}

impl Store {
    /// The message, delivery or document that was stored under a key, while the key counts.
    pub async fn first_with(&self, key: &str) -> Result<Option<Uuid>> {
        let sql = "SELECT subject FROM dedupe WHERE key = $1 AND expires_at > $2";
        let row: Option<(Uuid,)> = self.engine.read_first(sql, list![key, now()]).await?;
        Ok(row.map(|(subject,)| subject))
    }

    /// The newest `limit` messages of a session that are older than `before`, oldest first.
    pub async fn messages(&self, session: Uuid, before: Option<i64>, limit: i64) -> Result<Vec<Message>> {
        let sql =
            format!("SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3");
        let mut messages: Vec<Message> =
            self.engine.read(sql, list![session, before.unwrap_or(i64::MAX), limit]).await?;
        messages.reverse();
        Ok(messages)
    }

    pub async fn message(&self, id: Uuid) -> Result<Option<Message>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM messages WHERE id = $1"), list![id]).await
    }

    /// What a run may see: all up to `context_seq` but the questions of others that came after its own, newest `limit`,
    /// oldest first. Its own question is always there, however many answers came while it waited.
    pub async fn context(&self, task: &Task, limit: i64) -> Result<Vec<Message>> {
        let seen = task.context_seq.unwrap_or(task.seq);
        let sql = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND seq <= $3 AND (seq <= $2 OR role <> 'user' OR task_id = $5) \
             ORDER BY seq DESC LIMIT $4"
        );
        let mut messages: Vec<Message> =
            self.engine.read(sql, list![task.session_id, task.seq, seen, limit, task.id]).await?;
        messages.reverse();
        if messages.iter().all(|message| message.id != task.message_id)
            && let Some(own) = self.message(task.message_id).await?
        {
            messages.insert(0, own);
        }
        Ok(messages)
    }
}
