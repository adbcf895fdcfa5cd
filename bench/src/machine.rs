//! The machine that was measured on: what it is, and how fast its disk says that something is kept.

use crate::{
    measure::{Figure, Row, Unit, percentile},
    server,
};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_mib: u64,
    pub kernel: String,
    pub file_system: String,
    pub tercel: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, memory_mib, kernel, file_system, tercel } = self;
        write!(
            f,
            "tercel {tercel} on {cores} cores ({processor}), {memory_mib} MiB, Linux {kernel}, {file_system}; generator and \
             server share the cores"
        )
    }
}

/// Without names and paths of the machine: results are shown to others.
pub fn facts(program: &Path) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim_start_matches([':', ' ', '\t']).trim_end_matches(" kB").to_owned()
    };
    Machine {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        processor: after(&read("/proc/cpuinfo"), "model name"),
        memory_mib: after(&read("/proc/meminfo"), "MemTotal").parse::<u64>().unwrap_or_default() / 1024,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        file_system: file_system(program, &read("/proc/self/mountinfo")),
        tercel: env!("CARGO_PKG_VERSION").into(),
    }
}

/// `36 35 98:0 /root /mount rw,noatime shared:1 - ext4 /dev/x rw`: the longest mount point that holds the file.
fn file_system(file: &Path, mounts: &str) -> String {
    let found = mounts.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        file.starts_with(point).then_some((point.len(), source.split(' ').next()?))
    });
    found.max_by_key(|(length, _)| *length).map_or("an unknown file system", |(_, kind)| kind).to_owned()
}

/// Appends of 4 kB that are on the disk when the call returns: one commit cannot be cheaper than that.
pub fn fsync(time: Duration) -> Result<Row> {
    let directory = server::directory()?;
    let mut file = fs::File::create(directory.path().join("appends"))?;
    let page = [7_u8; 4096];
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let one = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Row::new(
        "machine: fdatasync of 4 kB appends",
        vec![
            Figure::new("rate", rate, Unit::PerSecond),
            Figure::time("p50", percentile(&times, 50)),
            Figure::time("p99", percentile(&times, 99)),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount_point() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                      30 22 0:25 / /build rw - tmpfs tmpfs rw\n\
                      31 22 0:26 / /buildings rw - xfs /dev/b rw\n";
        let check = |file: &str| file_system(Path::new(file), mounts);
        assert_eq!([check("/build/target/x"), check("/homes/x"), check("/buildings/x")], ["tmpfs", "ext4", "xfs"]);
    }
}
