//! Whole copies of a PostgreSQL database in one file, made while it is used, and back. No other program is needed.

use crate::{
    Error, Result, Store,
    engine::{
        Engine,
        postgres::{self, Address},
    },
    left_out::{self, SEALED},
    seal::KEY_ID,
};
use futures::TryStreamExt;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What a file begins with: a line of its own. Then for each table a line of JSON and the rows as COPY writes them, in
/// pieces, each after its length; a length of zero ends the rows, an empty line the file.
const MAGIC: &str = "Tercel copy 1";
/// What the copy before a migration is named, before the number of its schema.
const BEFORE: &str = "postgres.schema-";
/// Larger ones are not written by PostgreSQL, whose rows end at 1 GB.
const LARGEST: u32 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Head {
    schema: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Table {
    table: String,
    columns: Vec<String>,
}

/// Sealed values go into a copy, or do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    Kept,
    LeftOut,
}

impl Store {
    /// Whether the database is PostgreSQL, which is copied by [`Store::copy`].
    pub fn is_elsewhere(&self) -> bool {
        self.directory.is_none()
    }

    /// Copies the database as it is at one moment into a new file. Writers go on meanwhile. Answers the schema.
    pub async fn copy(&self, file: &Path, secrets: Secrets) -> Result<i64> {
        let Engine::Postgres(pool) = &self.engine else {
            return Err(Error::Unusable("The database is a file: it is copied by a snapshot".into()));
        };
        let mut connection = pool.acquire().await?.detach();
        let schema = write(&mut connection, file, secrets).await?;
        connection.close().await?;
        Ok(schema)
    }
}

/// Whether a file was made here.
pub fn is_copy(file: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC.as_bytes()
}

/// Brings a copy into a database that has nothing in it, in one transaction. Its schema is then that of the copy. Answers
/// what needs its secrets again, a line each.
///
/// # Errors
/// `Unusable` for a database that is in use, and for a file that is no copy, damaged, or newer than this program.
pub async fn restore(url: &SecretString, file: &Path, secrets: Secrets) -> Result<Vec<String>> {
    let address = Address::parse(url)?;
    let mut connection = postgres::enter(&address).await?;
    let unusable = |error| match error {
        Error::Database(error) => postgres::unusable(&address, error),
        error => error,
    };
    read(&mut connection, &address, file, secrets).await.map_err(unusable)?;
    connection.close().await?;
    let mut connection = postgres::look(address).await?;
    let needed = left_out::needed(&mut connection).await?;
    connection.close().await?;
    Ok(needed)
}

/// Copies a database that is about to be migrated into a directory, and removes the copy before the last migration.
pub(crate) async fn before_migrating(connection: &mut PgConnection, directory: &Path) -> Result<Option<PathBuf>> {
    let schema = schema(connection).await?;
    if schema == 0 || schema >= crate::snapshot::newest_schema() {
        return Ok(None);
    }
    let (draft, kept) = (directory.join(format!("{BEFORE}draft")), directory.join(format!("{BEFORE}{schema}")));
    let kept_safe = async {
        write(connection, &draft, Secrets::Kept).await?;
        let moved = File::open(&draft).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&draft, &kept));
        moved.map_err(|error| cannot_be_written(&kept, &error))
    };
    kept_safe.await.map_err(|error| {
        Error::Unusable(format!(
            "The database is to be migrated, and the copy before that cannot be made in {}: {error}. Nothing was changed",
            directory.display()
        ))
    })?;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(BEFORE)) && entry.path() != kept {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(Some(kept))
}

async fn schema(connection: &mut PgConnection) -> Result<i64> {
    let there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let (there,): (bool,) = sqlx::query_as(there).fetch_one(&mut *connection).await?;
    if !there {
        return Ok(0);
    }
    let sql = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";
    let (schema,): (i64,) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok(schema)
}

/// Tables that others refer to come first.
async fn tables(connection: &mut PgConnection) -> Result<Vec<Table>> {
    let sql = "SELECT c.relname::TEXT, array_agg(a.attname::TEXT ORDER BY a.attnum) FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
               WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname <> '_sqlx_migrations' \
               AND a.attnum > 0 AND NOT a.attisdropped GROUP BY c.oid, c.relname \
               ORDER BY EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'), c.relname";
    let rows: Vec<(String, Vec<String>)> = sqlx::query_as(sql).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(table, columns)| Table { table, columns }).collect())
}

impl Table {
    /// The columns, or what stands in the place of one in which something is sealed.
    fn without_secrets(&self) -> String {
        let column = |column: &String| match left_out::form(&self.table, column) {
            Some(form) => format!("{} AS \"{column}\"", left_out::expression(column, form)),
            None => format!("\"{column}\""),
        };
        self.columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    fn columns(&self) -> String {
        self.columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ")
    }
}

async fn write(connection: &mut PgConnection, file: &Path, secrets: Secrets) -> Result<i64> {
    let failed = |error: std::io::Error| cannot_be_written(file, &error);
    // A table may take long, and nobody waits for this session.
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0";
    sqlx::raw_sql(begin).execute(&mut *connection).await?;
    let schema = schema(connection).await?;
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, opened);
    writeln!(out, "{MAGIC}\n{}", serde_json::to_string(&Head { schema })?).map_err(failed)?;
    for table in tables(connection).await? {
        writeln!(out, "{}", serde_json::to_string(&table)?).map_err(failed)?;
        let columns = match secrets {
            Secrets::Kept => table.columns(),
            Secrets::LeftOut => table.without_secrets(),
        };
        let sql = format!("COPY (SELECT {columns} FROM \"{}\") TO STDOUT", table.table);
        let mut rows = connection.copy_out_raw(&sql).await?;
        while let Some(piece) = rows.try_next().await? {
            let length = u32::try_from(piece.len()).map_err(|_| Error::Unusable("A row is too large".into()))?;
            out.write_all(&length.to_be_bytes()).and_then(|()| out.write_all(&piece)).map_err(failed)?;
        }
        out.write_all(&0_u32.to_be_bytes()).map_err(failed)?;
    }
    writeln!(out).and_then(|()| out.flush()).map_err(failed)?;
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(schema)
}

