//! Reading rows of either engine.

use crate::Result;
use sqlx::{Postgres, Row as _, postgres::PgRow};

/// A row, while it is read.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

/// What a column can be read into.
pub(crate) trait Value:
    rusqlite::types::FromSql + for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>
{
}
impl<T: rusqlite::types::FromSql + for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>> Value for T {}

impl Row<'_> {
    pub fn get<T: Value>(&self, column: &str) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// By its place, from 0.
    pub fn at<T: Value>(&self, i: usize) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => row.get(i)?,
            Self::Postgres(row) => row.try_get(i)?,
        })
    }
}

/// What a row can be read into.
pub(crate) trait Record: Sized + Send + 'static {
    fn read(row: &Row<'_>) -> Result<Self>;
}

/// `record!(Point { x, y })`: the fields are named as the columns. Others come from the row in another way:
/// `record!(Point { x, y }, |row| { origin: Record::read(row)? })`.
macro_rules! record {
    ($type:ty { $($column:ident),* $(,)? } $(, |$row:ident| { $($field:ident: $value:expr),* $(,)? })?) => {
        impl $crate::engine::Record for $type {
            fn read(row: &$crate::engine::Row<'_>) -> $crate::Result<Self> {
                $(let $row = row;)?
                Ok(Self { $($column: row.get(stringify!($column))?,)* $($($field: $value,)*)? })
            }
        }
    };
}
pub(crate) use record;

macro_rules! tuples {
    ($(($($value:ident $i:tt),*))*) => {$(
        impl<$($value: Value + Send + 'static),*> Record for ($($value,)*) {
            fn read(row: &Row<'_>) -> Result<Self> {
                Ok(($(row.at::<$value>($i)?,)*))
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}
