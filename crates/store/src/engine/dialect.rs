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

/// Rows of one multi-row statement on PostgreSQL: so many sizes that few statements do, so few that all stay prepared.
const SIZES: [usize; 12] = [64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

pub(super) fn chunks(before: &str, rows: Vec<Vec<Arg>>, after: &str) -> Vec<(String, Vec<Arg>)> {
    let mut statements = Vec::new();
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let size = SIZES.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
        let mut args = Vec::new();
        let mut lists = Vec::with_capacity(size);
        for row in rows.by_ref().take(size) {
            lists.push(list(row.len()));
            args.extend(row);
        }
        statements.push((numbered(&format!("{before} {}{after}", lists.join(", "))), args));
    }
    statements
}

/// A statement for one row of so many values.
pub(super) fn one_row(before: &str, values: usize, after: &str) -> String {
    format!("{before} {}{after}", list(values))
}

fn list(values: usize) -> String {
    format!("({})", vec!["?"; values].join(", "))
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
    fn rows_become_few_statements() {
        let rows: Vec<_> = (0..5_i64).map(|n| list![n, "x"]).collect();
        let statements = chunks("INSERT INTO t VALUES", rows, " WHERE a <= ?");
        let statements: Vec<_> = statements.into_iter().map(|(sql, args)| (sql, args.len())).collect();
        let four = "INSERT INTO t VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8) WHERE a <= $9";
        let one = "INSERT INTO t VALUES ($1, $2) WHERE a <= $3";
        assert_eq!(statements, [(four.to_owned(), 8), (one.to_owned(), 2)]);
        assert_eq!(numbered(&one_row("INSERT INTO t VALUES", 2, " WHERE a <= ?")), one);
    }
}
