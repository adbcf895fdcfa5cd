//! What the engines want written differently.

use super::Arg;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// A statement, or a piece of one, that has to be written twice. A test counts the places.
    pub fn either(self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
        }
    }

    /// Ends a subquery whose rows this writer takes: it passes over those that another one is taking.
    pub fn skip_locked(self) -> &'static str {
        self.either("", "FOR UPDATE SKIP LOCKED")
    }

    /// Ends a query whose rows of `t` must stay as they are until the end of the transaction.
    pub fn hold(self) -> &'static str {
        self.either("", " FOR UPDATE OF t")
    }
}

/// Rows of one multi-row statement: so many sizes that few statements do, so few that all stay prepared.
const SIZES: [usize; 12] = [64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

pub(super) fn chunks(dialect: Dialect, before: &str, rows: Vec<Vec<Arg>>, after: &str) -> Vec<(String, Vec<Arg>)> {
    let mut statements = Vec::new();
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let size = SIZES.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
        let mut args = Vec::new();
        let mut sql = String::from(before);
        for (i, row) in rows.by_ref().take(size).enumerate() {
            sql.push_str(if i == 0 { " (" } else { ", (" });
            // Unnamed on SQLite, because it looks for a named one among all others.
            sql.push_str(&vec!["?"; row.len()].join(", "));
            sql.push(')');
            args.extend(row);
        }
        sql.push_str(after);
        if dialect == Dialect::Postgres {
            sql = numbered(&sql);
        }
        statements.push((sql, args));
    }
    statements
}

/// With `$1`, `$2` … for each `?`.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 256);
    for (n, piece) in sql.split('?').enumerate() {
        if n > 0 {
            text.push('$');
            text.push_str(&n.to_string());
        }
        text.push_str(piece);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::list;

    #[test]
    fn rows_become_few_statements_with_the_placeholders_of_the_engine() {
        let rows: Vec<_> = (0..5_i64).map(|n| list![n, "x"]).collect();
        let of = |dialect| {
            let statements = chunks(dialect, "INSERT INTO t VALUES", rows.clone(), " WHERE a <= ?");
            statements.into_iter().map(|(sql, args)| (sql, args.len())).collect::<Vec<_>>()
        };
        assert_eq!(
            of(Dialect::Sqlite),
            [
                ("INSERT INTO t VALUES (?, ?), (?, ?), (?, ?), (?, ?) WHERE a <= ?".to_owned(), 8),
                ("INSERT INTO t VALUES (?, ?) WHERE a <= ?".to_owned(), 2)
            ]
        );
        assert_eq!(of(Dialect::Postgres)[1], ("INSERT INTO t VALUES ($1, $2) WHERE a <= $3".to_owned(), 2));
    }
}
