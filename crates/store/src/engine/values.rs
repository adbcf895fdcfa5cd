//! Values for statements, and the texts they go into.

use crate::{Error, Result};
use sqlx::{Arguments, AssertSqlSafe, postgres::PgArguments};
use uuid::Uuid;

/// A value for a statement. Absent values keep their type: PostgreSQL wants to know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Bool(Option<bool>),
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
    bool => Bool(v => Some(v)), Option<bool> => Bool(v => v),
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

/// A statement: fixed text, or text made here from fixed pieces. Never from outside.
#[derive(Clone)]
pub(crate) struct Sql(String);

impl Sql {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn text(self) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.0)
    }

    /// None of our reading statements begins in another way, and none of those that write begins like this.
    pub fn only_reads(&self) -> bool {
        self.0.starts_with("SELECT")
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg_attr(not(test), expect(unused_variables, reason = "tests note which values a statement has"))]
pub(super) fn postgres(sql: &Sql, args: &[Arg]) -> Result<PgArguments> {
    #[cfg(test)]
    crate::plans::note_typed(&sql.0, args);
    let mut bound = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(value),
            Arg::Bool(value) => bound.add(value),
            // The one character that PostgreSQL cannot store. It must not make a webhook fail for ever.
            Arg::Text(Some(text)) if text.contains('\0') => bound.add(text.replace('\0', "\u{fffd}")),
            Arg::Text(value) => bound.add(value.as_deref()),
            Arg::Bytes(value) => bound.add(value.as_deref()),
            Arg::Id(value) => bound.add(value),
        }
        .map_err(|error| Error::Database(sqlx::Error::Encode(error)))?;
    }
    Ok(bound)
}
