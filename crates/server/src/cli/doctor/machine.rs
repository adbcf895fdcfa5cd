//! The machine: directory, disk, clock, limits, ports, the running server.

use super::Finding;
use crate::{cli::client::Client, config::Config, disk};
use chrono::{DateTime, Datelike, Utc};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Resource, getrlimit},
};
use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

/// A commit waits for the disk once: slower than this, and webhooks wait noticeably.
const SLOW: Duration = Duration::from_millis(20);
const FILES: u64 = 4096;
const PRIVATE: [&str; 6] = ["key", "tercel.db", "tercel.db-wal", "tercel.db-shm", "tercel.sock", "lock"];

pub fn directory(data: &Path) -> Vec<Finding> {
    let shown = data.display();
    let Ok(metadata) = fs::metadata(data) else {
        return vec![Finding::ok("data", format!("{shown} is not there yet; the first start makes it"))];
    };
    let mut findings = Vec::new();
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o066 != 0 {
        let repair = format!("chmod 711 {shown}");
        findings.push(Finding::warn("data", format!("Others can list or change {shown} (rights {mode:o})"), repair));
    }
    for name in PRIVATE {
        let file = data.join(name);
        let Ok(metadata) = fs::symlink_metadata(&file) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let detail = format!("Others can use {} (rights {mode:o})", file.display());
            findings.push(Finding::fail("data", detail, format!("chmod 600 {}", file.display())));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("data", format!("{shown} is private")));
    }
    findings
}

pub fn space(data: &Path) -> Option<Finding> {
    disk::room(existing(data)).map(judge_space)
}

fn judge_space(disk::Room { free, floor }: disk::Room) -> Finding {
    let detail = format!("{} MB are free", free >> 20);
    match free {
        _ if free < floor => {
            let repair = format!("Free some space: under {} MB nothing is accepted", floor >> 20);
            Finding::fail("disk", detail, repair)
        }
        _ if free < 2 * floor => Finding::warn("disk", detail, format!("Under {} MB nothing is accepted", floor >> 20)),
        _ => Finding::ok("disk", detail),
    }
}

/// How long a commit waits for the disk, measured.
pub fn disk(data: &Path) -> Option<Finding> {
    data.is_dir().then(|| judge_disk(data, fsync(data)))
}

fn judge_disk(data: &Path, measured: std::io::Result<Duration>) -> Finding {
    match measured {
        Ok(time) if time > SLOW => {
            let detail = format!("A write is safe after {:.1} ms", time.as_secs_f64() * 1000.0);
            Finding::warn("disk", detail, "Every accepted webhook waits for one: a faster disk, or a local one, helps")
        }
        Ok(time) => Finding::ok("disk", format!("A write is safe after {:.1} ms", time.as_secs_f64() * 1000.0)),
        Err(error) => {
            let repair = "Check the owner of the directory, and that the disk is not full or read-only";
            Finding::fail("disk", format!("{} cannot be written: {error}", data.display()), repair)
        }
    }
}

/// The middle of ten.
fn fsync(directory: &Path) -> std::io::Result<Duration> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::with_capacity(10);
    for _ in 0..10 {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_all()?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

pub fn clock(data: &Path) -> Finding {
    let newest = fs::metadata(data.join("tercel.db")).and_then(|metadata| metadata.modified()).ok();
    judge_clock(SystemTime::now(), newest)
}

fn judge_clock(now: SystemTime, database: Option<SystemTime>) -> Finding {
    let shown = DateTime::<Utc>::from(now);
    let repair = "Set the clock: signatures carry times, and the order of what is kept follows it";
    if shown.year() < 2026 {
        return Finding::fail("clock", format!("It says {}", shown.format("%Y-%m-%d %H:%M UTC")), repair);
    }
    match database.and_then(|time| time.duration_since(now).ok()) {
        Some(ahead) if ahead > Duration::from_secs(60) => {
            let detail = format!(
                "It says {}, and the database was written {} seconds later",
                shown.format("%Y-%m-%d %H:%M UTC"),
                ahead.as_secs()
            );
            Finding::fail("clock", detail, repair)
        }
        _ => Finding::ok("clock", format!("It says {}", shown.format("%Y-%m-%d %H:%M UTC"))),
    }
}

pub fn open_files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FILES => {
            let detail = format!("Only {limit} files may be open at once");
            Finding::warn("limits", detail, format!("ulimit -n {FILES}, or LimitNOFILE={FILES} in the service file"))
        }
        Some(limit) => Finding::ok("limits", format!("{limit} files may be open at once")),
        None => Finding::ok("limits", "Any number of files may be open at once"),
    }
}

