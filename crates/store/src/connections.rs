//! What tests of connections said: the last one, and how that came.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};

/// The connection that every integration has.
const DEFAULT: &str = "default";
/// Rows of the history of one connection that are kept.
const KEPT: i64 = 100;

/// What the last test of a connection said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    pub integration: String,
    pub connection: String,
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub account: Option<String>,
    pub depth: Option<String>,
    pub http_status: Option<i64>,
    pub latency_ms: Option<i64>,
    /// Somebody saved the values though their test had failed, and no test has passed since.
    pub insisted: bool,
    /// In a row.
    pub failures: i64,
    /// Absent when the last test passed.
    pub failing_since: Option<i64>,
    pub checked_at: i64,
}

record!(Health {
    integration,
    connection,
    code,
    message,
    hint,
    account,
    depth,
    http_status,
    latency_ms,
    insisted,
    failures,
    failing_since,
    checked_at,
});

const COLUMNS: &str = "integration, connection, code, message, hint, account, depth, http_status, latency_ms, \
                       insisted, failures, failing_since, checked_at";

/// A time in which all tests said the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// From 1, per connection.
    pub n: i64,
    pub code: String,
    /// Of the last test, as the rest.
    pub message: String,
    pub hint: Option<String>,
    pub account: Option<String>,
    pub http_status: Option<i64>,
    pub since: i64,
    pub last_at: i64,
    pub tests: i64,
}

record!(Span { n, code, message, hint, account, http_status, since, last_at, tests });

/// A test that has ended.
#[derive(Debug, Clone, Default)]
pub struct Tested {
    pub integration: String,
    pub connection: String,
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub account: Option<String>,
    pub depth: Option<String>,
    pub http_status: Option<i64>,
    pub latency_ms: Option<i64>,
    pub saved: Saved,
}

/// Whether the values were saved with this test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Saved {
    /// They were there before.
    #[default]
    Before,
    Now,
    /// Though it failed.
    OnInsistence,
}

impl Tested {
    /// What has no values waits for them, and where there is no test nothing was found out.
    fn failed(&self) -> bool {
        !["ok", "not_configured", "unsupported"].contains(&self.code.as_str())
    }

    /// A test that ends when its connection was forgotten must not bring it back.
    async fn is_there(&self, connection: &mut Connection) -> Result<bool> {
        if self.saved != Saved::Before || self.connection == DEFAULT {
            return Ok(true);
        }
        let sql = "SELECT key FROM settings WHERE integration = $1 AND connection = $2 LIMIT 1";
        let setting = connection.first::<(String,)>(sql, list![&self.integration, &self.connection]).await?;
        Ok(setting.is_some())
    }

    fn health(&self, before: Option<&Health>) -> Health {
        let (before, time) = (before.filter(|_| self.saved == Saved::Before), now());
        Health {
            integration: self.integration.clone(),
            connection: self.connection.clone(),
            code: self.code.clone(),
            message: self.message.clone(),
            hint: self.hint.clone(),
            // Whose it is does not change because the service is away.
            account: self.account.clone().or_else(|| before.filter(|_| self.failed())?.account.clone()),
            depth: self.depth.clone(),
            http_status: self.http_status,
            latency_ms: self.latency_ms,
            insisted: self.failed()
                && (self.saved == Saved::OnInsistence || before.is_some_and(|before| before.insisted)),
            failures: if self.failed() { before.map_or(0, |before| before.failures) + 1 } else { 0 },
            failing_since: self.failed().then(|| before.and_then(|before| before.failing_since).unwrap_or(time)),
            checked_at: time,
        }
    }
}

impl Write for Tested {
    /// What was known before, and what is known now; nothing of what is gone meanwhile.
    type Answer = Option<(Option<Health>, Health)>;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Self::Answer>>> {
        let mut answers = Vec::with_capacity(group.len());
        for tested in group {
            let sql = format!("SELECT {COLUMNS} FROM connections WHERE integration = $1 AND connection = $2");
            let before: Option<Health> = connection.first(sql, list![&tested.integration, &tested.connection]).await?;
            if before.is_none() && !tested.is_there(connection).await? {
                answers.push(Ok(None));
                continue;
            }
            let health = tested.health(before.as_ref());
            put(connection, &health).await?;
            remember(connection, &health).await?;
            answers.push(Ok(Some((before, health))));
        }
        Ok(answers)
    }
}

