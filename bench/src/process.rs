//! What the kernel says about processes: time on the cores, memory.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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
