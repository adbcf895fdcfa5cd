//! Everything that lasts. Reads are functions of [`Store`], writes are values that one writer commits in groups.

pub mod accept;
mod bots;
mod channels;
mod connections;
mod deliveries;
mod documents;
mod egress;
mod engine;
pub mod failpoint;
mod inspect;
mod keys;
mod lock;
mod messages;
mod notices;
mod outbox;
#[cfg(test)]
mod plans;
pub mod seal;
mod sessions;
mod settings;
mod steps;
mod tasks;
mod usage;
mod workers;
mod writer;

// So that tests in here and tests outside can share their world.
#[cfg(test)]
extern crate self as tercel_store;

pub use accept::{Accept, Accepted, Ceiling, Item, NewDelivery, NewMessage, NewTask, Placed, SessionRef};
pub use bots::Bot;
pub use channels::{Binding, Channel};
pub use connections::Health;
pub use deliveries::Delivery;
pub use documents::{Document, Found};
pub use egress::Egress;
pub use inspect::{Inspection, inspect};
pub use keys::ApiKey;
pub use lock::DirectoryLock;
pub use messages::Message;
pub use notices::{NewNotice, Notice};
pub use outbox::{Attempt, AttemptEnd, Leaving, NewOutbox, OutboxRow};
pub use seal::{MASK, Sealer};
pub use sessions::Session;
pub use settings::Setting;
pub use steps::{Commit, End, NewStep, StepRow};
pub use tasks::{Claimed, Task};
pub use uuid::Uuid;

use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::Notify;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database or the data directory cannot be used; the message says what to do.
    #[error("{0}")]
    Unusable(String),
    #[error("The database refused: {0}")]
    Database(#[from] sqlx::Error),
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
    #[error("Stored JSON cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether another program holds the database.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self.sqlite_code(), Some(5 | 6))
    }

    fn sqlite_code(&self) -> Option<u32> {
        let Self::Database(error) = self else { return None };
        Some(error.as_database_error()?.code()?.parse::<u32>().ok()? & 0xff)
    }

    /// Whether waiting may help: the disk is full, the file locked, the writer behind.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Stopping => true,
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            // SQLITE_BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
            _ => matches!(self.sqlite_code(), Some(5 | 6 | 8 | 10 | 13 | 14)),
        }
    }
}

/// Microseconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64)
}

/// Rung after a commit that made work, so that nobody polls.
#[derive(Default)]
pub struct Wake {
    pub tasks: Notify,
    pub outbox: Notify,
    /// A step was committed, or a task ended.
    pub steps: Notify,
}

pub struct Store {
    engine: engine::Engine,
    writer: writer::Writer,
    wake: Arc<Wake>,
    /// This process among all that ever wrote to this database.
    worker: i64,
    directory: std::path::PathBuf,
}

impl Store {
    /// Opens the SQLite database `tercel.db` in a directory, bringing its schema up to date. What an earlier process
    /// left in the middle is free again.
    ///
    /// The caller holds the [`DirectoryLock`]: that proves the earlier process is gone.
    pub async fn open(_lock: &DirectoryLock, directory: &Path) -> Result<Arc<Self>> {
        let file = directory.join("tercel.db");
        let (engine, mut connection) = engine::Engine::open(&file).await?;
        let worker = workers::enter(&mut connection).await.map_err(|error| match error {
            Error::Database(error) => engine::unusable(&file, error),
            error => error,
        })?;
        let wake = Arc::new(Wake::default());
        let writer = writer::Writer::start(connection, wake.clone());
        Ok(Arc::new(Self { engine, writer, wake, worker, directory: directory.to_owned() }))
    }

    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    pub fn worker(&self) -> i64 {
        self.worker
    }

    /// Bytes of the database and of its write-ahead log.
    pub fn size(&self) -> (u64, u64) {
        let bytes = |name: &str| std::fs::metadata(self.directory.join(name)).map_or(0, |m| m.len());
        (bytes("tercel.db"), bytes("tercel.db-wal"))
    }

    /// How long the oldest write has been waiting for the writer.
    pub fn writer_lag(&self) -> std::time::Duration {
        self.writer.lag()
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
