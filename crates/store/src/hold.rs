//! What waits in a database that was restored.

use crate::{
    Result, Store,
    engine::{Connection, list},
    writer::Write,
};

struct Doubt {
    dispatch_type: String,
}

impl Write for Doubt {
    type Answer = u64;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<u64>>> {
        let mut answers = Vec::new();
        for doubt in group {
            let sql = "UPDATE outbox SET unknown = TRUE WHERE state = 'pending' AND dispatch_type = $1";
            answers.push(Ok(connection.run(sql, list![&doubt.dispatch_type]).await?));
        }
        Ok(answers)
    }
}

impl Store {
    /// Counts what waits to leave by a dispatch type as perhaps sent already, so that it is looked for first. Answers
    /// how many rows that are.
    pub async fn doubt_outbox(&self, dispatch_type: &str) -> Result<u64> {
        self.writer.write(Doubt { dispatch_type: dispatch_type.into() }).await
    }
}
