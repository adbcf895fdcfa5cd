//! Everything that lasts. Reads are functions of [`Store`], writes are values that one writer commits in groups.

pub mod accept;
mod accounts;
mod announcements;
mod attachments;
mod bots;
mod budgets;
mod channels;
mod client_calls;
mod connections;
pub mod copies;
mod deliveries;
mod documents;
mod egress;
mod engine;
pub mod failpoint;
mod handled;
mod hold;
mod hooks;
mod inspect;
mod integrations;
mod keys;
mod ledger;
pub mod left_out;
mod lock;
mod messages;
mod notices;
mod outbox;
mod overview;
mod parked;
pub mod passphrase;
#[cfg(test)]
mod plans;
mod polls;
mod providers;
mod records;
mod retention;
mod schedules;
pub mod seal;
mod sessions;
mod set_back;
mod settings;
pub mod snapshot;
mod spending;
mod steps;
mod syncs;
mod tasks;
mod usage;
mod words;
mod workers;
mod writer;

// So that tests in here and tests outside can share their world.
#[cfg(test)]
extern crate self as tercel_store;

pub use accept::{Accept, Accepted, Item, NewDelivery, NewMessage, NewTask, Placed, SessionRef};
pub use accounts::Closed;
pub use announcements::Announcement;
pub use attachments::{Attachment, Given};
pub use bots::Bot;
pub use budgets::{Budget, Price};
pub use channels::{Binding, Channel};
pub use client_calls::{ClientCall, ClientCalls};
pub use connections::{Health, Saved, Span, Tested};
pub use deliveries::Delivery;
pub use documents::{Document, Found};
pub use egress::Egress;
pub use handled::Handled;
pub use hooks::{Hook, HookAttempt, HookEvent, Progress, Told};
pub use inspect::{Inspection, inspect, inspect_postgres};
pub use integrations::IntegrationRow;
pub use keys::ApiKey;
pub use ledger::{LedgerRow, Whereabouts};
pub use lock::DirectoryLock;
pub use messages::Message;
pub use notices::{NewNotice, Notice};
pub use outbox::{Attempt, AttemptEnd, BROKEN_OFF, Leaving, NewOutbox, OutboxRow};
pub use overview::{Listener, Overview, Planned};
pub use parked::{Held, Release};
pub use polls::{Gap, Poll, Polled};
pub use providers::Provider;
pub use records::{Collection, NewRecord, Record, Stored};
pub use retention::{Old, Pruned};
pub use schedules::{Fire, FireRow, Fired, Schedule};
pub use seal::{MASK, Sealer};
pub use sessions::{NewSession, Once, Session};
pub use settings::{NewSetting, Setting};
pub use steps::{Commit, End, NewStep, StepRow};
pub use syncs::{
    DueSync, ItemEnd, NewItem, NewSync, Started, Sync, SyncEnd, SyncItem, SyncPlace, SyncRow, SyncSettings, SyncStep,
};
pub use tasks::{Cancelled, Claimed, Task};
pub use usage::{Action, Ceiling, Counts, Line, Spent};
pub use uuid::Uuid;
pub use workers::DownTime;
pub use writer::Turn;

use secrecy::SecretString;
use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Notify, broadcast};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database or the data directory cannot be used; the message says what to do.
    #[error("{0}")]
    Unusable(String),
    /// PostgreSQL.
    #[error("The database refused: {0}")]
    Database(#[from] sqlx::Error),
    #[error("The database refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Sealed(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    /// The task or outbox row belongs to another worker or attempt by now.
    #[error("This worker no longer holds it")]
    Fenced,
    #[error("The server is stopping")]
    Stopping,
    /// It comes back by itself, or the server keeps trying.
    #[error("{0}")]
    Away(String),
    /// The database was lost in the middle of a COMMIT and the server ends before it can be asked.
    #[error("The database did not say whether this was stored before the server stopped")]
    Unanswered,
    #[error("Stored JSON cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether another program holds the database.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(engine::sqlite::code(self), Some(5 | 6)) || engine::postgres::code(self) == Some("55P03")
    }

    /// Whether two transactions stood in each other's way: the next try may well succeed.
    pub(crate) fn is_contention(&self) -> bool {
        matches!(engine::postgres::code(self), Some("40001" | "40P01"))
    }

    /// Whether pages of the embedded database do not hold what was written there.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(engine::sqlite::code(self), Some(11 | 26))
    }

    /// Whether waiting may help: the disk is full, the file locked, the writer behind, the database away, or damaged until
    /// somebody puts a backup in its place.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Stopping | Self::Away(_) | Self::Unanswered => true,
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            _ => match engine::postgres::code(self) {
                Some(code) => engine::postgres::is_passing(code),
                // BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB.
                None => matches!(engine::sqlite::code(self), Some(5 | 6 | 8 | 10 | 11 | 13 | 14 | 26)),
            },
        }
    }

    /// What stands in the way of a write that may work later, in plain words that may be shown to anybody.
    pub fn obstacle(&self) -> &'static str {
        match (self, engine::postgres::code(self), engine::sqlite::code(self)) {
            (Self::Stopping, ..) => "The server is stopping; nothing was stored",
            (_, Some("53100"), _) | (_, _, Some(13)) => "The disk is full; nothing was stored",
            (_, Some("55P03"), _) | (_, _, Some(5 | 6)) => {
                "The database is locked by another program; nothing was stored"
            }
            (_, Some("25006"), _) | (_, _, Some(8)) => "The database cannot be written; nothing was stored",
            (_, _, Some(10 | 14)) => "The disk of the database does not work; nothing was stored",
            (_, _, Some(11 | 26)) => "The database is damaged: a backup has to be restored; nothing was stored",
            (Self::Unanswered, ..) => {
                "The database did not say whether this was stored before the server stopped: send it again, and what was \
                 stored is known by its Idempotency-Key or the id of its delivery"
            }
            (Self::Away(_), ..) => "The database is away; nothing was stored",
            (_, Some(_), _) => "The database has trouble; nothing was stored",
            _ => "The database does not keep up; nothing was stored",
        }
    }
}

/// Microseconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64)
}

/// Rung after a commit that made work, so that nobody polls.
pub struct Wake {
    pub tasks: Notify,
    pub outbox: Notify,
    pub syncs: Notify,
    /// Tasks of which a step was committed, or which ended.
    pub steps: broadcast::Sender<Uuid>,
}

impl Default for Wake {
    fn default() -> Self {
        Self { tasks: Notify::new(), outbox: Notify::new(), syncs: Notify::new(), steps: broadcast::Sender::new(1024) }
    }
}

pub struct Store {
    engine: engine::Engine,
    writer: writer::Writer,
    wake: Arc<Wake>,
    /// This process among all that ever wrote to this database.
    worker: i64,
    down: Option<workers::DownTime>,
    /// Where the file of the embedded database is.
    directory: Option<std::path::PathBuf>,
}

/// How a PostgreSQL database is used.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Connections for reading. One more writes.
    pub readers: u32,
    /// Where the database is copied to before it is migrated; without it, it is not.
    pub copies: Option<std::path::PathBuf>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { readers: 8, copies: None }
    }
}

impl Store {
    /// Opens the SQLite database `tercel.db` in a directory, bringing its schema up to date. What an earlier process
    /// left in the middle is free again.
    ///
    /// The caller holds the [`DirectoryLock`]: that proves the earlier process is gone.
    pub async fn open(_lock: &DirectoryLock, directory: &Path) -> Result<Arc<Self>> {
        let file = directory.join("tercel.db");
        let (engine, connection) = engine::sqlite::open(&file).await?;
        let entered = Self::enter(engine, connection, Some(directory.to_owned())).await;
        entered.map_err(|error| match error {
            Error::Sqlite(error) => engine::sqlite::unusable(&file, &error),
            error => error,
        })
    }

    /// Opens a PostgreSQL database (15 or later) as `DATABASE_URL` names it, bringing its schema up to date. One server
    /// uses it at a time: a lock in the database proves that the earlier one is gone, and is waited for up to 10 s.
    ///
    /// # Errors
    /// `Unusable`, with what to do. Nothing of the address but server, database and user is ever shown.
    pub async fn open_postgres(url: &SecretString, options: PostgresOptions) -> Result<Arc<Self>> {
        let address = engine::postgres::Address::parse(url)?;
        let (engine, connection) = engine::postgres::open(address.clone(), &options).await?;
        Self::enter(engine, connection, None).await.map_err(|error| match error {
            Error::Database(error) => engine::postgres::unusable(&address, error),
            error => error,
        })
    }

    async fn enter(
        engine: engine::Engine,
        mut connection: engine::Connection,
        directory: Option<std::path::PathBuf>,
    ) -> Result<Arc<Self>> {
        let (worker, down) = workers::enter(&mut connection).await?;
        connection.works_for(worker);
        let wake = Arc::new(Wake::default());
        let writer = writer::Writer::start(connection, worker, wake.clone());
        Ok(Arc::new(Self { engine, writer, wake, worker, down, directory }))
    }

    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    pub fn worker(&self) -> i64 {
        self.worker
    }

    /// Bytes of the database, as far as they are known, and of the write-ahead log of the embedded one.
    pub fn size(&self) -> (u64, u64) {
        let Some(directory) = &self.directory else { return (self.writer.size(), 0) };
        let bytes = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |m| m.len());
        (bytes("tercel.db"), bytes("tercel.db-wal"))
    }

    /// How long the oldest write has been waiting for the writer.
    /// Returns when nothing can be written any more because of a fault in the program.
    pub async fn is_broken(&self) {
        self.writer.is_broken().await;
    }

    pub fn writer_lag(&self) -> std::time::Duration {
        self.writer.lag()
    }

    /// Whose turn it is on the database. Whoever uses what was read from it before reads that anew when it is back, and
    /// says so.
    pub fn turn(&self) -> tokio::sync::watch::Receiver<Turn> {
        self.writer.turn()
    }

    /// All was read anew that was read before this turn.
    pub fn has_read_anew(&self, turn: Turn) {
        self.writer.has_read_anew(turn);
    }

    /// Commits what waits, notes the orderly end and closes the database.
    pub async fn close(&self) {
        let connection = self.writer.stop(self.worker).await;
        // The last connection to go clears the log away, which one for reading cannot.
        self.engine.close().await;
        if let Some(connection) = connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!("The database was not closed in order: {error}");
        }
    }
}
