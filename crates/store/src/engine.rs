//! A database, whichever it is: statements with `$1` in, rows out. The rest of this crate does not know the engine.

use crate::{Error, Result};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, FromRow, Row, SqliteConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow},
};
use std::{os::unix::fs::OpenOptionsExt, path::Path, time::Duration};
use uuid::Uuid;

/// A value for a statement. Absent values keep their type: PostgreSQL wants to know it.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Bool(bool),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Id(Option<Uuid>),
}

macro_rules! args {
    ($($type:ty => $variant:ident($value:ident => $convert:expr)),* $(,)?) => {$(
        impl From<$type> for Arg {
            fn from($value: $type) -> Self {
                Self::$variant($convert)
            }
        }
    )*};
}

args! {
    i64 => Int(v => Some(v)), Option<i64> => Int(v => v), u32 => Int(v => Some(i64::from(v))),
    bool => Bool(v => v),
    &str => Text(v => Some(v.to_owned())), String => Text(v => Some(v)), &String => Text(v => Some(v.clone())),
    Option<String> => Text(v => v), &Option<String> => Text(v => v.clone()), Option<&str> => Text(v => v.map(str::to_owned)),
    Vec<u8> => Bytes(v => Some(v)), Option<Vec<u8>> => Bytes(v => v),
    Uuid => Id(v => Some(v)), Option<Uuid> => Id(v => v),
}

/// Writes a list of values of different types as `Vec<Arg>`.
macro_rules! list {
    ($($value:expr),* $(,)?) => { vec![$($crate::engine::Arg::from($value)),*] };
}
pub(crate) use list;

/// What a row can be read into.
pub(crate) trait Record: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Record for T {}

/// One connection.
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
}

/// A statement: fixed text, or text made here from fixed pieces. Never from outside.
pub(crate) struct Sql(AssertSqlSafe<String>);

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        #[cfg(test)]
        crate::plans::note(&text);
        Self(AssertSqlSafe(text))
    }
}

/// Rows of one multi-row statement: so many sizes that few statements do, so few that all stay prepared.
const SIZES: [usize; 12] = [64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

impl Connection {
    pub async fn all<T: Record>(&mut self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(connection) => {
                Ok(sqlx::query_as_with(sql.into().0, bind(args)?).fetch_all(connection).await?)
            }
        }
    }

    pub async fn first<T: Record>(&mut self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Option<T>> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// Answers how many rows were changed.
    pub async fn run(&mut self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<u64> {
        match self {
            Self::Sqlite(connection) => {
                Ok(sqlx::query_with(sql.into().0, bind(args)?).execute(connection).await?.rows_affected())
            }
        }
    }

    /// `before (…), (…) after`, with a value list per row, in as few statements as the engine likes.
    pub async fn run_rows(&mut self, before: &str, rows: Vec<Vec<Arg>>, after: &str) -> Result<()> {
        self.run_rows_then(before, rows, after, &[]).await.map(drop)
    }

    /// The same, with values for the `?` of `after`. Answers how many rows were changed.
    pub async fn run_rows_then(&mut self, before: &str, rows: Vec<Vec<Arg>>, after: &str, rest: &[Arg]) -> Result<u64> {
        let mut changed = 0;
        for (sql, mut args) in chunks(before, rows, after) {
            args.extend_from_slice(rest);
            changed += self.run(sql, args).await?;
        }
        Ok(changed)
    }

    /// `run_rows` for a statement that answers rows.
    pub async fn all_rows<T: Record>(&mut self, before: &str, rows: Vec<Vec<Arg>>, after: &str) -> Result<Vec<T>> {
        let mut answers = Vec::with_capacity(rows.len());
        for (sql, args) in chunks(before, rows, after) {
            answers.extend(self.all::<T>(sql, args).await?);
        }
        Ok(answers)
    }

    pub async fn begin(&mut self) -> Result<()> {
        // A deferred transaction that reads and then writes fails at once when another writer came between.
        self.run("BEGIN IMMEDIATE", vec![]).await.map(drop)
    }

    pub async fn commit(&mut self) -> Result<()> {
        self.run("COMMIT", vec![]).await.map(drop)
    }

    pub async fn rollback(&mut self) -> Result<()> {
        self.run("ROLLBACK", vec![]).await.map(drop)
    }

    /// Begins a piece of the open transaction that can be undone alone.
    pub async fn savepoint(&mut self) -> Result<()> {
        self.run("SAVEPOINT piece", vec![]).await.map(drop)
    }

    pub async fn release(&mut self) -> Result<()> {
        self.run("RELEASE piece", vec![]).await.map(drop)
    }

    pub async fn undo(&mut self) -> Result<()> {
        self.run("ROLLBACK TO piece", vec![]).await?;
        self.release().await
    }

    pub async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.close().await?),
        }
    }
}

