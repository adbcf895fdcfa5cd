//! Counting what was spent without a task: answers that are not stored.

use crate::{
    Result, Store,
    engine::{Connection, list},
    writer::Write,
};
use std::collections::BTreeMap;

struct Spent {
    /// Scope and bucket.
    scopes: Vec<(String, i64)>,
    runs: i64,
    tokens: i64,
}

impl Write for Spent {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut sums: BTreeMap<(&str, i64), (i64, i64)> = BTreeMap::new();
        for spent in group {
            for (scope, bucket) in &spent.scopes {
                let (runs, tokens) = sums.entry((scope, *bucket)).or_default();
                *runs += spent.runs;
                *tokens += spent.tokens;
            }
        }
        if !sums.is_empty() {
            let rows = sums.iter().map(|(&(scope, bucket), &(runs, tokens))| list![scope, bucket, runs, tokens]);
            let (into, then) = crate::usage::ADD;
            connection.all_rows::<(String, i64, i64, i64)>(into, rows.collect(), then).await?;
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// Adds runs and tokens to counters, each a scope and a bucket.
    pub async fn spend(&self, scopes: Vec<(String, i64)>, runs: i64, tokens: i64) -> Result<()> {
        self.writer.write(Spent { scopes, runs, tokens }).await
    }
}
