//! Disks that can be filled, and databases that others hold.

use crate::{Options, Server, postgres::Database, wait::until_within};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A disk that is soon full, for those who may mount one.
pub struct SmallDisk {
    mount: Mount,
    _place: TempDir,
}

impl SmallDisk {
    pub fn make() -> Option<Self> {
        Self::of(48)
    }

    pub fn of(megabytes: u32) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mount = Mount::tmpfs(place.path(), megabytes, "rw");
        if mount.is_none() {
            eprintln!(
                "not tested: mounting a tmpfs is refused here, and without it no disk can be filled (it takes root)"
            );
        }
        Some(Self { mount: mount?, _place: place })
    }

    pub fn directory(&self) -> &Path {
        &self.mount.path
    }

    /// Leaves so many MB.
    pub fn fill(&self, left: u64) {
        let free = rustix::fs::statvfs(&self.mount.path).map(|stat| stat.f_bavail * stat.f_frsize).unwrap();
        let mut ballast = File::create(self.mount.path.join("ballast")).unwrap();
        let block = vec![0_u8; 1 << 16];
        for _ in 0..(free.saturating_sub(left << 20)) >> 16 {
            ballast.write_all(&block).unwrap();
        }
        while left == 0 && ballast.write_all(&block[..4_096]).is_ok() {}
    }

    pub fn empty(&self) {
        fs::remove_file(self.mount.path.join("ballast")).unwrap();
    }
}

pub struct Mount {
    path: PathBuf,
}

impl Mount {
    pub fn tmpfs(path: &Path, megabytes: u32, mode: &str) -> Option<Self> {
        let options = format!("size={megabytes}m,mode=0755,{mode}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self { path: path.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, because the server may still be on its way out.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// A disk that takes no more writes of a server, as one that the kernel has made read-only because of its errors: what is
/// open stays open and is read, and nothing can be added to it. Until it is dropped.
pub struct ReadOnly(Pid);

impl ReadOnly {
    /// More than a server under test logs, less than its database has.
    const SIZE: u64 = 128 << 10;

    /// The server was started [so that it hears of it](Options::hearing_of_limits).
    pub fn make(server: &Server) -> Self {
        let log = server.options.data_directory().join("tercel.db-wal");
        let written = fs::metadata(&log).map(|log| log.len()).unwrap();
        assert!(written > Self::SIZE, "there is still room in {log:?}: {written} bytes");
        let server = Pid::from_raw(server.pid().cast_signed()).unwrap();
        let limit = Rlimit { current: Some(Self::SIZE), ..getrlimit(Resource::Fsize) };
        prlimit(Some(server), Resource::Fsize, limit).unwrap();
        Self(server)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // An error means that the server is gone already.
        let _ = prlimit(Some(self.0), Resource::Fsize, getrlimit(Resource::Fsize));
    }
}

/// Another program that holds a lock on the database, until it is dropped.
pub struct Lock(Child);

impl Lock {
    /// Nobody can write.
    pub fn against_writing(options: &Options) -> Self {
        match &options.database {
            None => Self::on_file(options, "db.execute('BEGIN IMMEDIATE')"),
            Some(database) => Self::on_tables(database, "EXCLUSIVE"),
        }
    }

    /// Nobody can read either.
    pub fn against_everything(options: &Options) -> Self {
        match &options.database {
            None => {
                Self::on_file(options, "db.execute('PRAGMA locking_mode=EXCLUSIVE'); db.execute('BEGIN EXCLUSIVE')")
            }
            Some(database) => Self::on_tables(database, "ACCESS EXCLUSIVE"),
        }
    }

    fn on_file(options: &Options, statement: &str) -> Self {
        let script = format!("{statement}; print('locked', flush=True); sys.stdin.read()");
        Self::take(python(&options.data_directory().join("tercel.db"), &script), "")
    }

    fn on_tables(database: &Database, mode: &str) -> Self {
        let mut psql = Command::new(&database.psql);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &database.url]);
        // All that is written is written with a row of this one. More than one lock could close a circle with the server.
        Self::take(psql, &format!("BEGIN; LOCK TABLE workers IN {mode} MODE; SELECT 'locked';\n"))
    }

    fn take(mut command: Command, says: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(says.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Self(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let child = &mut self.0;
        until_within(Duration::from_secs(5), "the lock is given up", || child.try_wait().unwrap());
    }
}

/// Runs statements on a file and answers what the last one says.
pub(crate) fn sqlite(file: &Path, statements: &str) -> String {
    let script = "*before, last = sys.argv[2].split(';\\n'); [db.execute(one) for one in before]; \
                  [print(*row, sep='|') for row in db.execute(last)]; db.execute('PRAGMA wal_checkpoint(TRUNCATE)')";
    said(python(file, script).arg(statements))
}

pub(crate) fn psql(database: &Database, statements: &str) -> String {
    let mut psql = Command::new(&database.psql);
    said(psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &database.url, "-c", statements]))
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn python(database: &Path, statement: &str) -> Command {
    let mut command = Command::new("python3");
    let open = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)";
    command.args(["-c", &format!("{open}; {statement}")]).arg(database);
    command
}