pub async fn server(config: &Config, client: Option<&Client>) -> Finding {
    let lock = config.data_dir.join("lock");
    let process = fs::read_to_string(&lock).unwrap_or_default().trim().to_owned();
    let Some(client) = client else {
        return match is_locked(&lock) {
            true => Finding::warn(
                "server",
                format!("Process {process} has {} but does not answer", config.data_dir.display()),
                "If it is not just starting or ending, look at its log, then end it",
            ),
            false => Finding::ok("server", "None runs; `tercel serve` starts one"),
        };
    };
    match client.get("/ready").await {
        Ok(_) => {
            let address = fs::read_to_string(config.data_dir.join("address")).unwrap_or_default();
            Finding::ok("server", format!("It runs (process {process}), listens on {} and is ready", address.trim()))
        }
        Err(error) => Finding::fail(
            "server",
            format!("It runs (process {process}) and is not ready: {error:#}"),
            "Its log says more",
        ),
    }
}

/// What the operator wrote after the server had read it.
pub fn changed_files(config: &Config, running: bool) -> Option<Finding> {
    if !running {
        return None;
    }
    let changed = changed_since(written(&config.data_dir.join("address"))?, Path::new(""))?;
    let detail = format!("{changed} was changed after the server had started");
    Some(Finding::warn("configuration", detail, "Changes count after a restart"))
}

fn changed_since(started: SystemTime, directory: &Path) -> Option<&'static str> {
    ["tercel.toml", ".env"].into_iter().find(|name| written(&directory.join(name)).is_some_and(|at| at > started))
}

fn written(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

fn is_locked(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

pub fn ports(config: &Config) -> Vec<Finding> {
    let named = [("TERCEL_LISTEN", Some(config.listen)), ("TERCEL_WEBHOOK_LISTEN", config.webhook_listen)];
    let all = named.into_iter().filter_map(|(name, address)| Some((name, address?)));
    all.map(|(name, address)| match TcpListener::bind(address) {
        Ok(_) => Finding::ok("address", format!("{address} is free")),
        Err(error) => {
            let repair = format!("End what listens there, or set {name} to another address");
            Finding::fail("address", format!("Nothing can listen on {address}: {error}"), repair)
        }
    })
    .collect()
}

/// The nearest directory above that is there.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    fn rights(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_read_is_found() {
        let place = tempfile::tempdir().unwrap();
        let key = place.path().join("key");
        fs::write(&key, "").unwrap();
        rights(place.path(), 0o711);
        rights(&key, 0o600);
        assert!(directory(place.path()).iter().all(|finding| finding.level == Level::Ok));
        rights(&key, 0o640);
        rights(place.path(), 0o755);
        let levels: Vec<Level> = directory(place.path()).iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Warn, Level::Fail]);
    }

    #[test]
    fn a_disk_that_is_nearly_full_slow_or_read_only_is_found() {
        let level = |free: u64| judge_space(disk::Room { free, floor: 100 << 20 }).level;
        assert_eq!([300 << 20, 150 << 20, 50 << 20].map(level), [Level::Ok, Level::Warn, Level::Fail]);
        let data = Path::new("/data");
        let judged = |measured| judge_disk(data, measured);
        assert_eq!(judged(Ok(Duration::from_millis(3))).level, Level::Ok);
        let slow = judged(Ok(Duration::from_millis(80)));
        assert_eq!((slow.level, slow.detail.as_str()), (Level::Warn, "A write is safe after 80.0 ms"));
        let refused = judged(Err(std::io::ErrorKind::ReadOnlyFilesystem.into()));
        assert_eq!((refused.level, refused.detail.contains("/data cannot be written")), (Level::Fail, true));
    }

    #[test]
    fn a_file_that_was_written_after_the_start_is_found() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(".env"), "").unwrap();
        let at = written(&place.path().join(".env")).unwrap();
        assert_eq!(changed_since(at, place.path()), None, "the server has read it");
        assert_eq!(changed_since(at - Duration::from_secs(1), place.path()), Some(".env"));
    }

    #[test]
    fn a_clock_that_is_behind_is_found() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        const MARCH_2026: u64 = 1_772_366_400;
        assert_eq!(judge_clock(at(0), None).level, Level::Fail);
        assert_eq!(judge_clock(at(MARCH_2026), None).level, Level::Ok);
        assert_eq!(judge_clock(at(MARCH_2026), Some(at(MARCH_2026 + 30))).level, Level::Ok);
        assert_eq!(judge_clock(at(MARCH_2026), Some(at(MARCH_2026 + 90))).level, Level::Fail);
    }

    #[test]
    fn a_port_that_is_taken_is_found() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut environment = crate::config::Environment::default();
        environment.set("TERCEL_LISTEN", taken.local_addr().unwrap().to_string());
        let findings = ports(&Config::from(environment).unwrap());
        assert!(
            matches!(&findings[..], [one] if one.level == Level::Fail && one.repair.as_ref().unwrap().contains("TERCEL_LISTEN"))
        );
    }

    #[test]
    fn who_has_the_directory_is_seen_without_taking_it() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("lock");
        assert!(!is_locked(&file));
        let lock = tercel_store::DirectoryLock::take(place.path()).unwrap();
        assert!(is_locked(&file));
        drop(lock);
        assert!(!is_locked(&file));
    }
}
