//! What of the confinement holds on this machine.

use super::{files, system_calls};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// The kernel's version of Landlock, 0 for none: files from 1, TCP ports from 4, signals and abstract sockets from 6.
    pub landlock: u32,
    pub seccomp: bool,
    /// Whether memory and processes are limited for a process together with all it starts.
    pub cgroup: bool,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cgroup: Option<String>,
    /// Whether each integration has a user of its own.
    pub users: bool,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_users: Option<String>,
    /// Whether a process ends with the server, however that ends.
    pub ends_with_server: bool,
}

impl Abilities {
    pub(super) fn probe(no_cgroup: Option<&str>, no_users: Option<&str>) -> Self {
        Self {
            landlock: files::version(),
            seccomp: system_calls::are_confined(),
            cgroup: no_cgroup.is_none(),
            no_cgroup: no_cgroup.map(Into::into),
            users: no_users.is_none(),
            no_users: no_users.map(Into::into),
            ends_with_server: true,
        }
    }

    /// Whether its files are kept from it by the kernel's rules, whoever it is.
    pub fn confines_files(&self) -> bool {
        self.landlock >= 1
    }

    /// Whether a process whose network is closed reaches the forward proxy only.
    pub fn confines_ports(&self) -> bool {
        self.landlock >= 4
    }

    pub fn confines_signals(&self) -> bool {
        self.landlock >= 6
    }
}