fn chunks(before: &str, rows: Vec<Vec<Arg>>, after: &str) -> Vec<(String, Vec<Arg>)> {
    let mut statements = Vec::new();
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let size = SIZES.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
        let mut args = Vec::new();
        let mut sql = String::from(before);
        for (i, row) in rows.by_ref().take(size).enumerate() {
            sql.push_str(if i == 0 { " (" } else { ", (" });
            // Unnamed, because SQLite looks for a named one among all others.
            sql.push_str(&vec!["?"; row.len()].join(", "));
            sql.push(')');
            args.extend(row);
        }
        sql.push_str(after);
        statements.push((sql, args));
    }
    statements
}

fn bind(args: Vec<Arg>) -> Result<SqliteArguments> {
    use sqlx::Arguments;
    let mut bound = SqliteArguments::default();
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(value),
            Arg::Bool(value) => bound.add(value),
            Arg::Text(value) => bound.add(value),
            Arg::Bytes(value) => bound.add(value),
            Arg::Id(value) => bound.add(value),
        }
        .map_err(|error| Error::Database(sqlx::Error::Encode(error)))?;
    }
    Ok(bound)
}

/// Connections for reading.
pub(crate) struct Engine {
    readers: SqlitePool,
}

/// Files up to this size are read whole before they are used: some hundredths of a second from memory.
const CHECKED_WHOLE: u64 = 64 << 20;

impl Engine {
    /// Answers the connection for writing, too.
    ///
    /// # Errors
    /// `Unusable` when the file is no database, is damaged, cannot be written, or has a newer schema.
    pub async fn open(file: &Path) -> Result<(Self, Connection)> {
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
        migrate(&mut connection, file).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .min_connections(0)
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .connect_lazy_with(reading);
        Ok((Self { readers }, Connection::Sqlite(connection)))
    }

    pub async fn read<T: Record>(&self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Vec<T>> {
        Ok(sqlx::query_as_with(sql.into().0, bind(args)?).fetch_all(&self.readers).await?)
    }

    pub async fn read_first<T: Record>(&self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Option<T>> {
        Ok(self.read(sql, args).await?.into_iter().next())
    }

    pub async fn close(&self) {
        self.readers.close().await;
    }
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
        Some(version) if !MIGRATIONS.version_exists(version) => Err(newer(file, version)),
        _ => Ok(()),
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

async fn migrate(connection: &mut SqliteConnection, file: &Path) -> Result<()> {
    match MIGRATIONS.run(connection).await {
        Ok(()) => Ok(()),
        Err(sqlx::migrate::MigrateError::VersionMissing(version)) => Err(newer(file, version)),
        Err(sqlx::migrate::MigrateError::Execute(error)) => Err(unusable(file, error)),
        Err(error) => {
            Err(Error::Unusable(format!("The database {} cannot be brought up to date: {error}", file.display())))
        }
    }
}

fn newer(file: &Path, version: i64) -> Error {
    Error::Unusable(format!(
        "The database {} was made by a newer Tercel (schema {version}). Nothing was changed. Run that version, or restore a backup",
        file.display()
    ))
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
