//! The embedded database: one file in the data directory.

mod open;
mod readers;
mod trouble;

pub(crate) use open::{MIGRATIONS, blocking, connect, look, open, schema};
pub(crate) use readers::Readers;
pub(crate) use trouble::{Damage, code, copy, unusable};

use super::{Arg, Record, Row, Sql};
use crate::Result;
use rusqlite::{CachedStatement, Connection, ToSql, types::ToSqlOutput, types::ValueRef};

/// How long a statement waits for another program that holds the file.
pub(crate) const BUSY: std::time::Duration = std::time::Duration::from_secs(5);

pub(crate) fn all<T: Record>(connection: &Connection, sql: &Sql, args: &[Arg]) -> Result<Vec<T>> {
    read_all(&mut prepare(connection, sql)?, args)
}

/// Answers how many rows were changed.
pub(crate) fn run(connection: &Connection, sql: &Sql, args: &[Arg]) -> Result<u64> {
    change(&mut prepare(connection, sql)?, args)
}

/// A statement for each row of values: on this engine that costs less than one for many.
pub(crate) fn all_rows<T: Record>(connection: &Connection, sql: &Sql, rows: &[Vec<Arg>]) -> Result<Vec<T>> {
    let mut statement = prepare(connection, sql)?;
    let mut answers = Vec::with_capacity(rows.len());
    for row in rows {
        answers.extend(read_all::<T>(&mut statement, row)?);
    }
    Ok(answers)
}

/// The same for a statement that answers nothing.
pub(crate) fn run_rows(connection: &Connection, sql: &Sql, rows: &[Vec<Arg>]) -> Result<u64> {
    let mut statement = prepare(connection, sql)?;
    let mut changed = 0;
    for row in rows {
        changed += change(&mut statement, row)?;
    }
    Ok(changed)
}

fn prepare<'c>(connection: &'c Connection, sql: &Sql) -> Result<CachedStatement<'c>> {
    #[cfg(test)]
    crate::plans::note(sql.as_str());
    Ok(connection.prepare_cached(sql.as_str())?)
}

fn read_all<T: Record>(statement: &mut CachedStatement<'_>, args: &[Arg]) -> Result<Vec<T>> {
    bind(statement, args)?;
    let mut answers = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        answers.push(T::read(&Row::Sqlite(row))?);
    }
    Ok(answers)
}

fn change(statement: &mut CachedStatement<'_>, args: &[Arg]) -> Result<u64> {
    bind(statement, args)?;
    Ok(statement.raw_execute()? as u64)
}

/// `$2` is the second value, wherever it stands first; a `?` is the next one.
fn bind(statement: &mut CachedStatement<'_>, args: &[Arg]) -> Result<()> {
    for i in 1..=statement.parameter_count() {
        let number = statement.parameter_name(i).map_or(Some(i), |name| name[1..].parse().ok());
        let arg = number.and_then(|number| args.get(number - 1));
        let missing = rusqlite::Error::InvalidParameterCount(args.len(), statement.parameter_count());
        statement.raw_bind_parameter(i, arg.ok_or(missing)?)?;
    }
    Ok(())
}

impl ToSql for Arg {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Int(value) => value.map(ValueRef::Integer),
            Self::Bool(value) => value.map(|value| ValueRef::Integer(value.into())),
            Self::Text(value) => value.as_ref().map(|text| ValueRef::Text(text.as_bytes())),
            Self::Bytes(value) => value.as_deref().map(ValueRef::Blob),
            Self::Id(value) => value.as_ref().map(|id| ValueRef::Blob(id.as_bytes())),
        };
        Ok(ToSqlOutput::Borrowed(value.unwrap_or(ValueRef::Null)))
    }
}
