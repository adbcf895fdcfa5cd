//! Backups: one file, taken while the server runs.

pub mod archive;
pub mod restore;

use crate::{api::time::rfc3339, app::App, disk};
use anyhow::{Context, Result, bail};
use archive::Head;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use tercel_store::{copies, now, passphrase, snapshot};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

/// Where the copy of the database lies while it is packed.
const SCRATCH: &str = "backup-";
const NOTE: &str = "last-backup.json";
/// Pieces on their way to somebody who reads slowly.
const PIECES: usize = 8;
const PIECE: usize = 64 << 10;

/// One at a time.
#[derive(Default)]
pub struct Backups(Arc<Mutex<()>>);

impl Backups {
    /// None is begun until this is dropped; `None` while one is being made.
    pub fn pause(&self) -> Option<OwnedMutexGuard<()>> {
        self.0.clone().try_lock_owned().ok()
    }
}

/// What becomes of the secrets.
pub enum Secrets {
    SealedTo(SecretString),
    LeftOut,
}

/// The last backup that was handed over whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Last {
    pub at: i64,
    pub bytes: u64,
    /// Whether it has the secrets.
    pub secrets: bool,
}

/// A copy of everything, ready to be packed.
pub struct Ready {
    head: Head,
    /// Of the database.
    copy: PathBuf,
    _scratch: TempDir,
    _one: OwnedMutexGuard<()>,
}

/// Copies the database as it is now. Writers go on meanwhile.
///
/// # Errors
/// Says what stands in the way and what to do.
pub async fn prepare(app: &Arc<App>, secrets: Secrets) -> Result<Ready> {
    let Some(one) = app.backups.pause() else {
        bail!("Another backup is being made, or the key is being replaced; wait for its end")
    };
    let data = &app.config.data_dir;
    let (size, log) = app.store.size();
    if let Some(room) = disk::room(data)
        && room.free < size + log + room.floor
    {
        bail!(
            "The copy of the database needs {} MB below {}, and {} MB must stay free; {} MB are free",
            (size + log) >> 20,
            data.display(),
            room.floor >> 20,
            room.free >> 20
        );
    }
    let scratch = tempfile::Builder::new()
        .prefix(SCRATCH)
        .tempdir_in(data)
        .with_context(|| format!("{} cannot be written", data.display()))?;
    let copy = scratch.path().join(if app.store.is_elsewhere() { archive::COPY } else { archive::DATABASE });
    let schema = match (app.store.is_elsewhere(), &secrets) {
        (false, _) => app.store.snapshot(&copy).await?,
        (true, Secrets::SealedTo(_)) => app.store.copy(&copy, copies::Secrets::Kept).await?,
        (true, Secrets::LeftOut) => app.store.copy(&copy, copies::Secrets::LeftOut).await?,
    };
    let key = match &secrets {
        Secrets::SealedTo(passphrase) => Some(sealed_key(app, passphrase.clone()).await?),
        Secrets::LeftOut if app.store.is_elsewhere() => None,
        Secrets::LeftOut => {
            let needed = snapshot::remove_secrets(&copy).await?;
            tracing::info!("The backup is made without secrets. Left out: {}", needed.join("; "));
            None
        }
    };
    let head = Head {
        format: archive::FORMAT,
        tercel: env!("CARGO_PKG_VERSION").into(),
        schema,
        made_at: rfc3339(now()),
        key,
    };
    Ok(Ready { head, copy, _scratch: scratch, _one: one })
}

/// Packs, on a thread of its own. What is received ends with an error unless it is whole.
pub fn pack(app: Arc<App>, ready: Ready) -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, received) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { to: pieces.clone(), piece: Vec::with_capacity(PIECE), bytes: 0 };
        let data = &app.config.data_dir;
        let packed = archive::write(&mut out, &ready.head, &ready.copy, data).and_then(|()| Ok(out.flush()?));
        match packed {
            Ok(()) => note(data, &Last { at: now(), bytes: out.bytes, secrets: ready.head.key.is_some() }),
            Err(error) => {
                tracing::warn!("The backup was not finished: {error:#}");
                // Nobody listens any more: that is why it was not finished.
                let _ = pieces.blocking_send(Err(io::Error::other(format!("{error:#}"))));
            }
        }
        // Before the end is seen: a command ends then.
        drop(ready);
    });
    received
}

/// What was noted of the last backup.
pub fn last(data: &Path) -> Option<Last> {
    serde_json::from_slice(&fs::read(data.join(NOTE)).ok()?).ok()
}

/// Copies that a process left behind when it was killed.
pub fn clear(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(SCRATCH));
        if ours && entry.path().is_dir() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn note(data: &Path, last: &Last) {
    let written = serde_json::to_vec(last).map_err(io::Error::other).and_then(|text| fs::write(data.join(NOTE), text));
    if let Err(error) = written {
        tracing::warn!("The time of the backup could not be noted: {error}");
    }
}

/// The key that opens the secrets, sealed. Making it slow to guess takes a moment.
async fn sealed_key(app: &App, passphrase: SecretString) -> Result<passphrase::Sealed> {
    let key: SecretString = match &app.config.encryption_key {
        Some(key) => key.clone(),
        None => fs::read_to_string(app.config.data_dir.join("key")).context("The key cannot be read")?.into(),
    };
    let seal = move || passphrase::seal(passphrase.expose_secret(), key.expose_secret().trim());
    Ok(tokio::task::spawn_blocking(seal).await??)
}

struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    bytes: u64,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.to.blocking_send(Ok(piece.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
