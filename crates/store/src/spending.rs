//! Counting what was spent without a task: answers that are not stored.

use crate::{Result, Spent, Store, engine::Connection, usage, writer::Write};

struct Spend(Vec<Spent>);

impl Write for Spend {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        usage::spend(group.iter().flat_map(|spend| &spend.0), connection).await?;
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// Adds to counters.
    pub async fn spend(&self, spent: Vec<Spent>) -> Result<()> {
        self.writer.write(Spend(spent)).await
    }
}
