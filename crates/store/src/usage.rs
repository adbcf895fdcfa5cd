//! What was spent, by scope and time: the ceilings are counted here.

use crate::{Result, Store, engine::list};

/// Adds runs and tokens to counters and answers what they come to.
pub(crate) const ADD: (&str, &str) = (
    "INSERT INTO usage (scope, bucket, runs, tokens) VALUES",
    " ON CONFLICT (scope, bucket) DO UPDATE SET runs = usage.runs + excluded.runs, tokens = usage.tokens + excluded.tokens \
     RETURNING scope, bucket, runs, tokens",
);

impl Store {
    /// Runs and tokens of a scope in a bucket.
    pub async fn usage(&self, scope: &str, bucket: i64) -> Result<(i64, i64)> {
        let row = self
            .engine
            .read_first("SELECT runs, tokens FROM usage WHERE scope = $1 AND bucket = $2", list![scope, bucket]);
        Ok(row.await?.unwrap_or_default())
    }
}
