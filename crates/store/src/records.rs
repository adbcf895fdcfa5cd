//! Records: what services are kept in step with.

use crate::{
    Error, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};
use std::collections::BTreeMap;

/// One record of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub collection: String,
    pub id: String,
    /// JSON object.
    pub record: String,
    pub created_at: i64,
    /// When it last became another.
    pub updated_at: i64,
}

record!(Record { collection, id, record, created_at, updated_at });

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub name: String,
    pub records: i64,
    pub updated_at: i64,
}

record!(Collection { name, records, updated_at });

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    pub id: String,
    /// JSON object.
    pub record: String,
}

/// How many records of a write were new, became others, and were there as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
}

const COLUMNS: &str = "collection, id, record, created_at, updated_at";

struct Put {
    collection: String,
    records: Vec<NewRecord>,
}

impl Write for Put {
    type Answer = Stored;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Stored>>> {
        let mut answers = Vec::with_capacity(group.len());
        for put in group {
            answers.push(Ok(self::put(&put.collection, &put.records, connection).await?));
        }
        Ok(answers)
    }
}

/// Stores records. Of several with one id the last one counts.
pub(crate) async fn put(collection: &str, records: &[NewRecord], connection: &mut Connection) -> Result<Stored> {
    let wanted: BTreeMap<&str, &str> = records.iter().map(|new| (new.id.as_str(), new.record.as_str())).collect();
    let keys = wanted.keys().map(|id| list![collection, *id]).collect();
    let there = connection
        .all_rows::<(String,)>("SELECT id FROM records WHERE (collection, id) IN (VALUES", keys, ")")
        .await?
        .len() as u64;
    let (time, all) = (now(), wanted.len() as u64);
    let rows = wanted.into_iter().map(|(id, record)| list![collection, id, record, time, time]).collect();
    let before = "INSERT INTO records (collection, id, record, created_at, updated_at) VALUES";
    let after = " ON CONFLICT (collection, id) DO UPDATE SET record = excluded.record, updated_at = excluded.updated_at \
                 WHERE records.record <> excluded.record";
    let written = connection.run_rows_then(before, rows, after, &[]).await?;
    let created = all - there;
    count(collection, created as i64, time, connection).await?;
    Ok(Stored { created, updated: written - created, unchanged: all - written })
}

async fn count(collection: &str, more: i64, time: i64, connection: &mut Connection) -> Result<()> {
    let sql = "INSERT INTO collections (name, records, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET \
               records = collections.records + excluded.records, updated_at = excluded.updated_at";
    connection.run(sql, list![collection, more, time]).await.map(drop)
}

struct Delete {
    collection: String,
    id: String,
}

impl Write for Delete {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::with_capacity(group.len());
        for Delete { collection, id } in group {
            let sql = "DELETE FROM records WHERE collection = $1 AND id = $2";
            if connection.run(sql, list![collection, id]).await? == 0 {
                answers.push(Err(Error::NotFound(format!("`{collection}` has no record `{id}`"))));
                continue;
            }
            count(collection, -1, now(), connection).await?;
            answers.push(Ok(()));
        }
        Ok(answers)
    }
}

impl Store {
    pub async fn put_records(&self, collection: &str, records: Vec<NewRecord>) -> Result<Stored> {
        self.writer.write(Put { collection: collection.into(), records }).await
    }

    /// Services that have it keep it until the next sync.
    pub async fn delete_record(&self, collection: &str, id: &str) -> Result<()> {
        self.writer.write(Delete { collection: collection.into(), id: id.into() }).await
    }

    pub async fn record(&self, collection: &str, id: &str) -> Result<Option<Record>> {
        let sql = format!("SELECT {COLUMNS} FROM records WHERE collection = $1 AND id = $2");
        self.engine.read_first(sql, list![collection, id]).await
    }

    /// By their ids, after that one.
    pub async fn records(&self, collection: &str, after: Option<&str>, limit: i64) -> Result<Vec<Record>> {
        let sql = format!("SELECT {COLUMNS} FROM records WHERE collection = $1 AND id > $2 ORDER BY id LIMIT $3");
        self.engine.read(sql, list![collection, after.unwrap_or_default(), limit]).await
    }

    pub async fn collections(&self) -> Result<Vec<Collection>> {
        self.engine.read("SELECT name, records, updated_at FROM collections ORDER BY name", list![]).await
    }

    pub async fn collection(&self, name: &str) -> Result<Option<Collection>> {
        let sql = "SELECT name, records, updated_at FROM collections WHERE name = $1";
        self.engine.read_first(sql, list![name]).await
    }
}
