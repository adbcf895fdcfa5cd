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
    /// The key of a value, and what it has to be.
    only_if: Option<(String, String)>,
    values: Vec<NewSetting>,
}

impl Change {
    async fn may_be_made(&self, connection: &mut Connection) -> Result<bool> {
        let Some((key, expected)) = &self.only_if else { return Ok(true) };
        let sql = "SELECT value FROM settings WHERE integration = $1 AND connection = $2 AND key = $3";
        let there = connection.first::<(String,)>(sql, list![&self.integration, &self.connection, key]).await?;
        Ok(there.is_some_and(|(value,)| value == *expected))
    }
}

impl Write for Change {
    /// Whether it was made.
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for change in group {
            if !change.may_be_made(connection).await? {
                answers.push(Ok(false));
                continue;
            }
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
            answers.push(Ok(true));
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

    /// A value as it is stored now.
    pub async fn setting(&self, integration: &str, connection: &str, key: &str) -> Result<Option<String>> {
        let sql = "SELECT value FROM settings WHERE integration = $1 AND connection = $2 AND key = $3";
        let rows = self.engine.read::<(String,)>(sql, list![integration, connection, key]).await?;
        Ok(rows.into_iter().next().map(|(value,)| value))
    }

    /// Sets and removes values of one connection, all or none.
    pub async fn put_settings<T: Into<NewSetting>>(
        &self,
        integration: &str,
        connection: &str,
        values: Vec<T>,
    ) -> Result<()> {
        self.change_settings(integration, connection, None, values).await.map(drop)
    }

    /// The same while the value of a key is still this one, as it is stored. Answers whether it was.
    pub async fn put_settings_if<T: Into<NewSetting>>(
        &self,
        integration: &str,
        connection: &str,
        (key, value): (&str, &str),
        values: Vec<T>,
    ) -> Result<bool> {
        self.change_settings(integration, connection, Some((key.into(), value.into())), values).await
    }

    async fn change_settings<T: Into<NewSetting>>(
        &self,
        integration: &str,
        connection: &str,
        only_if: Option<(String, String)>,
        values: Vec<T>,
    ) -> Result<bool> {
        let values = values.into_iter().map(T::into).collect();
        let change = Change { integration: integration.into(), connection: connection.into(), only_if, values };
        self.writer.write(change).await
    }

    /// Forgets earlier values that do not count any more.
    pub async fn forget_earlier(&self) -> Result<u64> {
        self.writer.write(ForgetEarlier).await
    }
}
