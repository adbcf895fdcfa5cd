//! Opening the file: what cannot work is said before anything is changed.

use super::{BUSY, Readers, unusable};
use crate::{
    Error, Result,
    engine::{Connection, Engine, newer, not_migrated},
};
use rusqlite::{Connection as Sqlite, OpenFlags, config::DbConfig};
use std::{os::unix::fs::OpenOptionsExt, path::Path, time::Instant};

/// Files up to this size are read whole before they are used: some hundredths of a second from memory.
const CHECKED_WHOLE: u64 = 64 << 20;

pub(crate) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// What all of them come to. They alter tables, and each time SQLite reads all of the schema: one after the other they take
/// a new database ten milliseconds longer.
const SCHEMA: &str = include_str!("../../../migrations/sqlite.sql");

/// The table in which migrations are noted, as sqlx makes it on PostgreSQL.
const NOTES: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
     execution_time BIGINT NOT NULL)";

/// Answers the connection for writing, too.
///
/// # Errors
/// `Unusable` when the file is no database, is damaged, cannot be written, or has a newer schema.
pub(crate) async fn open(file: &Path) -> Result<(Engine, Connection)> {
    let file = file.to_owned();
    blocking(move || {
        let size = make_private(&file)?;
        if size > 0 {
            // By a connection that cannot write: closing another one could carry the log into a damaged file.
            let connection = connect_to_read(&file).map_err(|error| named(&file, error))?;
            check(&connection, &file, size)?;
        }
        let mut connection = connect_to_write(&file).map_err(|error| named(&file, error))?;
        if let Some(copy) = crate::snapshot::before_migrating(&connection, &file)? {
            tracing::info!("The database is brought up to date; as it was before, it is kept as {}", copy.display());
        }
        migrate(&mut connection, &file)?;
        Ok((Engine::Sqlite(Readers::new(file)), Connection::Sqlite(connection)))
    })
    .await
}

/// Opens a database that another process may be writing, checks all of it and writes nothing.
///
/// # Errors
/// `Unusable` when the file is no database, is damaged, cannot be read, or has a newer schema.
pub(crate) async fn look(file: &Path) -> Result<Sqlite> {
    let file = file.to_owned();
    blocking(move || {
        let connection = connect_to_read(&file).map_err(|error| named(&file, error))?;
        check(&connection, &file, 0)?;
        Ok(connection)
    })
    .await
}

/// On a thread that may wait for the disk.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Stopping))
}

pub(super) fn connect_to_read(file: &Path) -> Result<Sqlite> {
    let connection = connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -2048)?;
    Ok(connection)
}

fn connect_to_write(file: &Path) -> Result<Sqlite> {
    let connection = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "cache_size", -4096)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Pages that change often are carried over once: a checkpoint was a tenth of the work at 1,000 pages.
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection)
}

/// One thread uses a connection at a time: it needs no locks of its own.
pub(crate) fn connect(file: &Path, rights: OpenFlags) -> Result<Sqlite> {
    let connection = Sqlite::open_with_flags(file, rights | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(256);
    // Else some statements are planned anew for each value that is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

fn named(file: &Path, error: Error) -> Error {
    match error {
        Error::Sqlite(error) => unusable(file, &error),
        error => error,
    }
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
fn check(connection: &Sqlite, file: &Path, size: u64) -> Result<()> {
    let failed = |error| unusable(file, &error);
    if size <= CHECKED_WHOLE {
        let damage: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
        if damage != "ok" {
            return Err(Error::Unusable(format!(
                "The database {} is damaged ({damage}). Nothing was changed. Restore a backup, or move the file away to start anew",
                file.display()
            )));
        }
    }
    match schema(connection).map_err(failed)? {
        None if is_empty(connection).map_err(failed)? => Ok(()),
        None => Err(Error::Unusable(format!(
            "The database {} belongs to another program. Nothing was changed. TERCEL_DATA_DIR names another directory",
            file.display()
        ))),
        Some(version) if version > 0 && !MIGRATIONS.version_exists(version) => {
            Err(newer(&file.display().to_string(), version))
        }
        Some(_) => Ok(()),
    }
}

/// Number of the newest migration, 0 before the first; `None` when there was never one.
pub(crate) fn schema(connection: &Sqlite) -> rusqlite::Result<Option<i64>> {
    let noted = "SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    if connection.query_row(noted, (), |row| row.get::<_, i64>(0))? == 0 {
        return Ok(None);
    }
    connection.query_row("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations", (), |row| row.get(0)).map(Some)
}

fn is_empty(connection: &Sqlite) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')", (), |row| row.get(0))
}

/// Takes all steps to the newest schema at once, or none.
fn migrate(connection: &mut Sqlite, file: &Path) -> Result<()> {
    let failed = |error| unusable(file, &error);
    let transaction = connection.transaction().map_err(failed)?;
    let is_new = is_empty(&transaction).map_err(failed)?;
    transaction.execute_batch(NOTES).map_err(failed)?;
    if is_new {
        transaction.execute_batch(SCHEMA).map_err(failed)?;
    }
    for migration in MIGRATIONS.iter() {
        let noted = transaction
            .prepare("SELECT checksum FROM _sqlx_migrations WHERE version = ?1")
            .and_then(|mut statement| {
                let mut rows = statement.query([migration.version])?;
                rows.next()?.map(|row| row.get::<_, Vec<u8>>(0)).transpose()
            })
            .map_err(failed)?;
        match noted {
            Some(checksum) if checksum == *migration.checksum => continue,
            Some(_) => {
                let reason = format!("its migration {} is not the one of this program", migration.version);
                return Err(not_migrated(&file.display().to_string(), &reason));
            }
            None => {}
        }
        let begun = Instant::now();
        if !is_new {
            transaction.execute_batch(migration.sql.as_str()).map_err(failed)?;
        }
        transaction
            .execute(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (?1, ?2, TRUE, ?3, ?4)",
                (
                    migration.version,
                    &*migration.description,
                    &*migration.checksum,
                    begun.elapsed().as_nanos() as i64,
                ),
            )
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "-- Written by a test from the migrations, whose sum it is:\n\
                        -- UPDATE=1 cargo test -p tercel-store --lib a_new_database\n";

    fn made_by(statements: &[&str]) -> String {
        let connection = Sqlite::open_in_memory().unwrap();
        statements.iter().for_each(|statements| connection.execute_batch(statements).unwrap());
        // What a table for full-text search keeps in tables of its own is made with it, and some indexes with their tables.
        let all = "SELECT sql || ';' FROM sqlite_schema AS one WHERE sql IS NOT NULL AND name <> 'sqlite_sequence' \
                   AND NOT EXISTS (SELECT 1 FROM sqlite_schema AS whole WHERE whole.sql LIKE 'CREATE VIRTUAL TABLE%' \
                   AND one.name LIKE whole.name || '\\_%' ESCAPE '\\') ORDER BY rowid";
        let mut prepared = connection.prepare(all).unwrap();
        let rows: Vec<String> = prepared.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        format!("{HEAD}\n{}\n", rows.join("\n\n"))
    }

    #[test]
    fn a_new_database_is_what_all_migrations_come_to() {
        let migrations: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.sql.as_str()).collect();
        let sum = made_by(&migrations);
        if std::env::var_os("UPDATE").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite.sql");
            std::fs::write(file, &sum).unwrap();
            return;
        }
        assert_eq!(SCHEMA, sum);
        assert_eq!(made_by(&[SCHEMA]), sum);
    }
}
