//! What the operator said about integrations, and what those had whose folder is gone.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    writer::Write,
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntegrationRow {
    pub id: String,
    pub disabled: bool,
    /// Hash of the one snapshot that may run.
    pub approved: Option<String>,
    /// JSON list of variables that its code reads, that nothing declares, and that the operator allowed.
    pub allowed: String,
    /// JSON: what it had when it was loaded last. Absent for what is native.
    pub known: Option<String>,
}

record!(IntegrationRow { id, disabled, approved, allowed, known });

struct Put(IntegrationRow);

impl Write for Put {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        for Self(row) in group {
            let sql = "INSERT INTO integrations (id, disabled, approved, allowed, known) VALUES ($1, $2, $3, $4, $5) \
                       ON CONFLICT (id) DO UPDATE SET disabled = excluded.disabled, approved = excluded.approved, \
                       allowed = excluded.allowed, known = excluded.known";
            let args = list![&row.id, row.disabled, &row.approved, &row.allowed, &row.known];
            connection.run(sql, args).await?;
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

struct Forget(String);

impl Write for Forget {
    type Answer = Vec<(&'static str, u64)>;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Self::Answer>>> {
        let mut answers = Vec::new();
        for Self(id) in group {
            let mut gone = Vec::new();
            for (table, sql) in [
                ("settings", "DELETE FROM settings WHERE integration = $1"),
                ("connections", "DELETE FROM connections WHERE integration = $1"),
                ("connection_history", "DELETE FROM connection_history WHERE integration = $1"),
                ("polls", "DELETE FROM polls WHERE integration = $1"),
                ("integrations", "DELETE FROM integrations WHERE id = $1"),
            ] {
                gone.push((table, connection.run(sql, list![id]).await?));
            }
            answers.push(Ok(gone));
        }
        Ok(answers)
    }
}

impl Store {
    pub async fn integration_rows(&self) -> Result<Vec<IntegrationRow>> {
        self.engine.read("SELECT id, disabled, approved, allowed, known FROM integrations ORDER BY id", list![]).await
    }

    pub async fn put_integration(&self, row: IntegrationRow) -> Result<()> {
        self.writer.write(Put(row)).await
    }

    /// Forgets what was set and found for an integration. Conversations, deliveries and documents stay. Answers how
    /// many rows of which tables are gone.
    pub async fn forget_integration(&self, id: &str) -> Result<Vec<(&'static str, u64)>> {
        self.writer.write(Forget(id.into())).await
    }
}
