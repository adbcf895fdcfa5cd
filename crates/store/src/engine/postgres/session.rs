//! The one session that writes. It holds the lock of the database itself: whoever has lost the session has lost the
//! right to write, and whoever has the lock knows that the session before it has ended with its transaction.

use super::{Address, CONNECTING, SETTINGS, is_lost, trouble::unusable};
use crate::{
    Error, Result,
    engine::{Arg, Record, Row, Sql, values},
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection};
use std::time::Duration;

/// With the schema, what names the lock among all advisory locks of the database: "terc".
const LOCK: i32 = 0x7465_7263;

/// How long a predecessor has to end.
const PREDECESSOR: Duration = Duration::from_secs(10);

/// The clock of the database, as we write times.
pub(crate) const CLOCK: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT";

pub(crate) struct Session {
    address: Address,
    /// None once it is lost.
    connection: Option<PgConnection>,
    /// Whose transactions these are; 0 before it has entered.
    worker: i64,
    /// Number of the newest transaction that was to be committed; the worker's row has it when it was.
    transaction: i64,
    /// The open transaction has changed something.
    changed: bool,
    /// COMMIT was sent and not answered, and nobody knows yet what became of it.
    unanswered: bool,
    /// What became of a COMMIT that was not answered, once that is known and until somebody asks.
    outcome: Option<bool>,
    /// The newest server when we last had the lock.
    newest: i64,
    /// A later one has the lock.
    replaced: bool,
}

impl Session {
    pub fn new(address: Address, connection: PgConnection) -> Self {
        Self {
            address,
            connection: Some(connection),
            worker: 0,
            transaction: 0,
            changed: false,
            unanswered: false,
            outcome: None,
            newest: 0,
            replaced: false,
        }
    }

    /// This worker has entered, and none is newer: we have the lock.
    pub fn works_for(&mut self, worker: i64) {
        (self.worker, self.newest) = (worker, worker);
    }

    pub async fn all<T: Record>(&mut self, sql: Sql, args: Vec<Arg>) -> Result<Vec<T>> {
        let bound = values::postgres(&sql, &args)?;
        let only_reads = sql.only_reads();
        let answer = sqlx::query_with(sql.text(), bound).fetch_all(self.live()?).await;
        let rows = self.note(answer)?;
        self.changed |= !only_reads && !rows.is_empty();
        rows.iter().map(|row| T::read(&Row::Postgres(row))).collect()
    }

    pub async fn run(&mut self, sql: Sql, args: Vec<Arg>) -> Result<u64> {
        let bound = values::postgres(&sql, &args)?;
        let connection = self.live()?;
        let answer = if args.is_empty() {
            sqlx::raw_sql(sql.text()).execute(connection).await
        } else {
            sqlx::query_with(sql.text(), bound).execute(connection).await
        };
        let changed = self.note(answer)?.rows_affected();
        self.changed |= changed > 0;
        Ok(changed)
    }

    pub async fn begin(&mut self) -> Result<()> {
        (self.changed, self.unanswered) = (false, false);
        self.run("BEGIN".into(), vec![]).await?;
        self.changed = false;
        Ok(())
    }

    /// The number of the transaction goes with it, so that a COMMIT that is not answered can be asked for later. The
    /// number that PostgreSQL gives a transaction would not do: after a crash it may be given again.
    pub async fn commit(&mut self) -> Result<()> {
        if !self.changed || self.worker == 0 {
            return self.run("COMMIT".into(), vec![]).await.map(drop);
        }
        self.transaction += 1;
        let Self { worker, transaction, .. } = self;
        let sql = format!("UPDATE workers SET commits = {transaction}, seen_at = {CLOCK} WHERE id = {worker}; COMMIT");
        self.unanswered = true;
        let answer = self.run(sql.into(), vec![]).await;
        // An error that leaves the session alive is an answer.
        self.unanswered = self.connection.is_none();
        answer.map(drop)
    }

    /// Shows that this worker is there, and finds out whether the database is.
    pub async fn beat(&mut self) -> Result<u64> {
        // It may be lost: nothing waits for a disk or a replica because of it.
        let worker = self.worker;
        let sql = format!(
            "BEGIN; SET LOCAL synchronous_commit = off; UPDATE workers SET seen_at = {CLOCK} WHERE id = {worker}; COMMIT"
        );
        self.run(sql.into(), vec![]).await?;
        let size: Vec<(i64,)> = self.all("SELECT pg_database_size(current_database())".into(), vec![]).await?;
        Ok(size.first().map_or(0, |(bytes,)| bytes.cast_unsigned()))
    }

