//! What a confined process may: the words in which the rest of the program says so.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What one process, and everything it starts, may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Who it becomes; without one it keeps the server's user.
    pub identity: Option<Identity>,
    /// Files and directories it may read and execute, besides what every program needs of the system.
    pub readable: Vec<PathBuf>,
    /// Files and directories it may change as well. They must exist.
    pub writable: Vec<PathBuf>,
    pub network: Network,
    pub limits: Limits,
}

impl Policy {
    /// A process that sees the system's programs and nothing else, and reaches nobody.
    pub fn closed(identity: Option<Identity>) -> Self {
        Self {
            identity,
            readable: Vec::new(),
            writable: Vec::new(),
            network: Network::Ports(Vec::new()),
            limits: Limits::default(),
        }
    }

    #[must_use]
    pub fn read(mut self, path: impl AsRef<Path>) -> Self {
        self.readable.push(path.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn write(mut self, path: impl AsRef<Path>) -> Self {
        self.writable.push(path.as_ref().to_owned());
        self
    }
}

/// A user that exists as a number only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// TCP and UDP to anywhere. Unix sockets stay closed.
    Open,
    /// TCP to these ports only: where the forward proxy listens.
    Ports(Vec<u16>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes; of all processes together where a cgroup holds, else of each one.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    pub open_files: u64,
    /// Bytes of the largest file it may write.
    pub file_size: u64,
    /// How much it steps back behind others for the processor, 0 to 19.
    pub nice: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 1 << 30, processes: 256, open_files: 1024, file_size: 1 << 30, nice: 5 }
    }
}
