//! Beginning a sync, with the records that it was given.

use super::OPEN;
use crate::{
    Error, NewRecord, Result, Store,
    engine::{Connection, list},
    now, records,
    writer::{Bell, Write},
};
use uuid::Uuid;

/// Syncs of one connection that may wait.
const MOST_OPEN: i64 = 20;

#[derive(Debug, Clone)]
pub struct NewSync {
    pub id: Uuid,
    pub integration: String,
    pub connection: String,
    pub collection: String,
    /// `api` or `schedule`.
    pub origin: &'static str,
    pub dry_run: bool,
    /// Names what was asked for, where it may be asked again.
    pub asked: Option<String>,
    /// What is stored with it.
    pub records: Vec<NewRecord>,
    /// The records that it is about; absent: all of the collection.
    pub items: Option<Vec<NewItem>>,
}

#[derive(Debug, Clone)]
pub struct NewItem {
    pub record_id: String,
    /// In a dry run: the record as it was given.
    pub record: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    New,
    /// One with this id was there.
    Before,
}

impl Write for NewSync {
    type Answer = Started;
    const WAKES: &'static [Bell] = &[Bell::Syncs];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Started>>> {
        let mut answers = Vec::with_capacity(group.len());
        for new in group {
            answers.push(new.start(connection).await?);
        }
        Ok(answers)
    }
}

impl NewSync {
    pub(super) async fn start(&self, connection: &mut Connection) -> Result<Result<Started>> {
        let there = connection.first::<(Uuid,)>("SELECT id FROM syncs WHERE id = $1", list![self.id]).await?;
        if there.is_some() {
            return Ok(Ok(Started::Before));
        }
        let of = list![&self.integration, &self.connection];
        let sql = format!("SELECT COUNT(*) FROM syncs WHERE {OPEN} AND integration = $1 AND connection = $2");
        let open: Option<(i64,)> = connection.first(sql, of).await?;
        if open.is_some_and(|(open,)| open >= MOST_OPEN) {
            let message =
                format!("{MOST_OPEN} syncs of this connection wait already: cancel some, or wait for their ends");
            return Ok(Err(Error::Conflict(message)));
        }
        if !self.records.is_empty() {
            records::put(&self.collection, &self.records, connection).await?;
        }
        self.insert(connection).await?;
        Ok(Ok(Started::New))
    }

    async fn insert(&self, connection: &mut Connection) -> Result<()> {
        let time = now();
        let total = match &self.items {
            Some(items) => items.len() as i64,
            None => {
                let sql = "SELECT records FROM collections WHERE name = $1";
                connection.first::<(i64,)>(sql, list![&self.collection]).await?.map_or(0, |(records,)| records)
            }
        };
        let sql = "INSERT INTO syncs (id, integration, connection, collection, origin, dry_run, partial, anew, asked, status, \
                   stopping, next_at, attempts, phase, reached, total, created, updated, deleted, skipped, failed, unknown, \
                   created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, $10, 'pending', FALSE, $8, 0, 'records', '', $9, \
                   0, 0, 0, 0, 0, 0, $8)";
        let args = list![
            self.id,
            &self.integration,
            &self.connection,
            &self.collection,
            self.origin,
            self.dry_run,
            self.items.is_some(),
            time,
            total,
            &self.asked
        ];
        connection.run(sql, args).await?;
        let rows = self.items.iter().flatten().map(|item| list![self.id, &item.record_id, &item.record]).collect();
        let before = "INSERT INTO sync_items (sync_id, record_id, record) VALUES";
        connection.run_rows(before, rows, " ON CONFLICT (sync_id, record_id) DO NOTHING").await
    }
}

impl Store {
    /// Begins a sync and stores what it was given, or does neither.
    ///
    /// # Errors
    /// `Conflict` when too many of the connection wait.
    pub async fn start_sync(&self, new: NewSync) -> Result<Started> {
        self.writer.write(new).await
    }
}
