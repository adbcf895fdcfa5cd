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

/// The group of the server itself: only groups without processes of their own can have limited ones below.
const OWN: &str = "server";
const LIMITED: [&str; 2] = ["memory", "pids"];

/// Where groups are made.
#[derive(Clone)]
pub struct Place {
    directory: PathBuf,
    prefix: String,
    made: Arc<AtomicU64>,
}

impl Place {
    /// # Errors
    /// Why this machine has no such groups, or has not given this server one to divide.
    pub fn find(data: &Path) -> Result<Self, String> {
        let own = Own::of("self")?;
        own.has_controllers()?;
        let name = Sha256::digest(data.as_os_str().as_encoded_bytes());
        let place = Self::below(own.divided()?, &format!("tercel-{}", hex::encode(&name[..4])));
        place.clear();
        Ok(place)
    }

    /// Whether the server that is this process has one. Looks only.
    ///
    /// # Errors
    /// Why it has none.
    pub fn is_given(server: u32) -> Result<(), String> {
        let own = Own::of(&server.to_string())?;
        own.has_controllers()?;
        let limited = own.directory.parent().map(|parent| parent.join("cgroup.subtree_control"));
        let limited = limited.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        match own.directory.ends_with(OWN) && lacking(&limited).is_empty() {
            true => Ok(()),
            false => Err("its own cgroup was not the server's to divide".into()),
        }
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

/// The group that a process is in.
struct Own {
    directory: PathBuf,
}

impl Own {
    fn of(process: &str) -> Result<Self, String> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        let mounted = read("mountinfo").lines().find_map(mount);
        let (root, mounted) = mounted.ok_or("no cgroup of version 2 is mounted")?;
        let groups = read("cgroup");
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let path = path.ok_or("the kernel has no cgroups of version 2")?;
        let below = Path::new(path).strip_prefix(root).map_err(|_| "its own cgroup is not in view")?;
        Ok(Self { directory: mounted.join(below) })
    }

    fn has_controllers(&self) -> Result<(), String> {
        let given = fs::read_to_string(self.directory.join("cgroup.controllers"))
            .map_err(|error| format!("{} cannot be read: {error}", self.directory.display()))?;
        let lacking = lacking(&given);
        if lacking.is_empty() {
            return Ok(());
        }
        let elsewhere = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let (names, old) = (lacking.join(" and "), lacking.iter().any(|name| is_in_version_1(&elsewhere, name)));
        Err(match old {
            true => format!("this machine has {names} in cgroups of version 1"),
            false => format!("its cgroup has no {names} (Delegate=memory pids)"),
        })
    }

    /// The directory below which groups can be made, with memory and processes limited there.
    fn divided(&self) -> Result<PathBuf, String> {
        let own = &self.directory;
        if !own.join("cgroup.type").exists() {
            return Err("it runs in the machine's root cgroup, which is not its own to divide".into());
        }
        let place = match own.ends_with(OWN) {
            true => own.parent().unwrap_or(own),
            false => {
                let cannot = |error: &dyn std::fmt::Display| format!("{} cannot be divided: {error}", own.display());
                let processes = fs::read_to_string(own.join("cgroup.procs")).map_err(|error| cannot(&error))?;
                if processes.trim() != std::process::id().to_string() {
                    return Err("others are in its cgroup, which is then not its own to divide".into());
                }
                let inner = own.join(OWN);
                fs::create_dir(&inner)
                    .or_else(|error| inner.is_dir().then_some(()).ok_or(error))
                    .map_err(|error| cannot(&error))?;
                join(&inner).map_err(|error| cannot(&format!("{error:#}")))?;
                own
            }
        };
        fs::write(place.join("cgroup.subtree_control"), "+memory +pids")
            .map_err(|error| format!("{} cannot be divided: {error}", place.display()))?;
        Ok(place.to_owned())
    }
}

/// What is mounted and where, if a line of `mountinfo` is about cgroups of version 2.
fn mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, place) = (fields.next()?, fields.next()?);
    // A place with a blank in its name is written otherwise; nobody mounts this there.
    after.starts_with("cgroup2 ").then(|| (root.into(), place.into()))
}

/// Which of the limits are not in a list of controllers.
fn lacking(controllers: &str) -> Vec<&'static str> {
    LIMITED.into_iter().filter(|kind| !controllers.split_whitespace().any(|word| word == *kind)).collect()
}

fn is_in_version_1(cgroups: &str, controller: &str) -> bool {
    cgroups.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.next() == Some(controller) && fields.next().is_some_and(|hierarchy| hierarchy != "0")
    })
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

    #[test]
    fn a_mount_of_version_2_is_known_wherever_it_is() {
        let lines = [
            "30 23 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory",
            "36 23 0:32 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw",
            "40 23 0:32 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw",
        ];
        let found: Vec<_> = lines.iter().filter_map(|line| mount(line)).collect();
        let pair = |root: &str, place: &str| (PathBuf::from(root), PathBuf::from(place));
        assert_eq!(found, [pair("/", "/sys/fs/cgroup/unified"), pair("/docker/ab", "/sys/fs/cgroup")]);
    }

    #[test]
    fn what_is_lacking_is_named_with_who_has_it() {
        assert_eq!(lacking("cpu memory pids\n"), [""; 0]);
        assert_eq!(lacking("cpu hugetlb"), ["memory", "pids"]);
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t57\t1\npids\t0\t1\t1\n";
        assert!(is_in_version_1(table, "memory") && !is_in_version_1(table, "pids"));
    }

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