    pub fn is_alive(&self) -> bool {
        self.connection.is_some()
    }

    pub fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    pub fn take_outcome(&mut self) -> Option<bool> {
        self.outcome.take()
    }

    pub fn is_replaced(&self) -> bool {
        self.replaced
    }

    pub fn newest(&self) -> i64 {
        self.newest
    }

    pub fn lose(&mut self) {
        self.connection = None;
    }

    /// Connects and takes the lock again, in one try.
    pub async fn revive(&mut self) -> Result<()> {
        let worker = self.worker;
        let revived = tokio::time::timeout(CONNECTING, async {
            let mut connection = connect(&self.address).await?;
            let has_lock = try_lock(&mut connection).await?;
            // In one look: what a newer server shows of us is what our session left behind.
            let sql = "SELECT (SELECT commits FROM workers WHERE id = $1), (SELECT COALESCE(MAX(id), 0) FROM workers)";
            let (commits, newest): (Option<i64>, i64) =
                sqlx::query_as(sql).bind(worker).fetch_one(&mut connection).await?;
            let holder = if has_lock { String::new() } else { holder(&mut connection).await? };
            Ok::<_, Error>((connection, has_lock, commits, newest, holder))
        });
        let place = &self.address.place;
        let (connection, has_lock, commits, newest, holder) = revived
            .await
            .map_err(|_| Error::Away(format!("PostgreSQL at {} does not answer", self.address.server)))??;
        let commits = commits.ok_or_else(|| {
            Error::Away(format!("The database {place} is another one than before: start this server again"))
        })?;
        self.replaced = !has_lock && newest > self.newest;
        // The session that sent the COMMIT held the lock. Whoever has it by now came after its end, and that of its
        // transaction. A lock that nobody new has may still be the old session's.
        if (has_lock || self.replaced) && std::mem::take(&mut self.unanswered) {
            self.outcome = Some(commits == self.transaction);
        }
        if !has_lock {
            return Err(Error::Away(format!("Another server{holder} has the database {place} now")));
        }
        (self.connection, self.newest) = (Some(connection), newest);
        Ok(())
    }

    pub async fn close(self) -> Result<()> {
        match self.connection {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }

    fn live(&mut self) -> Result<&mut PgConnection> {
        let server = &self.address.server;
        self.connection.as_mut().ok_or_else(|| Error::Away(format!("PostgreSQL at {server} is away")))
    }

    fn note<T>(&mut self, answer: sqlx::Result<T>) -> Result<T> {
        let answer = answer.map_err(Error::Database);
        if answer.as_ref().is_err_and(is_lost) {
            self.connection = None;
        }
        answer
    }
}

pub(super) async fn connect(address: &Address) -> Result<PgConnection> {
    let mut connection = address.options.connect().await?;
    sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
    Ok(connection)
}

async fn try_lock(connection: &mut PgConnection) -> Result<bool> {
    let sql = format!("SELECT pg_try_advisory_lock({LOCK}, hashtext(current_schema()))");
    let (taken,): (bool,) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(connection).await?;
    Ok(taken)
}

/// Takes the lock of the database, waiting for a predecessor that is just ending.
///
/// # Errors
/// `Unusable` when another server keeps it.
pub(super) async fn take_lock(connection: &mut PgConnection, address: &Address) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let failed = |error| match error {
            Error::Database(error) => unusable(address, error),
            error => error,
        };
        if try_lock(connection).await.map_err(failed)? {
            return Ok(());
        }
        if begun.elapsed() > PREDECESSOR {
            let holder = holder(connection).await.map_err(failed)?;
            return Err(Error::Unusable(format!(
                "Another server{holder} uses the database {}. Stop it, or give this one another DATABASE_URL",
                address.place
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Who has the lock, as far as PostgreSQL shows it to us, in brackets.
async fn holder(connection: &mut PgConnection) -> Result<String> {
    let sql = format!(
        "SELECT COALESCE(NULLIF(a.application_name, ''), 'unnamed'), COALESCE(host(a.client_addr), 'the same machine') \
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.classid::BIGINT = {LOCK}"
    );
    let holder: Option<(String, String)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_optional(connection).await?;
    Ok(holder.map_or(String::new(), |(name, host)| format!(" ({name}, on {host})")))
}
