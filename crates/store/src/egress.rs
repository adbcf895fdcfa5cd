//! The ledger of what went out. Nobody waits for it.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    writer::Write,
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Egress {
    pub at: i64,
    pub integration: Option<String>,
    pub connection: Option<String>,
    pub task_id: Option<Uuid>,
    pub method: String,
    pub host: String,
    /// Without the query.
    pub path: String,
    pub status: Option<i64>,
    pub error: Option<String>,
    pub sent_bytes: i64,
    pub received_bytes: i64,
    pub duration_ms: i64,
}

record!(Egress {
    at,
    integration,
    connection,
    task_id,
    method,
    host,
    path,
    status,
    error,
    sent_bytes,
    received_bytes,
    duration_ms
});

const COLUMNS: &str =
    "at, integration, connection, task_id, method, host, path, status, error, sent_bytes, received_bytes, duration_ms";

impl Write for Egress {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let rows = group
            .iter()
            .map(|e| {
                list![
                    e.at,
                    &e.integration,
                    &e.connection,
                    e.task_id,
                    &e.method,
                    &e.host,
                    &e.path,
                    e.status,
                    &e.error,
                    e.sent_bytes,
                    e.received_bytes,
                    e.duration_ms,
                ]
            })
            .collect();
        connection.run_rows(&format!("INSERT INTO egress ({COLUMNS}) VALUES"), rows, "").await?;
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// Answers false when the writer is so far behind that the row was let go.
    pub fn note_egress(&self, egress: Egress) -> bool {
        self.writer.leave(egress)
    }

    /// What went out, newest first: before a time, for an integration, for a task. What went out at the same microsecond
    /// stays together, so that a time says where the rest begins: there may be a few more than `limit`.
    pub async fn egress(
        &self,
        before: Option<i64>,
        integration: Option<&str>,
        task: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Egress>> {
        let wanted = "at < $1 AND ($2 IS NULL OR integration = $2) AND ($3 IS NULL OR task_id = $3)";
        let sql = format!(
            "SELECT {COLUMNS} FROM egress WHERE {wanted} AND at >= COALESCE((SELECT MIN(e.at) FROM \
             (SELECT at FROM egress WHERE {wanted} ORDER BY at DESC LIMIT $4) e), 0) ORDER BY at DESC"
        );
        self.engine.read(sql, list![before.unwrap_or(i64::MAX), integration, task, limit]).await
    }

    /// What went out for a task, oldest first.
    pub async fn egress_of(&self, task: Uuid) -> Result<Vec<Egress>> {
        self.engine.read(format!("SELECT {COLUMNS} FROM egress WHERE task_id = $1 ORDER BY at"), list![task]).await
    }
}
