//! What an operator wants to know of a database at a glance: schedules, polls, models, its clock.

use crate::{
    Poll, Result,
    engine::{Connection, Dialect, list, record},
    now,
};
use uuid::Uuid;

const WEEK: i64 = 7 * 24;
const HOUR: i64 = 3_600_000_000;

#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// Those that are not paused, the next one first.
    pub schedules: Vec<Planned>,
    pub polls: Vec<Poll>,
    /// Models that were called in the last seven days.
    pub models: Vec<String>,
    /// Models that have a price.
    pub priced: Vec<String>,
    /// Whether a budget counts money.
    pub counts_money: bool,
    /// Integrations that are paused.
    pub paused: Vec<String>,
    /// Addresses that are told what happens.
    pub hooks: Vec<Listener>,
    /// Microseconds that the clock of the database is ahead of ours, where it has one.
    pub ahead: Option<i64>,
}

/// A schedule that is not paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub name: String,
    pub next_at: Option<i64>,
    /// How its last run stands.
    pub last_run: Option<String>,
}

/// How an address is told what happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    pub id: Uuid,
    pub url: String,
    pub enabled: bool,
    /// Why the server disabled it.
    pub stopped: Option<String>,
    /// Since when nothing gets through.
    pub failing_since: Option<i64>,
    pub next_at: i64,
    /// What went wrong last.
    pub error: Option<String>,
}

record!(Listener { id, url, enabled, stopped, failing_since, next_at, error });

pub(crate) async fn of(connection: &mut Connection) -> Result<Overview> {
    let schedules: Vec<(String, Option<i64>, Option<String>)> = connection
        .all(
            "SELECT name, next_at, (SELECT t.status FROM tasks t WHERE t.id = schedules.last_task) AS last_run \
             FROM schedules WHERE active ORDER BY next_at",
            list![],
        )
        .await?;
    let planned = |(name, next_at, last_run)| Planned { name, next_at, last_run };
    let models: Vec<(String,)> = connection
        .all(
            "SELECT DISTINCT scope FROM usage WHERE scope >= 'model:' AND scope < 'model;' AND hour >= $1 ORDER BY scope",
            list![now() / HOUR - WEEK],
        )
        .await?;
    let priced: Vec<(String,)> = connection.all("SELECT model FROM prices ORDER BY model", list![]).await?;
    let (money,): (i64,) =
        connection.first("SELECT COUNT(*) FROM budgets WHERE cost IS NOT NULL", list![]).await?.unwrap_or_default();
    Ok(Overview {
        schedules: schedules.into_iter().map(planned).collect(),
        polls: connection
            .all("SELECT integration, connection, name, bookmark, polled_at FROM polls ORDER BY 1, 2, 3", list![])
            .await?,
        models: models.into_iter().filter_map(|(scope,)| Some(scope.strip_prefix("model:")?.to_owned())).collect(),
        priced: priced.into_iter().map(|(model,)| model).collect(),
        counts_money: money > 0,
        paused: paused(connection).await?,
        hooks: connection
            .all(
                "SELECT id, url, enabled, stopped, failing_since, next_at, (SELECT error FROM hook_attempts \
                 WHERE hook_id = hooks.id AND error IS NOT NULL ORDER BY n DESC LIMIT 1) AS error FROM hooks ORDER BY id",
                list![],
            )
            .await?,
        ahead: ahead(connection).await?,
    })
}

async fn paused(connection: &mut Connection) -> Result<Vec<String>> {
    let sql = "SELECT value FROM server_settings WHERE key = 'integrations.paused'";
    let names: Option<(String,)> = connection.first(sql, list![]).await?;
    Ok(names.and_then(|(names,)| serde_json::from_str(&names).ok()).unwrap_or_default())
}

async fn ahead(connection: &mut Connection) -> Result<Option<i64>> {
    if connection.dialect() == Dialect::Sqlite {
        return Ok(None);
    }
    let before = now();
    let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
    let there: Option<(i64,)> = connection.first(sql, list![]).await?;
    // The answer was made somewhere in between.
    Ok(there.map(|(there,)| there - (before + (now() - before) / 2)))
}
