//! Values of connections' fields. Secrets come here sealed.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};

#[derive(Debug, Clone, Default)]
pub struct Setting {
    pub integration: String,
    pub connection: String,
    /// Field key.
    pub key: String,
    pub value: String,
    /// The value before this one, and until when it counts besides.
    pub sealed_earlier: Option<String>,
    pub earlier_until: Option<i64>,
}

record!(Setting { integration, connection, key, value, sealed_earlier, earlier_until });

/// What becomes of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSetting {
    /// Field key.
    pub key: String,
    /// `None` removes it.
    pub value: Option<String>,
    /// The sealed value before it, and until when that counts besides.
    pub earlier: Option<(String, i64)>,
}

impl From<(String, Option<String>)> for NewSetting {
    fn from((key, value): (String, Option<String>)) -> Self {
        Self { key, value, earlier: None }
    }
}

struct Change {
    integration: String,
    connection: String,
    values: Vec<NewSetting>,
}

impl Write for Change {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for change in group {
            for NewSetting { key, value, earlier } in &change.values {
                match value {
                    Some(value) => {
                        let sql = "INSERT INTO settings (integration, connection, key, value, sealed_earlier, earlier_until, updated_at) \
                                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (integration, connection, key) DO UPDATE SET \
                                   value = excluded.value, sealed_earlier = excluded.sealed_earlier, \
                                   earlier_until = excluded.earlier_until, updated_at = excluded.updated_at";
                        let (earlier, until) = earlier.clone().unzip();
                        let args = list![&change.integration, &change.connection, key, value, earlier, until, now()];
                        connection.run(sql, args).await?
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

struct ForgetEarlier;

impl Write for ForgetEarlier {
    type Answer = u64;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<u64>>> {
        let sql = "UPDATE settings SET sealed_earlier = NULL, earlier_until = NULL WHERE earlier_until < $1";
        let count = connection.run(sql, list![now()]).await?;
        Ok(group.iter().map(|_| Ok(count)).collect())
    }
}

impl Store {
    pub async fn settings(&self) -> Result<Vec<Setting>> {
        let sql = "SELECT integration, connection, key, value, sealed_earlier, earlier_until FROM settings";
        self.engine.read(sql, list![]).await
    }

    /// Sets and removes values of one connection, all or none.
    pub async fn put_settings<T: Into<NewSetting>>(
        &self,
        integration: &str,
        connection: &str,
        values: Vec<T>,
    ) -> Result<()> {
        let values = values.into_iter().map(T::into).collect();
        self.writer.write(Change { integration: integration.into(), connection: connection.into(), values }).await
    }

    /// Forgets earlier values that do not count any more.
    pub async fn forget_earlier(&self) -> Result<u64> {
        self.writer.write(ForgetEarlier).await
    }
}
