//! What errors of SQLite mean.

use crate::Error;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether damage was met while the server runs. It does not pass by itself.
#[derive(Default)]
pub(crate) struct Damage(AtomicBool);

impl Damage {
    /// Remembers it when the error says so.
    pub fn look(&self, error: &Error) {
        if error.is_damage() && !self.0.swap(true, Ordering::Relaxed) {
            tracing::error!("The database is damaged. Stop the server and restore a backup: {error}");
        }
    }

    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Primary result codes, <https://sqlite.org/rescode.html>; extended ones carry them in the low byte.
pub(crate) fn code(error: &Error) -> Option<i32> {
    match error {
        Error::Sqlite(error) => code_of(error),
        _ => None,
    }
}

fn code_of(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code & 0xff)
}

/// The same error for another write.
pub(crate) fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => rusqlite::Error::SqliteFailure(*code, message.clone()),
        error => rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(1), Some(error.to_string())),
    }
}

/// Why the database cannot be opened, and what to do.
pub(crate) fn unusable(file: &Path, error: &rusqlite::Error) -> Error {
    let advice = match code_of(error) {
        Some(8) => "it cannot be written: check the owner and the rights of the file and its directory",
        Some(10 | 13) => "the disk is full or failing: free some space",
        Some(11 | 26) => {
            "it is damaged or no database. Nothing was changed. Restore a backup, or move the file away to start anew"
        }
        Some(14) => "it cannot be opened: check the rights of the file and its directory",
        Some(5 | 6) => "another program has it locked: end that program",
        _ => "it cannot be used",
    };
    Error::Unusable(format!("The database {}: {advice} ({error})", file.display()))
}
