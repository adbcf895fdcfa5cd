//! An environment that something runs with. It is not removed meanwhile, by no process.

use super::install;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

#[derive(Debug)]
pub struct InUse {
    directory: PathBuf,
    /// Of what was installed, to the version.
    pub packages: String,
    /// Locked as long as it is open.
    _directory: File,
}

impl InUse {
    /// `None` when it is not complete, or being removed.
    pub fn take(directory: &Path) -> Option<Arc<Self>> {
        let opened = File::open(directory).ok()?;
        opened.try_lock_shared().ok()?;
        // It may have been removed before it was locked, and another one made.
        let there = fs::metadata(directory).ok()?;
        if opened.metadata().ok()?.ino() != there.ino() {
            return None;
        }
        install::finished(directory)?;
        let lock = fs::read(directory.join(install::LOCK)).ok()?;
        note_use(directory);
        let packages = hex::encode(&Sha256::digest(lock)[..8]);
        Some(Arc::new(Self { directory: directory.into(), packages, _directory: opened }))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        note_use(&self.directory);
    }
}

/// Packages decide whether two are the same; that somebody uses them does not.
impl PartialEq for InUse {
    fn eq(&self, other: &Self) -> bool {
        (&self.directory, &self.packages) == (&other.directory, &other.packages)
    }
}

impl Eq for InUse {}

fn note_use(directory: &Path) {
    // One that cannot be written is not removed by us either.
    let noted = File::options().append(true).open(directory.join(install::LOCK));
    let _ = noted.and_then(|file| file.set_modified(SystemTime::now()));
}

/// For how long nobody has used it.
pub fn idle(directory: &Path) -> Duration {
    let used = fs::metadata(directory.join(install::LOCK)).and_then(|metadata| metadata.modified());
    used.ok().and_then(|used| used.elapsed().ok()).unwrap_or_default()
}