async fn read(connection: &mut PgConnection, address: &Address, file: &Path, secrets: Secrets) -> Result<()> {
    let opened = File::open(file).map_err(|error| no_copy(file, &error.to_string()))?;
    let mut from = BufReader::with_capacity(1 << 18, opened);
    if line(&mut from, file)? != MAGIC {
        return Err(no_copy(file, "it begins with something else"));
    }
    let Head { schema } = serde_json::from_str(&line(&mut from, file)?)?;
    if !postgres::MIGRATIONS.version_exists(schema) {
        return Err(Error::Unusable(format!(
            "{} has schema {schema}, which this version does not know: restore it with the version that made it, or a later \
             one. Nothing was changed",
            file.display()
        )));
    }
    let place = &address.place;
    if self::schema(connection).await? > 0 {
        let sql = "SELECT EXISTS (SELECT 1 FROM workers)";
        let (used,): (bool,) = sqlx::query_as(sql).fetch_one(&mut *connection).await?;
        if used {
            return Err(Error::Unusable(format!(
                "The database {place} is used already: name an empty one in DATABASE_URL. Nothing was changed"
            )));
        }
    }
    let migrated = postgres::MIGRATIONS.run_to(schema, &mut *connection).await;
    migrated.map_err(|error| Error::Unusable(format!("The tables cannot be made in {place}: {error}")))?;
    let tables = tables(connection).await?;
    let mut transaction = connection.begin().await?;
    let all = tables.iter().map(|table| format!("\"{}\"", table.table)).collect::<Vec<_>>().join(", ");
    sqlx::raw_sql(AssertSqlSafe(format!("TRUNCATE {all}"))).execute(&mut *transaction).await?;
    loop {
        let text = line(&mut from, file)?;
        if text.is_empty() {
            break;
        }
        let table: Table = serde_json::from_str(&text)?;
        // What becomes part of a statement is what the database says of itself.
        let Some(table) = tables.iter().find(|known| **known == table) else {
            return Err(no_copy(file, &format!("there is no table `{}` like that", table.table)));
        };
        let sql = format!("COPY \"{}\" ({}) FROM STDIN", table.table, table.columns());
        let mut rows = transaction.copy_in_raw(&sql).await?;
        while let Some(piece) = piece(&mut from, file)? {
            rows.send(piece).await?;
        }
        rows.finish().await?;
    }
    let there = |name: &str| tables.iter().any(|table| table.table == name);
    if secrets == Secrets::LeftOut {
        for (table, column, form) in SEALED.into_iter().filter(|(table, ..)| there(table)) {
            let sql = format!("UPDATE {table} SET {column} = {}", left_out::expression(column, form));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        }
        // The server that starts on it has a key of its own.
        if there("server_settings") {
            let sql = "DELETE FROM server_settings WHERE key = $1";
            sqlx::query(sql).bind(KEY_ID).execute(&mut *transaction).await?;
        }
    }
    let mut counters =
        vec!["SELECT setval(pg_get_serial_sequence('workers', 'id'), GREATEST(MAX(id), 1)) FROM workers"];
    if there("hook_events") {
        // Never back to a number that somebody has passed.
        counters.push(
            "SELECT setval(pg_get_serial_sequence('hook_events', 'seq'), GREATEST((SELECT MAX(seq) FROM hook_events), \
             (SELECT MAX(reached) FROM hooks), 1))",
        );
    }
    for next in counters {
        sqlx::query(next).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

fn line(from: &mut impl BufRead, file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = from.read_line(&mut text).map_err(|error| no_copy(file, &error.to_string()))?;
    match text.pop() {
        Some('\n') if read > 0 => Ok(text),
        _ => Err(no_copy(file, "its end is missing")),
    }
}

fn piece(from: &mut impl Read, file: &Path) -> Result<Option<Vec<u8>>> {
    let missing = |_| no_copy(file, "its end is missing");
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(missing)?;
    match u32::from_be_bytes(length) {
        0 => Ok(None),
        length if length > LARGEST => Err(no_copy(file, "it was changed")),
        length => {
            let mut piece = vec![0; length as usize];
            from.read_exact(&mut piece).map_err(missing)?;
            Ok(Some(piece))
        }
    }
}

fn no_copy(file: &Path, why: &str) -> Error {
    Error::Unusable(format!("{} is no copy of a database: {why}. Nothing was restored", file.display()))
}

fn cannot_be_written(file: &Path, error: &std::io::Error) -> Error {
    Error::Unusable(format!("{} cannot be written: {error}", file.display()))
}
