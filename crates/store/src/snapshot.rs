//! Whole copies of the embedded database, made while it is used.

use crate::{
    Error, Result, Store,
    engine::{
        self,
        sqlite::{self, blocking},
    },
    left_out,
};
use futures::executor::block_on;
use rusqlite::{Connection, OpenFlags};
use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What the copy before a migration is named after the database, before the number of its schema.
const BEFORE: &str = "schema-";

/// Number of the newest schema that this program knows.
pub fn newest_schema() -> i64 {
    sqlite::MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

impl Store {
    /// Copies the database as it is at one moment into a new file, which is as small as can be. Writers go on meanwhile;
    /// the write-ahead log is carried over when the copy is done. Answers the schema.
    ///
    /// # Errors
    /// `Unusable` for a database that is elsewhere.
    pub async fn snapshot(&self, file: &Path) -> Result<i64> {
        let Some(directory) = &self.directory else {
            return Err(Error::Unusable("The database is no file: it is copied by `Store::copy`".into()));
        };
        let (database, file) = (directory.join("tercel.db"), file.to_owned());
        blocking(move || {
            let connection = sqlite::connect(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            copy(&connection, &file)?;
            Ok(sqlite::schema(&connection)?.unwrap_or_default())
        })
        .await
    }
}

/// Checks all of a database file and answers its schema. Nothing is written.
///
/// # Errors
/// `Unusable` for a file that is damaged, foreign, or newer than this program.
pub async fn check(file: &Path) -> Result<i64> {
    let connection = sqlite::look(file).await?;
    let schema = sqlite::schema(&connection)?;
    schema.ok_or_else(|| Error::Unusable(format!("{} is empty", file.display())))
}

/// Takes the sealed values out of a copy and leaves no trace of them. Answers what needs its secrets again.
pub async fn remove_secrets(file: &Path) -> Result<Vec<String>> {
    let file = file.to_owned();
    blocking(move || {
        let connection = sqlite::connect(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "secure_delete", true)?;
        let mut connection = engine::Connection::Sqlite(connection);
        block_on(async {
            left_out::leave_out(&mut connection).await?;
            let needed = left_out::needed(&mut connection).await?;
            connection.close().await?;
            Ok(needed)
        })
    })
    .await
}

/// What was left out of the secrets of a copy, a line each.
pub async fn needed_secrets(file: &Path) -> Result<Vec<String>> {
    let mut connection = engine::Connection::Sqlite(sqlite::look(file).await?);
    let needed = left_out::needed(&mut connection).await?;
    connection.close().await?;
    Ok(needed)
}

/// Copies a database that is about to be migrated to a file beside it, and removes the copy before the last migration.
/// Answers the copy; `None` for a database that is new or up to date.
pub(crate) fn before_migrating(connection: &Connection, file: &Path) -> Result<Option<PathBuf>> {
    let schema = sqlite::schema(connection)?.unwrap_or_default();
    if schema == 0 || schema >= newest_schema() {
        return Ok(None);
    }
    let named = |ending: String| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{BEFORE}{ending}"));
        PathBuf::from(name)
    };
    let (kept, draft) = (named(schema.to_string()), named("draft".into()));
    copy(connection, &draft).map_err(|error| {
        Error::Unusable(format!(
            "The database {} is to be migrated, and the copy before that cannot be made: {error}. Free as much space as it \
             takes. Nothing was changed",
            file.display()
        ))
    })?;
    let failed = |error: std::io::Error| Error::Unusable(format!("{} cannot be written: {error}", kept.display()));
    fs::File::open(&draft).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, &kept).map_err(failed)?;
    remove_earlier(file, &kept);
    Ok(Some(kept))
}

/// One is kept: the last.
fn remove_earlier(file: &Path, kept: &Path) {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let start = format!("{name}.{BEFORE}");
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&start)) && entry.path() != kept {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn copy(connection: &Connection, file: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::Unusable(format!("{} cannot be written: {error}", file.display()));
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // Nobody else may read it; SQLite takes an empty file for one that is not there.
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    if let Err(error) = connection.execute("VACUUM INTO ?1", [file.to_string_lossy()]) {
        let _ = fs::remove_file(file);
        return Err(error.into());
    }
    Ok(())
}
