//! Old accounts: hours become days, and days end. A little at a time, as everything that is let go.

use crate::{
    Result, Store,
    engine::{Connection, list},
    usage::{ADDED, INTO, SUM},
    writer::Write,
};

/// Rows of the account that are looked at in one write.
const PIECE: i64 = 200;

/// From one row of the account to another, both included, by hour and scope.
#[derive(Debug, Clone)]
struct Stretch {
    first: (i64, String),
    last: (i64, String),
}

enum Change {
    Fold(Stretch),
    Drop(Stretch),
}

impl Write for Change {
    type Answer = u64;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<u64>>> {
        const WITHIN: &str = "(hour, scope) >= ($1, $2) AND (hour, scope) <= ($3, $4)";
        let mut answers = Vec::new();
        for change in group {
            let (Self::Fold(stretch) | Self::Drop(stretch)) = change;
            let Stretch { first, last } = stretch;
            let args = list![first.0, &first.1, last.0, &last.1];
            let which = match change {
                Self::Drop(_) => "",
                Self::Fold(_) => {
                    let sql = format!(
                        "{INTO} SELECT u.scope, u.hour - u.hour % 24, {SUM} FROM usage u WHERE {WITHIN} AND u.hour % 24 <> 0 \
                         GROUP BY 1, 2{ADDED}"
                    );
                    connection.run(sql, args.clone()).await?;
                    " AND hour % 24 <> 0"
                }
            };
            answers.push(Ok(connection.run(format!("DELETE FROM usage WHERE {WITHIN}{which}"), args).await?));
        }
        Ok(answers)
    }
}

/// What one piece of work came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    pub rows: u64,
    /// There is more that is old.
    pub more: bool,
}

impl Store {
    /// Adds what was spent in hours before one to their days, a piece at a time.
    pub async fn fold_usage(&self, before: i64) -> Result<Closed> {
        let sql = "SELECT hour, scope FROM usage WHERE hour < $1 AND hour % 24 <> 0 ORDER BY hour, scope LIMIT $2";
        self.close_usage(sql, before, Change::Fold).await
    }

    /// Forgets what was spent before an hour, a piece at a time.
    pub async fn drop_usage(&self, before: i64) -> Result<Closed> {
        let sql = "SELECT hour, scope FROM usage WHERE hour < $1 ORDER BY hour, scope LIMIT $2";
        self.close_usage(sql, before, Change::Drop).await
    }

    /// Looked up by a reader: the writer is held for the piece only.
    async fn close_usage(&self, sql: &str, before: i64, change: fn(Stretch) -> Change) -> Result<Closed> {
        let mut rows: Vec<(i64, String)> = self.engine.read(sql, list![before, PIECE]).await?;
        let more = rows.len() as i64 == PIECE;
        let Some(last) = rows.pop() else { return Ok(Closed::default()) };
        let first = if rows.is_empty() { last.clone() } else { rows.swap_remove(0) };
        let rows = self.writer.write(change(Stretch { first, last })).await?;
        Ok(Closed { rows, more })
    }
}
