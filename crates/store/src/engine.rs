//! A database, whichever it is: statements with `$1` in, rows out. The rest of this crate does not know the engine.

use crate::{Error, Result};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, FromRow, Row, SqliteConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow},
};
use std::{path::Path, time::Duration};
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
        Self(AssertSqlSafe(text.to_owned()))
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self(AssertSqlSafe(text))
    }
}

/// Rows of one multi-row statement. Sizes are powers of two, so that few texts are prepared.
const MAX_ROWS: usize = 64;

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
        for (sql, args) in chunks(before, rows, after) {
            self.run(sql, args).await?;
        }
        Ok(())
    }

    /// The same, for a statement that answers rows.
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
        let size = MAX_ROWS.min(1 << rows.len().ilog2());
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

/// Connections for reading, and how to make the one for writing.
pub(crate) struct Engine {
    options: SqliteConnectOptions,
    readers: SqlitePool,
}

impl Engine {
    /// # Errors
    /// `Unusable` when the file is no database, is damaged, cannot be written, or has a newer schema.
    pub async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256)
            .disable_statement_logging()
            .pragma("wal_autocheckpoint", "1000")
            .pragma("journal_size_limit", "67108864")
            .pragma("cache_size", "-4096");
        let writing = options.clone().pragma("journal_mode", "WAL").pragma("synchronous", "FULL");
        let mut connection = SqliteConnection::connect_with(&writing).await.map_err(|e| unusable(file, e))?;
        check(&mut connection, file).await?;
        migrate(&mut connection, file).await?;
        connection.close().await?;
        let reading = options.read_only(true).create_if_missing(false);
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .min_connections(0)
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(reading);
        Ok(Self { options: writing, readers })
    }

    pub async fn writer(&self) -> Result<Connection> {
        Ok(Connection::Sqlite(SqliteConnection::connect_with(&self.options).await?))
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

/// A damaged file is told apart from a good one before anything is written to it.
async fn check(connection: &mut SqliteConnection, file: &Path) -> Result<()> {
    let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(|e| unusable(file, e))?;
    match row.try_get::<String, _>(0)?.as_str() {
        "ok" => Ok(()),
        damage => Err(Error::Unusable(format!(
            "The database {} is damaged ({damage}). Nothing was changed. Restore a backup, or move the file away to start anew",
            file.display()
        ))),
    }
}

async fn migrate(connection: &mut SqliteConnection, file: &Path) -> Result<()> {
    match sqlx::migrate!("migrations/sqlite").run(connection).await {
        Ok(()) => Ok(()),
        Err(sqlx::migrate::MigrateError::VersionMissing(version)) => Err(Error::Unusable(format!(
            "The database {} was made by a newer Tercel (schema {version}). Run that version, or restore a backup",
            file.display()
        ))),
        Err(sqlx::migrate::MigrateError::Execute(error)) => Err(unusable(file, error)),
        Err(error) => {
            Err(Error::Unusable(format!("The database {} cannot be brought up to date: {error}", file.display())))
        }
    }
}

fn unusable(file: &Path, error: sqlx::Error) -> Error {
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
