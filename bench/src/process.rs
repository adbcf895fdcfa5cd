//! What the kernel says about processes: time on the cores, memory.

use anyhow::{Context, Result};
use rustix::{
    process::{Pid, Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};
use std::{fs, time::Duration};

/// Time in `/proc` is told in hundredths of a second on every architecture that Tercel is built for.
const TICK: Duration = Duration::from_millis(10);

/// Time that all threads of a process have spent on the cores.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name may have blanks in it; it ends with the last bracket.
    let after = stat.rsplit_once(") ").context("an unknown form of /proc/<pid>/stat")?.1;
    let ticks = |n: usize| -> Result<u32> { Ok(after.split(' ').nth(n).context("too short")?.parse()?) };
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

/// Memory in use, in MiB.
pub fn memory(pid: u32) -> Result<f64> {
    status(pid, "VmRSS:")
}

/// The most memory that was ever in use, in MiB.
pub fn peak_memory(pid: u32) -> Result<f64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).context("the process is gone")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

/// Thousands of open runs are thousands of sockets, on both sides. Started processes inherit the limit.
pub fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the scenario that needs it says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Memory that no other process shares, in MiB.
pub fn own_memory(pid: u32) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the process is gone")?;
    let own = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kilobytes = own.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>();
    Ok(kilobytes / 1024.0)
}

/// Words of the command line, with zeros between them.
pub fn command_line(pid: u32) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline"))?).into_owned())
}

/// Children, their children and so on, the oldest first.
pub fn descendants(pid: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that is gone has no parent any more.
        let Ok(stat) = fs::read_to_string(format!("/proc/{child}/stat")) else { continue };
        let parent = stat.rsplit_once(") ").and_then(|(_, after)| after.split(' ').nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (child, parent)));
    }
    parents.sort_unstable();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.remove(0);
    Ok(found)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    First,
    Second,
    Any,
}

/// Lets all threads of a process run on this core only.
pub fn pin(pid: u32, core: Core) -> Result<()> {
    let mut set = CpuSet::new();
    match core {
        Core::First => set.set(0),
        Core::Second => set.set(1),
        Core::Any => (0..CpuSet::MAX_CPU).for_each(|core| set.set(core)),
    }
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let id = thread?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // A thread may end meanwhile.
        let _ = sched_setaffinity(id, &set);
    }
    Ok(())
}
