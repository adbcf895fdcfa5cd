//! Values of connections' fields. Secrets come here sealed.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};

#[derive(Debug, Clone)]
pub struct Setting {
    pub integration: String,
    pub connection: String,
    /// Field key.
    pub key: String,
    pub value: String,
}

record!(Setting { integration, connection, key, value });

struct Change {
    integration: String,
    connection: String,
    /// `None` removes the value.
    values: Vec<(String, Option<String>)>,
}

impl Write for Change {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for change in group {
            for (key, value) in &change.values {
                match value {
                    Some(value) => {
                        let sql = "INSERT INTO settings (integration, connection, key, value, updated_at) VALUES ($1, $2, $3, $4, $5) \
                                   ON CONFLICT (integration, connection, key) DO UPDATE SET value = excluded.value, \
                                   updated_at = excluded.updated_at";
                        connection.run(sql, list![&change.integration, &change.connection, key, value, now()]).await?
                    }
                    None => {
                        let sql = "DELETE FROM settings WHERE integration = $1 AND connection = $2 AND key = $3";
                        connection.run(sql, list![&change.integration, &change.connection, key]).await?
                    }
                };
            }
            answers.push(Ok(()));
        }
        Ok(answers)
    }
}

impl Store {
    pub async fn settings(&self) -> Result<Vec<Setting>> {
        self.engine.read("SELECT integration, connection, key, value FROM settings", list![]).await
    }

    /// Sets and removes (`None`) values of one connection, all or none.
    pub async fn put_settings(
        &self,
        integration: &str,
        connection: &str,
        values: Vec<(String, Option<String>)>,
    ) -> Result<()> {
        self.writer.write(Change { integration: integration.into(), connection: connection.into(), values }).await
    }
}
