//! The records of a sync, some at a time.

use super::Sync;
use crate::{
    LedgerRow, Result, Store,
    engine::{Record, Row, list},
    ledger,
};

/// A record as a sync looks at it.
#[derive(Debug, Clone)]
pub struct SyncRow {
    pub record_id: String,
    /// JSON object; absent: the record is gone.
    pub record: Option<String>,
    pub ledger: Option<LedgerRow>,
    /// What became of it in this sync already.
    pub outcome: Option<String>,
}

impl Record for SyncRow {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            record_id: row.get("of_record")?,
            record: row.get("of_here")?,
            ledger: match row.get::<Option<String>>("record_id")? {
                Some(_) => Some(LedgerRow::read(row)?),
                None => None,
            },
            outcome: row.get("of_outcome")?,
        })
    }
}

impl Store {
    /// The next records of a sync, by record: so many that they have about so many bytes, and one at least.
    pub async fn sync_page(
        &self,
        sync: &Sync,
        phase: &str,
        after: &str,
        limit: i64,
        bytes: i64,
    ) -> Result<Vec<SyncRow>> {
        let limit = match phase {
            "removals" => limit,
            _ => self.fit(sync, after, limit, bytes).await?,
        };
        let known = ledger::COLUMNS.split(", ").map(|column| format!("l.{column}")).collect::<Vec<_>>().join(", ");
        let of_ledger = "l.integration = $1 AND l.connection = $2 AND l.collection = $3";
        let sql = match (phase, sync.partial) {
            ("removals", _) => format!(
                "SELECT l.record_id AS of_record, CAST(NULL AS TEXT) AS of_here, i.outcome AS of_outcome, {known} FROM ledger l \
                 LEFT JOIN sync_items i ON i.sync_id = $4 AND i.record_id = l.record_id \
                 WHERE {of_ledger} AND l.record_id > $5 AND NOT EXISTS \
                 (SELECT 1 FROM records r WHERE r.collection = l.collection AND r.id = l.record_id) \
                 ORDER BY l.record_id LIMIT $6"
            ),
            (_, true) => format!(
                "SELECT i.record_id AS of_record, COALESCE(i.record, r.record) AS of_here, i.outcome AS of_outcome, {known} \
                 FROM sync_items i LEFT JOIN records r ON r.collection = $3 AND r.id = i.record_id \
                 LEFT JOIN ledger l ON {of_ledger} AND l.record_id = i.record_id \
                 WHERE i.sync_id = $4 AND i.record_id > $5 ORDER BY i.record_id LIMIT $6"
            ),
            (_, false) => format!(
                "SELECT r.id AS of_record, r.record AS of_here, i.outcome AS of_outcome, {known} FROM records r \
                 LEFT JOIN ledger l ON {of_ledger} AND l.record_id = r.id \
                 LEFT JOIN sync_items i ON i.sync_id = $4 AND i.record_id = r.id \
                 WHERE r.collection = $3 AND r.id > $5 ORDER BY r.id LIMIT $6"
            ),
        };
        let args = list![&sync.integration, &sync.connection, &sync.collection, sync.id, after, limit];
        self.engine.read(sql, args).await
    }

    /// How many of the next records have so many bytes; one at least.
    async fn fit(&self, sync: &Sync, after: &str, limit: i64, bytes: i64) -> Result<i64> {
        let sizes: Vec<(i64,)> = match sync.partial {
            true => {
                let sql = "SELECT CAST(COALESCE(octet_length(i.record), octet_length(r.record), 0) AS BIGINT) \
                           FROM sync_items i LEFT JOIN records r ON r.collection = $1 AND r.id = i.record_id \
                           WHERE i.sync_id = $2 AND i.record_id > $3 ORDER BY i.record_id LIMIT $4";
                self.engine.read(sql, list![&sync.collection, sync.id, after, limit]).await?
            }
            false => {
                let sql = "SELECT CAST(octet_length(record) AS BIGINT) FROM records WHERE collection = $1 AND id > $2 \
                           ORDER BY id LIMIT $3";
                self.engine.read(sql, list![&sync.collection, after, limit]).await?
            }
        };
        let mut sum = 0;
        let fit = sizes.iter().take_while(|(size,)| {
            sum += size;
            sum <= bytes
        });
        Ok((fit.count() as i64).max(1))
    }
}