async fn put(connection: &mut Connection, health: &Health) -> Result<()> {
    let sql = format!(
        "INSERT INTO connections ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (integration, connection) DO UPDATE SET code = excluded.code, message = excluded.message, \
         hint = excluded.hint, account = excluded.account, depth = excluded.depth, \
         http_status = excluded.http_status, latency_ms = excluded.latency_ms, insisted = excluded.insisted, \
         failures = excluded.failures, failing_since = excluded.failing_since, checked_at = excluded.checked_at"
    );
    let args = list![
        &health.integration,
        &health.connection,
        &health.code,
        &health.message,
        &health.hint,
        &health.account,
        &health.depth,
        health.http_status,
        health.latency_ms,
        health.insisted,
        health.failures,
        health.failing_since,
        health.checked_at
    ];
    connection.run(sql, args).await.map(drop)
}

/// A test that says what the one before it said makes its row longer.
async fn remember(connection: &mut Connection, health: &Health) -> Result<()> {
    let (integration, name) = (&health.integration, &health.connection);
    let sql =
        "SELECT n, code FROM connection_history WHERE integration = $1 AND connection = $2 ORDER BY n DESC LIMIT 1";
    let last: Option<(i64, String)> = connection.first(sql, list![integration, name]).await?;
    let last_n = last.as_ref().map_or(0, |(n, _)| *n);
    if last.is_some_and(|(_, code)| code == health.code) {
        let sql = "UPDATE connection_history SET message = $4, hint = $5, account = $6, http_status = $7, last_at = $8, \
                   tests = tests + 1 WHERE integration = $1 AND connection = $2 AND n = $3";
        let args = list![
            integration,
            name,
            last_n,
            &health.message,
            &health.hint,
            &health.account,
            health.http_status,
            health.checked_at
        ];
        return connection.run(sql, args).await.map(drop);
    }
    let sql = "INSERT INTO connection_history (integration, connection, n, code, message, hint, account, http_status, \
               since, last_at, tests) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 1)";
    let args = list![
        integration,
        name,
        last_n + 1,
        &health.code,
        &health.message,
        &health.hint,
        &health.account,
        health.http_status,
        health.checked_at
    ];
    connection.run(sql, args).await?;
    let sql = "DELETE FROM connection_history WHERE integration = $1 AND connection = $2 AND n <= $3";
    connection.run(sql, list![integration, name, last_n + 1 - KEPT]).await.map(drop)
}

/// A connection with all that was set and found for it.
struct Forget {
    integration: String,
    connection: String,
}

impl Write for Forget {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        for forget in group {
            for sql in [
                "DELETE FROM settings WHERE integration = $1 AND connection = $2",
                "DELETE FROM connections WHERE integration = $1 AND connection = $2",
                "DELETE FROM connection_history WHERE integration = $1 AND connection = $2",
                "DELETE FROM polls WHERE integration = $1 AND connection = $2",
                "DELETE FROM gaps WHERE integration = $1 AND connection = $2",
                "DELETE FROM sync_settings WHERE integration = $1 AND connection = $2",
            ] {
                connection.run(sql, list![&forget.integration, &forget.connection]).await?;
            }
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// Keeps what a test said. Answers what was known before, and what is known now; nothing is kept of what is gone.
    pub async fn put_tested(&self, tested: Tested) -> Result<Option<(Option<Health>, Health)>> {
        self.writer.write(tested).await
    }

    pub async fn healths(&self) -> Result<Vec<Health>> {
        self.engine.read(format!("SELECT {COLUMNS} FROM connections"), list![]).await
    }

    /// What tests of a connection said, the latest first, before that row.
    pub async fn connection_history(
        &self,
        integration: &str,
        connection: &str,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Span>> {
        let sql = "SELECT n, code, message, hint, account, http_status, since, last_at, tests FROM connection_history \
                   WHERE integration = $1 AND connection = $2 AND n < $3 ORDER BY n DESC LIMIT $4";
        self.engine.read(sql, list![integration, connection, before.unwrap_or(i64::MAX), limit]).await
    }

    /// Forgets a connection: its values, what tests of it said, how far it was asked.
    pub async fn forget_connection(&self, integration: &str, connection: &str) -> Result<()> {
        self.writer.write(Forget { integration: integration.into(), connection: connection.into() }).await
    }
}
