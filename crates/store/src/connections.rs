//! What the last test of a connection said.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};

#[derive(Debug, Clone)]
pub struct Health {
    pub integration: String,
    pub connection: String,
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub account: Option<String>,
    pub depth: Option<String>,
    pub checked_at: i64,
}

record!(Health { integration, connection, code, message, hint, account, depth, checked_at });

impl Write for Health {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for health in group {
            let sql = "INSERT INTO connections (integration, connection, code, message, hint, account, depth, checked_at) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (integration, connection) DO UPDATE SET \
                       code = excluded.code, message = excluded.message, hint = excluded.hint, \
                       account = COALESCE(excluded.account, connections.account), depth = excluded.depth, checked_at = excluded.checked_at";
            let args = list![
                &health.integration,
                &health.connection,
                &health.code,
                &health.message,
                &health.hint,
                &health.account,
                &health.depth,
                now()
            ];
            connection.run(sql, args).await?;
            answers.push(Ok(()));
        }
        Ok(answers)
    }
}

impl Store {
    pub async fn put_health(&self, health: Health) -> Result<()> {
        self.writer.write(health).await
    }

    pub async fn healths(&self) -> Result<Vec<Health>> {
        let sql = "SELECT integration, connection, code, message, hint, account, depth, checked_at FROM connections";
        self.engine.read(sql, list![]).await
    }
}
