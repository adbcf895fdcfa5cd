//! Where a sync pushes to: at another target or account nothing of the ledger is true.

use super::Sync;
use crate::{
    Error, Result, Store,
    engine::{Connection, list},
    writer::Write,
};
use uuid::Uuid;

/// Rows that one commit forgets.
const PIECE: i64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncPlace {
    /// Names what the settings say of it.
    pub target: String,
    /// As far as it is known.
    pub account: Option<String>,
}

/// The target and the account.
type Before = (String, Option<String>);

const BEFORE: &str =
    "SELECT target, account FROM ledgers WHERE integration = $1 AND connection = $2 AND collection = $3";

impl SyncPlace {
    /// Whether who entered this place has to enter that one. An account that was not known may be another one.
    pub fn is_left_for(&self, now: &Self) -> bool {
        self.target != now.target || now.account.is_some() && now.account != self.account
    }

    fn is_that_of(&self, (target, account): &Before) -> bool {
        let is_other = self.account.as_ref().zip(account.as_ref()).is_some_and(|(now, before)| now != before);
        self.target == *target && !is_other
    }
}

struct Enter {
    sync: Sync,
    worker: i64,
    place: SyncPlace,
}

enum Entered {
    /// Whether the ledger is of another place.
    Here { anew: bool },
    /// There is more to forget.
    Forgets,
}

impl Write for Enter {
    type Answer = Entered;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Entered>>> {
        let mut answers = Vec::with_capacity(group.len());
        for enter in group {
            answers.push(enter.enter(connection).await?);
        }
        Ok(answers)
    }
}

impl Enter {
    async fn enter(&self, connection: &mut Connection) -> Result<Result<Entered>> {
        let Self { sync, worker, place } = self;
        let sql = "SELECT id FROM syncs WHERE id = $1 AND worker = $2 AND status = 'running'";
        if connection.first::<(Uuid,)>(sql, list![sync.id, *worker]).await?.is_none() {
            return Ok(Err(Error::Fenced));
        }
        let of = list![&sync.integration, &sync.connection, &sync.collection];
        let before: Option<Before> = connection.first(BEFORE, of.clone()).await?;
        let anew = before.as_ref().is_some_and(|before| !place.is_that_of(before));
        if anew && !sync.dry_run {
            let sql = "DELETE FROM ledger WHERE integration = $1 AND connection = $2 AND collection = $3 AND record_id IN \
                       (SELECT record_id FROM ledger WHERE integration = $1 AND connection = $2 AND collection = $3 \
                       ORDER BY record_id LIMIT $4)";
            let args = of.iter().cloned().chain(list![PIECE]).collect();
            if connection.run(sql, args).await? == PIECE as u64 {
                return Ok(Ok(Entered::Forgets));
            }
        }
        if anew && !self.begin_anew(connection).await? {
            return Ok(Ok(Entered::Forgets));
        }
        if sync.dry_run {
            return Ok(Ok(Entered::Here { anew }));
        }
        let known = before.as_ref().and_then(|(_, account)| account.as_deref()).filter(|_| !anew);
        let sql = "INSERT INTO ledgers (integration, connection, collection, target, account) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (integration, connection, collection) DO UPDATE SET target = excluded.target, \
                   account = excluded.account";
        let args = of.into_iter().chain(list![&place.target, place.account.as_deref().or(known)]).collect();
        connection.run(sql, args).await?;
        Ok(Ok(Entered::Here { anew }))
    }

    /// What the sync did at another place counts for nothing here. Answers whether all of it is forgotten.
    async fn begin_anew(&self, connection: &mut Connection) -> Result<bool> {
        let sync = &self.sync;
        let sql = match sync.partial {
            true => {
                "UPDATE sync_items SET change = NULL, outcome = NULL, remote_id = NULL, code = NULL, error = NULL, at = NULL \
                 WHERE sync_id = $1 AND record_id IN (SELECT record_id FROM sync_items WHERE sync_id = $1 \
                 AND outcome IS NOT NULL ORDER BY record_id LIMIT $2)"
            }
            false => {
                "DELETE FROM sync_items WHERE sync_id = $1 AND record_id IN \
                 (SELECT record_id FROM sync_items WHERE sync_id = $1 ORDER BY record_id LIMIT $2)"
            }
        };
        if connection.run(sql, list![sync.id, PIECE]).await? == PIECE as u64 {
            return Ok(false);
        }
        let sql = "UPDATE syncs SET anew = $2, phase = 'records', reached = '', created = 0, updated = 0, deleted = 0, \
                   skipped = 0, failed = 0, unknown = 0 WHERE id = $1";
        connection.run(sql, list![sync.id, !sync.dry_run]).await?;
        Ok(true)
    }
}

impl Store {
    /// Begins the ledger anew when it is of another place, and the sync with it; in a dry run the sync alone. Answers
    /// whether it is.
    ///
    /// # Errors
    /// `Fenced` when another worker has the sync.
    pub async fn enter_place(&self, sync: &Sync, place: &SyncPlace) -> Result<bool> {
        let of = list![&sync.integration, &sync.connection, &sync.collection];
        let before: Option<Before> = self.engine.read_first(BEFORE, of).await?;
        if before.is_some_and(|(target, account)| {
            target == place.target && (place.account.is_none() || place.account == account)
        }) {
            return Ok(false);
        }
        loop {
            let enter = Enter { sync: sync.clone(), worker: self.worker, place: place.clone() };
            if let Entered::Here { anew } = self.writer.write(enter).await? {
                return Ok(anew);
            }
        }
    }
}
