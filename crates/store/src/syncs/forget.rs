//! Forgetting what old syncs came to.

use crate::{
    Result, Store,
    engine::{Connection, list},
    writer::Write,
};
use uuid::Uuid;

/// Syncs of one connection that have ended and are kept.
const KEPT: i64 = 50;
/// Items that one commit forgets.
const PIECE: i64 = 1_000;

const OLD: &str = "SELECT id FROM syncs WHERE integration = $1 AND connection = $2 AND ended_at IS NOT NULL \
                   ORDER BY created_at DESC LIMIT 1 OFFSET $3";

struct Forget {
    integration: String,
    connection: String,
}

impl Write for Forget {
    /// Whether there is more.
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::with_capacity(group.len());
        for forget in group {
            answers.push(Ok(forget.some(connection).await?));
        }
        Ok(answers)
    }
}

impl Forget {
    async fn some(&self, connection: &mut Connection) -> Result<bool> {
        let old: Option<(Uuid,)> = connection.first(OLD, list![&self.integration, &self.connection, KEPT]).await?;
        let Some((id,)) = old else { return Ok(false) };
        let sql = "DELETE FROM sync_items WHERE sync_id = $1 AND record_id IN \
                   (SELECT record_id FROM sync_items WHERE sync_id = $1 ORDER BY record_id LIMIT $2)";
        if connection.run(sql, list![id, PIECE]).await? < PIECE as u64 {
            connection.run("DELETE FROM syncs WHERE id = $1", list![id]).await?;
        }
        Ok(true)
    }
}

impl Store {
    /// Forgets the syncs of a connection but the last ones, in commits that are short.
    pub async fn forget_old_syncs(&self, integration: &str, connection: &str) -> Result<()> {
        if self.engine.read_first::<(Uuid,)>(OLD, list![integration, connection, KEPT]).await?.is_none() {
            return Ok(());
        }
        let forget = || Forget { integration: integration.into(), connection: connection.into() };
        while self.writer.write(forget()).await? {}
        Ok(())
    }
}
