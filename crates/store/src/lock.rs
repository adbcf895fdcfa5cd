//! One server per data directory, kept by a lock that dies with its process.

use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{File, OpenOptions, Permissions},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Makes the directory (0711) if need be and takes it.
    ///
    /// # Errors
    /// `Unusable` when another server has it, or when it cannot be written.
    pub fn take(directory: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::Unusable(format!(
                "The data directory {} cannot be used: {error}. TERCEL_DATA_DIR names another",
                directory.display()
            ))
        };
        if !directory.exists() {
            std::fs::DirBuilder::new().recursive(true).mode(0o711).create(directory).map_err(failed)?;
            // Whatever the mask of the process: users of integrations have to get through.
            std::fs::set_permissions(directory, Permissions::from_mode(0o711)).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("lock"))
            .map_err(failed)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(error.into()));
            }
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            return Err(Error::Unusable(format!(
                "Another server (process {}) runs on the data directory {}. Stop it, or give this one another TERCEL_DATA_DIR",
                holder.trim(),
                directory.display()
            )));
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())
        };
        // A full disk must not keep a server from starting: the number is only for the message above.
        let _ = write(&mut file);
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being started right now has the file until it becomes its program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}
