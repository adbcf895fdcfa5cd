//! What was pushed where: a row for each record that a connection has, had, or may have.

use crate::{
    Error, Result, Store,
    engine::{Connection, Record, Row, list, record},
    now,
    syncs::OPEN,
    writer::Write,
};

/// What is known of one record at one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerRow {
    pub record_id: String,
    /// What the record is known by there, for ever.
    pub key: String,
    /// `there`, `absent`, `pushing` (begun, and nobody has said how that ended) or `unknown`.
    pub state: String,
    /// Of the last push: `create`, `update` or `delete`.
    pub change: String,
    pub remote_id: Option<String>,
    /// Of what is there; absent: nothing is.
    pub hash: Option<String>,
    /// JSON: what is on its way, or may have arrived.
    pub sending: Option<String>,
    /// Pushes that have ended, whatever way.
    pub pushes: i64,
    /// JSON of an `sdk::Error`: why the last push failed.
    pub error: Option<String>,
    /// When it last became there what it was here.
    pub pushed_at: Option<i64>,
    pub updated_at: i64,
}

record!(LedgerRow { record_id, key, state, change, remote_id, hash, sending, pushes, error, pushed_at, updated_at });

pub(crate) const COLUMNS: &str =
    "record_id, key, state, change, remote_id, hash, sending, pushes, error, pushed_at, updated_at";

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    pub integration: String,
    pub connection: String,
    pub row: LedgerRow,
}

impl Record for Whereabouts {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            integration: row.get("integration")?,
            connection: row.get("connection")?,
            row: LedgerRow::read(row)?,
        })
    }
}

/// Which ledger: integration, connection, collection.
pub(crate) type Of<'a> = (&'a str, &'a str, &'a str);

pub(crate) async fn put(
    (integration, of_connection, collection): Of<'_>,
    rows: &[LedgerRow],
    connection: &mut Connection,
) -> Result<()> {
    let time = now();
    let rows = rows
        .iter()
        .map(|row| {
            list![
                integration,
                of_connection,
                collection,
                &row.record_id,
                &row.key,
                &row.state,
                &row.change,
                &row.remote_id,
                &row.hash,
                &row.sending,
                row.pushes,
                &row.error,
                row.pushed_at,
                time,
            ]
        })
        .collect();
    let before = format!("INSERT INTO ledger (integration, connection, collection, {COLUMNS}) VALUES");
    let after = " ON CONFLICT (integration, connection, collection, record_id) DO UPDATE SET key = excluded.key, \
                 state = excluded.state, change = excluded.change, remote_id = excluded.remote_id, hash = excluded.hash, \
                 sending = excluded.sending, pushes = excluded.pushes, error = excluded.error, \
                 pushed_at = excluded.pushed_at, updated_at = excluded.updated_at";
    connection.run_rows(&before, rows, after).await
}

pub(crate) async fn remove(
    (integration, of_connection, collection): Of<'_>,
    records: &[String],
    connection: &mut Connection,
) -> Result<()> {
    let rows = records.iter().map(|id| list![integration, of_connection, collection, id]).collect();
    let before = "DELETE FROM ledger WHERE (integration, connection, collection, record_id) IN (VALUES";
    connection.run_rows(before, rows, ")").await
}

struct Settle {
    integration: String,
    connection: String,
    collection: String,
    record_id: String,
    /// It is there: its id, and the hash of what is, as far as they are known.
    there: Option<(Option<String>, Option<String>)>,
}

impl Write for Settle {
    type Answer = LedgerRow;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<LedgerRow>>> {
        let mut answers = Vec::with_capacity(group.len());
        for settle in group {
            answers.push(settle.settle(connection).await?);
        }
        Ok(answers)
    }
}

impl Settle {
    async fn settle(&self, connection: &mut Connection) -> Result<Result<LedgerRow>> {
        let sql = format!(
            "SELECT id FROM syncs WHERE {OPEN} AND status = 'running' AND integration = $1 AND connection = $2 LIMIT 1"
        );
        if connection.first::<(crate::Uuid,)>(sql, list![&self.integration, &self.connection]).await?.is_some() {
            return Ok(Err(Error::Conflict(
                "A sync of this connection is running: wait for its end, or cancel it".into(),
            )));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM ledger WHERE integration = $1 AND connection = $2 AND collection = $3 AND record_id = $4"
        );
        let args = list![&self.integration, &self.connection, &self.collection, &self.record_id];
        let Some(row) = connection.first::<LedgerRow>(sql, args).await? else {
            let message = format!("The record `{}` was never pushed by this connection", self.record_id);
            return Ok(Err(Error::NotFound(message)));
        };
        let settled = LedgerRow {
            state: if self.there.is_some() { "there" } else { "absent" }.into(),
            remote_id: self.there.clone().and_then(|(remote, _)| remote.or_else(|| row.remote_id.clone())),
            // Where nobody knows what is there exactly, the next sync writes it anew.
            hash: self.there.clone().map(|(_, hash)| hash.unwrap_or_default()),
            sending: None,
            error: None,
            pushes: row.pushes + 1,
            updated_at: now(),
            ..row
        };
        let of = (self.integration.as_str(), self.connection.as_str(), self.collection.as_str());
        put(of, std::slice::from_ref(&settled), connection).await?;
        Ok(Ok(settled))
    }
}

impl Store {
    /// By record, after that one; those in a state, or all.
    pub async fn ledger(
        &self,
        (integration, connection, collection): (&str, &str, &str),
        state: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<LedgerRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM ledger WHERE integration = $1 AND connection = $2 AND collection = $3 AND record_id > $4 \
             AND ($5 IS NULL OR state = $5) ORDER BY record_id LIMIT $6"
        );
        let args = list![integration, connection, collection, after.unwrap_or_default(), state, limit];
        self.engine.read(sql, args).await
    }

    /// Where a record was pushed.
    pub async fn whereabouts(&self, collection: &str, record_id: &str) -> Result<Vec<Whereabouts>> {
        let sql = format!(
            "SELECT integration, connection, {COLUMNS} FROM ledger WHERE collection = $1 AND record_id = $2 \
             ORDER BY integration, connection"
        );
        self.engine.read(sql, list![collection, record_id]).await
    }

    /// What a person found out about a record: that it is there, with its id and the hash of what is as far as they are
    /// known, or that it is not.
    ///
    /// # Errors
    /// `Conflict` while a sync of the connection runs, `NotFound` when the record was never pushed.
    pub async fn settle_record(
        &self,
        (integration, connection, collection): (&str, &str, &str),
        record_id: &str,
        there: Option<(Option<String>, Option<String>)>,
    ) -> Result<LedgerRow> {
        let settle = Settle {
            integration: integration.into(),
            connection: connection.into(),
            collection: collection.into(),
            record_id: record_id.into(),
            there,
        };
        self.writer.write(settle).await
    }
}
