//! The embedded database: one file in the data directory.

use super::{Connection, Engine, newer, not_migrated};
use crate::{Error, Result};
use sqlx::{
    ConnectOptions, Connection as _, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use std::{os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

/// Files up to this size are read whole before they are used: some hundredths of a second from memory.
const CHECKED_WHOLE: u64 = 64 << 20;

/// Answers the connection for writing, too.
///
/// # Errors
/// `Unusable` when the file is no database, is damaged, cannot be written, or has a newer schema.
pub(crate) async fn open(file: &Path) -> Result<(Engine, Connection)> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(256)
        .disable_statement_logging()
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-4096");
    let reading = options.clone().read_only(true);
    let size = make_private(file)?;
    if size > 0 {
        // By a connection that cannot write: closing another one could carry the log into a damaged file.
        let mut connection = SqliteConnection::connect_with(&reading).await.map_err(|e| unusable(file, e))?;
        check(&mut connection, file, size).await?;
        connection.close().await?;
    }
    let writing = options.pragma("journal_mode", "WAL").pragma("synchronous", "FULL");
    let mut connection = SqliteConnection::connect_with(&writing).await.map_err(|e| unusable(file, e))?;
    if let Some(copy) = crate::snapshot::before_migrating(&mut connection, file).await? {
        tracing::info!("The database is brought up to date; as it was before, it is kept as {}", copy.display());
    }
    migrate(&mut connection, file).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(4)
        .min_connections(0)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .connect_lazy_with(reading);
    Ok((Engine::Sqlite(readers), Connection::Sqlite(connection)))
}

/// Opens a database that another process may be writing, checks all of it and writes nothing.
///
/// # Errors
/// `Unusable` when the file is no database, is damaged, cannot be read, or has a newer schema.
pub(crate) async fn look(file: &Path) -> Result<Connection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(|e| unusable(file, e))?;
    check(&mut connection, file, 0).await?;
    Ok(Connection::Sqlite(connection))
}

/// Makes the file, if need be, so that nobody else can read it; SQLite gives its log the same rights. Answers its size.
fn make_private(file: &Path) -> Result<u64> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .and_then(|file| file.metadata())
        .map(|metadata| metadata.len())
        .map_err(|error| {
            Error::Unusable(format!(
                "The database {} cannot be written ({error}): check the owner and the rights of the file and its directory",
                file.display()
            ))
        })
}

/// A damaged, foreign or newer file is told apart from a good one before anything is written to it.
async fn check(connection: &mut SqliteConnection, file: &Path, size: u64) -> Result<()> {
    let failed = |error| unusable(file, error);
    if size <= CHECKED_WHOLE {
        let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(failed)?;
        let damage = row.try_get::<String, _>(0)?;
        if damage != "ok" {
            return Err(Error::Unusable(format!(
                "The database {} is damaged ({damage}). Nothing was changed. Restore a backup, or move the file away to start anew",
                file.display()
            )));
        }
    }
    let tables: Vec<(String,)> = sqlx::query_as("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    if tables.is_empty() {
        return Ok(());
    }
    if !tables.iter().any(|(name,)| name == "_sqlx_migrations") {
        return Err(Error::Unusable(format!(
            "The database {} belongs to another program. Nothing was changed. TERCEL_DATA_DIR names another directory",
            file.display()
        )));
    }
    let (version,): (Option<i64>,) =
        sqlx::query_as("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(connection).await.map_err(failed)?;
    match version {
        Some(version) if !MIGRATIONS.version_exists(version) => Err(newer(&file.display().to_string(), version)),
        _ => Ok(()),
    }
}

pub(crate) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

async fn migrate(connection: &mut SqliteConnection, file: &Path) -> Result<()> {
    match MIGRATIONS.run(connection).await {
        Ok(()) => Ok(()),
        Err(sqlx::migrate::MigrateError::VersionMissing(version)) => Err(newer(&file.display().to_string(), version)),
        Err(sqlx::migrate::MigrateError::Execute(error)) => Err(unusable(file, error)),
        Err(error) => Err(not_migrated(&file.display().to_string(), &error)),
    }
}

pub(crate) fn unusable(file: &Path, error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
    // Primary result codes of SQLite, https://sqlite.org/rescode.html; extended ones carry them in the low byte.
    let advice = match code.parse::<u32>().unwrap_or_default() & 0xff {
        8 => "it cannot be written: check the owner and the rights of the file and its directory",
        10 | 13 => "the disk is full or failing: free some space",
        11 | 26 => {
            "it is damaged or no database. Nothing was changed. Restore a backup, or move the file away to start anew"
        }
        14 => "it cannot be opened: check the rights of the file and its directory",
        5 | 6 => "another program has it locked: end that program",
        _ => "it cannot be used",
    };
    Error::Unusable(format!("The database {}: {advice} ({error})", file.display()))
}
