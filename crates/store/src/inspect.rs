//! Looking at a database from outside: nothing is written, whether a server runs on it or not.

use crate::{
    Error, Health, Notice, Overview, Provider, Result, Setting,
    engine::{self, Connection, list},
    left_out, overview,
    seal::KEY_ID,
};
use secrecy::SecretString;
use std::path::Path;

const PROVIDERS: &str =
    "SELECT id, kind, base_url, sealed_api_key, models, defaults, updated_at FROM providers ORDER BY id";

// As every version has them.
const SETTINGS: &str = "SELECT integration, connection, key, value, CAST(NULL AS TEXT) AS sealed_earlier, \
                        CAST(NULL AS BIGINT) AS earlier_until FROM settings";
const HEALTHS: &str = "SELECT integration, connection, code, message, hint, account, depth, \
                       CAST(NULL AS BIGINT) AS http_status, CAST(NULL AS BIGINT) AS latency_ms, FALSE AS insisted, \
                       CAST(0 AS BIGINT) AS failures, CAST(NULL AS BIGINT) AS failing_since, checked_at \
                       FROM connections ORDER BY integration, connection";

/// What can be told of a database without being its server.
#[derive(Debug)]
pub struct Inspection {
    /// Number of the newest migration.
    pub schema: i64,
    pub settings: Vec<Setting>,
    pub healths: Vec<Health>,
    /// Open ones, newest first.
    pub notices: Vec<Notice>,
    /// When the latest process began, and when it ended in order.
    pub latest: Option<(i64, Option<i64>)>,
    /// Bytes of each table with its indexes, the largest first.
    pub tables: Vec<(String, i64)>,
    /// Absent for a database of an earlier version.
    pub overview: Option<Overview>,
    /// Those that were made by the API; of an earlier version, none.
    pub providers: Vec<Provider>,
    /// The key that the database was first used with, by its id.
    pub key: Option<String>,
    /// Rows with secrets that another key has sealed, by table.
    pub sealed_otherwise: Vec<(&'static str, i64)>,
    /// Bytes inside the file of an embedded database that new rows will use.
    pub free: i64,
}

/// Reads the database of a data directory, all of it once; `None` when there is none yet. The key in use is given by its id,
/// or is empty when there is none.
///
/// # Errors
/// `Unusable` for a file that is damaged, foreign, newer than this program, or cannot be read.
pub async fn inspect(directory: &Path, key: &str) -> Result<Option<Inspection>> {
    let file = directory.join("tercel.db");
    match std::fs::metadata(&file) {
        Ok(metadata) if metadata.len() > 0 => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Unusable(format!("The database {} cannot be read: {error}", file.display()))),
    }
    look_around(Connection::Sqlite(engine::sqlite::look(&file).await?), key).await
}

/// The same for a PostgreSQL database.
///
/// # Errors
/// `Unusable` when it does not answer or does not let us in, is foreign, or newer than this program.
pub async fn inspect_postgres(url: &SecretString, key: &str) -> Result<Option<Inspection>> {
    look_around(engine::postgres::look(engine::postgres::Address::parse(url)?).await?, key).await
}

async fn look_around(mut connection: Connection, key: &str) -> Result<Option<Inspection>> {
    let sql = connection.dialect().either(
        "SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'",
        "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '_sqlx_migrations'",
    );
    if connection.first(sql, list![]).await? == Some((0_i64,)) {
        return Ok(None);
    }
    let schema = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations";
    let (schema,): (i64,) = connection.first(schema, list![]).await?.unwrap_or_default();
    let (sqlite, postgres) = crate::retention::SIZES;
    let tables = connection.dialect().either(sqlite, postgres);
    let free = match &connection {
        Connection::Sqlite(_) => "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size",
        Connection::Postgres(_) => "SELECT 0::BIGINT",
    };
    let inspection = Inspection {
        schema,
        overview: match schema < crate::snapshot::newest_schema() {
            true => None,
            false => Some(overview::of(&mut connection).await?),
        },
        providers: match schema < crate::snapshot::newest_schema() {
            true => Vec::new(),
            false => connection.all(PROVIDERS, list![]).await?,
        },
        key: connection
            .first::<(String,)>("SELECT value FROM server_settings WHERE key = $1", list![KEY_ID])
            .await?
            .map(|(key,)| key),
        // An earlier version has other columns.
        sealed_otherwise: match schema < crate::snapshot::newest_schema() {
            true => Vec::new(),
            false => left_out::sealed_otherwise(&mut connection, key).await?,
        },
        tables: connection.all(tables, list![]).await?,
        free: connection.first::<(i64,)>(free, list![]).await?.unwrap_or_default().0,
        settings: connection.all(SETTINGS, list![]).await?,
        healths: connection.all(HEALTHS, list![]).await?,
        notices: connection
            .all(
                "SELECT id, key, severity, title, detail, repair, count, first_at, last_at, closed_at FROM notices \
                 WHERE closed_at IS NULL ORDER BY id DESC",
                list![],
            )
            .await?,
        latest: connection
            .first("SELECT started_at, stopped_at FROM workers ORDER BY id DESC LIMIT 1", list![])
            .await?,
    };
    connection.close().await?;
    Ok(Some(inspection))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DirectoryLock, NewNotice, Store};

    #[tokio::test]
    async fn a_database_can_be_looked_at_while_and_after_its_server_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(inspect(path, "").await.unwrap().is_none(), "there is none yet");
        assert!(!path.join("tercel.db").exists(), "looking makes none");

        let lock = DirectoryLock::take(path).unwrap();
        let store = Store::open(&lock, path).await.unwrap();
        store.put_settings("one", "default", vec![("token".into(), Some("sealed".into()))]).await.unwrap();
        let notice =
            NewNotice { key: "k".into(), severity: "error", title: "T".into(), detail: "D".into(), repair: None };
        store.raise(notice).await.unwrap();
        let running = inspect(path, "").await.unwrap().unwrap();
        assert_eq!((running.settings.len(), running.notices.len(), running.healths.len()), (1, 1, 0));
        assert!(matches!(running.latest, Some((_, None))) && running.schema > 0);

        store.close().await;
        let before = std::fs::read(path.join("tercel.db")).unwrap();
        let stopped = inspect(path, "").await.unwrap().unwrap();
        assert!(matches!(stopped.latest, Some((began, Some(ended))) if began <= ended));
        assert_eq!(std::fs::read(path.join("tercel.db")).unwrap(), before, "looking changes nothing");
    }

    #[tokio::test]
    async fn what_is_no_database_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("tercel.db"),
            "not a database, but long enough to look like a page".repeat(100),
        )
        .unwrap();
        let said = inspect(directory.path(), "").await.unwrap_err().to_string();
        assert!(said.contains("tercel.db") && said.contains("Nothing was changed"), "{said}");
    }
}
