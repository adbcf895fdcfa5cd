//! The socket that a worker accepts on. Ours to make, so that what listens is there before the process is.

use rustix::fs::{CWD, Mode, OFlags};
use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
};
use tokio::net::UnixStream;
use uuid::Uuid;

/// Removes what a server that was killed has left.
pub fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "sock") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Where a worker listens. The name goes with the value.
pub struct Socket {
    directory: OwnedFd,
    name: String,
}

impl Socket {
    /// In a directory that is nobody else's.
    pub fn bind(directory: &PathBuf) -> io::Result<(Self, UnixListener)> {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let directory =
            rustix::fs::openat(CWD, directory, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let socket = Self { directory, name: format!("{}.sock", Uuid::now_v7().simple()) };
        let listener = UnixListener::bind(socket.path())?;
        Ok((socket, listener))
    }

    pub async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.path()).await
    }

    /// By descriptor: the name of a socket has 108 bytes at most, and the data directory may be deep.
    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/{}", self.directory.as_raw_fd(), self.name).into()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be gone with its directory.
        let _ = fs::remove_file(self.path());
    }
}
