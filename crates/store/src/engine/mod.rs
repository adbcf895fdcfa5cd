//! A database, whichever it is: statements with `$1` in, rows out. The rest of this crate does not know the engine.

mod dialect;
pub(crate) mod postgres;
mod record;
pub(crate) mod sqlite;
mod values;

pub(crate) use dialect::Dialect;
pub(crate) use record::{Record, Row, record};
pub(crate) use values::{Arg, Sql, list};

use crate::{Error, Result};
use dialect::{chunks, one_row};
use sqlx::postgres::PgPool;
use std::time::Duration;

/// The connection for writing, or one that looks at everything without being the server.
pub(crate) enum Connection {
    /// Its statements are carried out on the thread that asks: the writer has one of its own.
    Sqlite(rusqlite::Connection),
    Postgres(Box<postgres::Session>),
}

impl Connection {
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    pub async fn all<T: Record>(&mut self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(connection) => sqlite::all(connection, &sql.into(), &args),
            Self::Postgres(session) => session.all(sql.into(), args).await,
        }
    }

    pub async fn first<T: Record>(&mut self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Option<T>> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// Answers how many rows were changed.
    pub async fn run(&mut self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<u64> {
        match self {
            Self::Sqlite(connection) => sqlite::run(connection, &sql.into(), &args),
            Self::Postgres(session) => session.run(sql.into(), args).await,
        }
    }

    /// `before (…), (…) after`, with a value list per row, in as few statements as the engine likes.
    pub async fn run_rows(&mut self, before: &str, rows: Vec<Vec<Arg>>, after: &str) -> Result<()> {
        self.run_rows_then(before, rows, after, &[]).await.map(drop)
    }

    /// The same, with values for the `?` of `after`. Answers how many rows were changed.
    pub async fn run_rows_then(
        &mut self,
        before: &str,
        mut rows: Vec<Vec<Arg>>,
        after: &str,
        rest: &[Arg],
    ) -> Result<u64> {
        let Some(first) = rows.first() else { return Ok(0) };
        if let Self::Sqlite(connection) = self {
            let sql = one_row(before, first.len(), after);
            rows.iter_mut().for_each(|row| row.extend_from_slice(rest));
            return sqlite::run_rows(connection, &sql.into(), &rows);
        }
        let mut changed = 0;
        for (sql, mut args) in chunks(before, rows, after) {
            args.extend_from_slice(rest);
            changed += self.run(sql, args).await?;
        }
        Ok(changed)
    }

    /// `run_rows` for a statement that answers rows.
    pub async fn all_rows<T: Record>(&mut self, before: &str, rows: Vec<Vec<Arg>>, after: &str) -> Result<Vec<T>> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        if let Self::Sqlite(connection) = self {
            return sqlite::all_rows(connection, &one_row(before, first.len(), after).into(), &rows);
        }
        let mut answers = Vec::with_capacity(rows.len());
        for (sql, args) in chunks(before, rows, after) {
            answers.extend(self.all::<T>(sql, args).await?);
        }
        Ok(answers)
    }

    /// Keeps other writers from some rows, always in the same order, so that the statements after this one see what
    /// they left and two writers do not wait for each other. There are none on SQLite.
    pub async fn lock(&mut self, table: &str, key: &str, mut keys: Vec<Vec<Arg>>) -> Result<()> {
        if self.dialect() == Dialect::Sqlite || keys.is_empty() {
            return Ok(());
        }
        keys.sort();
        let before = format!("SELECT 1::BIGINT FROM {table} WHERE {key} IN (VALUES");
        let after = format!(") ORDER BY {key} FOR UPDATE");
        self.all_rows::<(i64,)>(&before, keys, &after).await.map(drop)
    }

    pub async fn begin(&mut self) -> Result<()> {
        match self {
            // A deferred transaction that reads and then writes fails at once when another writer came between.
            Self::Sqlite(_) => self.run("BEGIN IMMEDIATE", vec![]).await.map(drop),
            Self::Postgres(session) => session.begin().await,
        }
    }

    pub async fn commit(&mut self) -> Result<()> {
        match self {
            Self::Sqlite(_) => self.run("COMMIT", vec![]).await.map(drop),
            Self::Postgres(session) => session.commit().await,
        }
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

    /// How long a transaction may take before the database counts as gone.
    pub fn limit(&self) -> Option<Duration> {
        matches!(self, Self::Postgres(_)).then_some(postgres::TRANSACTION)
    }

    /// How often the writer shows that it is there, and looks whether the database still is.
    pub fn beat(&self) -> Option<Duration> {
        matches!(self, Self::Postgres(session) if session.is_alive()).then_some(postgres::BEAT)
    }

    /// False once the database was lost: nothing can be written until `revive`.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(session) => session.is_alive(),
        }
    }

    /// Whether a COMMIT was sent and never answered, and nobody knows what became of it.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(session) => session.is_unanswered(),
        }
    }

    /// What became of a COMMIT that was not answered, if that has become known. Told once.
    pub fn take_outcome(&mut self) -> Option<bool> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(session) => session.take_outcome(),
        }
    }

    /// The newest server that has used the database, as far as this one has seen.
    pub fn newest(&self) -> i64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(session) => session.newest(),
        }
    }

    /// Whether a later server took the database: waiting does not help.
    pub fn is_replaced(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(session) => session.is_replaced(),
        }
    }

    /// Counts the database as lost.
    pub fn lose(&mut self) {
        if let Self::Postgres(session) = self {
            session.lose();
        }
    }

    /// Tries once to connect again.
    pub async fn revive(&mut self) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.revive().await,
        }
    }

    /// From now on, transactions are those of this worker.
    pub fn works_for(&mut self, worker: i64) {
        if let Self::Postgres(session) = self {
            session.works_for(worker);
        }
    }

    pub async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.close().map_err(|(_, error)| error.into()),
            Self::Postgres(session) => session.close().await,
        }
    }
}

/// Connections for reading.
pub(crate) enum Engine {
    Sqlite(sqlite::Readers),
    Postgres(PgPool),
}

impl Engine {
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    pub async fn read<T: Record>(&self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(readers) => readers.read(sql.into(), args).await,
            Self::Postgres(pool) => postgres::read(pool, sql.into(), args).await,
        }
    }

    pub async fn read_first<T: Record>(&self, sql: impl Into<Sql>, args: Vec<Arg>) -> Result<Option<T>> {
        Ok(self.read(sql, args).await?.into_iter().next())
    }

    /// Whether a read has met damage.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Sqlite(readers) if readers.damage.is_there())
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(readers) => readers.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

fn newer(database: &str, version: i64) -> Error {
    Error::Unusable(format!(
        "The database {database} was made by a newer Tercel (schema {version}). Nothing was changed. Run that version, or restore a backup"
    ))
}

fn not_migrated(database: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Unusable(format!("The database {database} cannot be brought up to date: {error}"))
}
