//! A clock that was put back: what was to happen by the old one must not wait until it is so late again.

use crate::{
    Result, Store,
    engine::{Connection, list},
    now,
    syncs::OPEN,
    writer::{Bell, Write},
};

/// No attempt to send, and no run that waits for other events, waits longer by itself.
const LONGEST: i64 = 2 * 3_600_000_000;
/// Nor does a sync: a service may ask for a pause of a day.
const LONGEST_OF_SYNCS: i64 = 30 * 3_600_000_000;

struct PullBack;

impl Write for PullBack {
    type Answer = u64;
    const WAKES: &'static [Bell] = &[Bell::Tasks, Bell::Outbox, Bell::Syncs];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<u64>>> {
        let time = now();
        let sql = "UPDATE tasks SET run_at = $1 WHERE status = 'pending' AND run_at > $2";
        let tasks = connection.run(sql, list![time, time + LONGEST]).await?;
        let sql = "UPDATE outbox SET next_at = $1 WHERE state = 'pending' AND next_at > $2";
        let rows = connection.run(sql, list![time, time + LONGEST]).await?;
        let sql = format!("UPDATE syncs SET next_at = $1 WHERE {OPEN} AND status = 'pending' AND next_at > $2");
        let syncs = connection.run(sql, list![time, time + LONGEST_OF_SYNCS]).await?;
        Ok(group.iter().map(|_| Ok(tasks + rows + syncs)).collect())
    }
}

impl Store {
    /// Makes due what waits for a time that lies further ahead than anything waits by itself. Answers how much that was.
    pub async fn pull_back(&self) -> Result<u64> {
        self.writer.write(PullBack).await
    }
}
