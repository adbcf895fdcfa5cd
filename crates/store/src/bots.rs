//! Configured agents, as the API and the seed files define them.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};

#[derive(Debug, Clone)]
pub struct Bot {
    pub id: String,
    /// JSON object, the server's to understand.
    pub definition: String,
    pub updated_at: i64,
}

record!(Bot { id, definition, updated_at });

enum Change {
    Put { id: String, definition: String },
    Delete { id: String },
}

impl Write for Change {
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for change in group {
            let changed = match change {
                Self::Put { id, definition } => {
                    let sql = "INSERT INTO bots (id, definition, updated_at) VALUES ($1, $2, $3) \
                               ON CONFLICT (id) DO UPDATE SET definition = excluded.definition, updated_at = excluded.updated_at";
                    connection.run(sql, list![id, definition, now()]).await?
                }
                Self::Delete { id } => connection.run("DELETE FROM bots WHERE id = $1", list![id]).await?,
            };
            answers.push(Ok(changed > 0));
        }
        Ok(answers)
    }
}

impl Store {
    pub async fn bots(&self) -> Result<Vec<Bot>> {
        self.engine.read("SELECT id, definition, updated_at FROM bots ORDER BY id", list![]).await
    }

    pub async fn put_bot(&self, id: &str, definition: String) -> Result<()> {
        self.writer.write(Change::Put { id: id.into(), definition }).await.map(drop)
    }

    /// Answers whether there was one.
    pub async fn delete_bot(&self, id: &str) -> Result<bool> {
        self.writer.write(Change::Delete { id: id.into() }).await
    }
}
