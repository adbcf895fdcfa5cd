//! Connections for reading, on threads that may wait for the disk.

use super::{Arg, Damage, Record, Sql, open::connect_to_read};
use crate::{Error, Result};
use rusqlite::Connection;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Reads at the same time.
const CONNECTIONS: usize = 4;
/// Connections that are kept while nobody reads. Each knows the schema by itself, which is a quarter of a megabyte.
const KEPT: usize = 2;
/// How long a read waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Readers {
    file: PathBuf,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    pub damage: Damage,
}

impl Readers {
    /// Connects when there is something to read.
    pub fn new(file: PathBuf) -> Self {
        Self { file, turns: Arc::new(Semaphore::new(CONNECTIONS)), idle: Arc::default(), damage: Damage::default() }
    }

    pub async fn read<T: Record>(&self, sql: Sql, args: Vec<Arg>) -> Result<Vec<T>> {
        let turn = match tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => return Err(Error::Stopping),
            Err(_) => return Err(Error::Away("The database is busy with other questions; nothing was lost".into())),
        };
        let (file, idle) = (self.file.clone(), self.idle.clone());
        let read = tokio::task::spawn_blocking(move || {
            let kept = idle.lock().expect("no holder of this lock panics").pop();
            let connection = kept.map_or_else(|| connect_to_read(&file), Ok)?;
            let rows = super::all(&connection, &sql, &args);
            let mut idle = idle.lock().expect("no holder of this lock panics");
            if idle.len() < KEPT {
                idle.push(connection);
            }
            drop(turn);
            rows
        });
        read.await.map_err(|_| Error::Stopping)?.inspect_err(|error| self.damage.look(error))
    }

    /// Waits for the reads under way.
    pub async fn close(&self) {
        let all = self.turns.acquire_many(CONNECTIONS as u32).await;
        self.turns.close();
        drop(all);
        self.idle.lock().expect("no holder of this lock panics").clear();
    }
}
