//! How far services were read that are asked rather than listened to, and what was not heard while nobody was there.

use crate::{
    Accept, Accepted, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::{Bell, Write},
};

/// How far one poll of one connection has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    pub integration: String,
    pub connection: String,
    pub name: String,
    /// JSON, the integration's to understand.
    pub bookmark: String,
    pub polled_at: i64,
}

record!(Poll { integration, connection, name, bookmark, polled_at });

/// What a poll brought. Its bookmark is committed with its messages, or neither is.
#[derive(Debug, Clone)]
pub struct Polled {
    pub integration: String,
    pub connection: String,
    pub name: String,
    pub bookmark: String,
    pub accepts: Vec<Accept>,
}

/// A time in which what a service sent could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub integration: String,
    pub connection: String,
    pub since: i64,
    pub up_to: i64,
}

record!(Gap { integration, connection, since, up_to });

impl Write for Polled {
    type Answer = Vec<Accepted>;
    const WAKES: &'static [Bell] = &[Bell::Tasks, Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Vec<Accepted>>>> {
        let mut answers = Vec::with_capacity(group.len());
        for polled in group {
            let accepts: Vec<&Accept> = polled.accepts.iter().collect();
            let mut accepted = Vec::with_capacity(accepts.len());
            if !accepts.is_empty() {
                for answer in Accept::run(&accepts, connection).await? {
                    accepted.push(answer?);
                }
            }
            let sql = "INSERT INTO polls (integration, connection, name, bookmark, polled_at) VALUES ($1, $2, $3, $4, $5) \
                       ON CONFLICT (integration, connection, name) DO UPDATE SET bookmark = excluded.bookmark, \
                       polled_at = excluded.polled_at";
            let args = list![&polled.integration, &polled.connection, &polled.name, &polled.bookmark, now()];
            connection.run(sql, args).await?;
            answers.push(Ok(accepted));
        }
        Ok(answers)
    }
}

enum Hole {
    Open(Gap),
    Close(Gap),
}

impl Write for Hole {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        for hole in group {
            let (sql, gap) = match hole {
                // One that was not fetched yet becomes longer.
                Self::Open(gap) => (
                    "INSERT INTO gaps (integration, connection, since, up_to) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (integration, connection) DO UPDATE SET up_to = excluded.up_to",
                    gap,
                ),
                Self::Close(gap) => {
                    ("DELETE FROM gaps WHERE integration = $1 AND connection = $2 AND since = $3 AND up_to = $4", gap)
                }
            };
            connection.run(sql, list![&gap.integration, &gap.connection, gap.since, gap.up_to]).await?;
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    pub async fn polls(&self) -> Result<Vec<Poll>> {
        let sql = "SELECT integration, connection, name, bookmark, polled_at FROM polls";
        self.engine.read(sql, list![]).await
    }

    pub async fn polled(&self, mut polled: Polled) -> Result<Vec<Accepted>> {
        for delivery in polled.accepts.iter_mut().filter_map(|accept| accept.delivery.as_mut()) {
            delivery.body = crate::deliveries::pack(&delivery.body);
        }
        self.writer.write(polled).await
    }

    pub async fn gaps(&self) -> Result<Vec<Gap>> {
        self.engine.read("SELECT integration, connection, since, up_to FROM gaps", list![]).await
    }

    pub async fn open_gap(&self, gap: Gap) -> Result<()> {
        self.writer.write(Hole::Open(gap)).await
    }

    pub async fn close_gap(&self, gap: Gap) -> Result<()> {
        self.writer.write(Hole::Close(gap)).await
    }

    /// The places whose `client_id` begins with this prefix and a colon.
    pub async fn places(&self, prefix: &str, limit: i64) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT client_id FROM sessions WHERE active AND client_id >= $1 AND client_id < $2 \
                   ORDER BY client_id LIMIT $3";
        // The character after the colon.
        let args = list![format!("{prefix}:"), format!("{prefix};"), limit];
        Ok(self.engine.read::<(String,)>(sql, args).await?.into_iter().map(|(place,)| place).collect())
    }
}
