//! Limits for a process together with all it starts: cgroups of version 2, where they are given to this server.

use super::Limits;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const MOUNTED: &str = "/sys/fs/cgroup";
/// The group of the server itself: only groups without processes of their own can have limited ones below.
const OWN: &str = "server";

/// Where groups are made.
#[derive(Clone)]
pub struct Place {
    directory: PathBuf,
    prefix: String,
    made: Arc<AtomicU64>,
}

impl Place {
    /// None where the machine has no such groups or has not given this server one to divide.
    pub fn find(data: &Path) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        if path.is_empty() {
            return None;
        }
        let place = divided(&Path::new(MOUNTED).join(path))?;
        let name = Sha256::digest(data.as_os_str().as_encoded_bytes());
        let place = Self::below(place, &format!("tercel-{}", hex::encode(&name[..4])));
        place.clear();
        Some(place)
    }

    /// Whether the server that is this process has one. Looks only.
    pub fn is_given(server: u32) -> bool {
        let own = fs::read_to_string(format!("/proc/{server}/cgroup")).unwrap_or_default();
        let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
        let own = Path::new(MOUNTED).join(path);
        let divided = own.parent().map(|parent| parent.join("cgroup.subtree_control"));
        let limited = divided.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        own.ends_with(OWN) && ["memory", "pids"].iter().all(|kind| limited.split_whitespace().any(|word| word == *kind))
    }

    fn below(directory: PathBuf, prefix: &str) -> Self {
        Self { directory, prefix: prefix.into(), made: Arc::default() }
    }

    pub fn make(&self, limits: &Limits) -> Result<Group> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{}-{}-{number}", self.prefix, std::process::id()));
        fs::create_dir(&path).with_context(|| format!("The cgroup {} cannot be made", path.display()))?;
        let group = Group { path };
        group.set("memory.max", limits.memory)?;
        group.set("pids.max", limits.processes)?;
        // Where there is no swap there is nothing to limit.
        let _ = group.set("memory.swap.max", 0);
        let _ = group.set("memory.oom.group", 1);
        Ok(group)
    }

    /// Ends what an earlier server left running.
    fn clear(&self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.prefix)) {
            drop(Group { path: entry.path() });
        }
    }
}

/// The directory below which groups can be made, with memory and processes limited there.
fn divided(own: &Path) -> Option<PathBuf> {
    let place = match own.file_name()?.to_str()? {
        OWN => own.parent()?.to_owned(),
        _ => {
            // A group that others are in is not this server's to divide.
            let processes = fs::read_to_string(own.join("cgroup.procs")).ok()?;
            if processes.trim() != std::process::id().to_string() {
                return None;
            }
            let inner = own.join(OWN);
            fs::create_dir(&inner).or_else(|error| inner.is_dir().then_some(()).ok_or(error)).ok()?;
            join(&inner).ok()?;
            own.to_owned()
        }
    };
    fs::write(place.join("cgroup.subtree_control"), "+memory +pids").ok()?;
    Some(place)
}

/// Moves the process that calls it.
pub fn join(group: &Path) -> Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
        .with_context(|| format!("The cgroup {} cannot be entered", group.display()))
}

/// The group of one process and what it starts. Dropped, all in it are killed.
pub struct Group {
    path: PathBuf,
}

impl Group {
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    pub fn kill(&self) {
        // Kernels before 5.14 have no such file; then the process group has to do.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    fn set(&self, file: &str, value: u64) -> Result<()> {
        let file = self.path.join(file);
        fs::write(&file, value.to_string()).with_context(|| format!("{} cannot be set", file.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        remove(self.path.clone());
    }
}

/// A group can be removed when the last of its processes is gone, a moment after it was killed.
fn remove(path: PathBuf) {
    if fs::remove_dir(&path).is_ok() {
        return;
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if fs::remove_dir(&path).is_ok() {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for the kernel's directory: what is written there is what the kernel would read.
    #[test]
    fn a_group_has_the_limits_of_its_process_and_those_of_an_earlier_server_are_ended() {
        let place = tempfile::tempdir().unwrap();
        let groups = Place::below(place.path().into(), "tercel-1234");
        let limits = Limits { memory: 1 << 20, processes: 7, ..Limits::default() };
        let (first, second) = (groups.make(&limits).unwrap(), groups.make(&limits).unwrap());
        assert_ne!(first.path(), second.path());
        for (file, value) in [("memory.max", "1048576"), ("pids.max", "7"), ("memory.swap.max", "0")] {
            assert_eq!(fs::read_to_string(first.path().join(file)).unwrap(), value);
        }
        join(&first.path()).unwrap();
        assert_eq!(fs::read_to_string(first.path().join("cgroup.procs")).unwrap(), "0");
        first.kill();
        assert_eq!(fs::read_to_string(first.path().join("cgroup.kill")).unwrap(), "1");
        let another = place.path().join("another-service");
        fs::create_dir(&another).unwrap();
        groups.clear();
        assert_eq!(fs::read_to_string(second.path().join("cgroup.kill")).unwrap(), "1");
        assert!(!another.join("cgroup.kill").exists());
    }
}
