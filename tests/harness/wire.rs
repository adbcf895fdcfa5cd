//! A wire between a server and its PostgreSQL that breaks at a COMMIT: before it gets there, or after it was done and
//! before anybody was told. Or one that is slow, or that says nothing any more.

use crate::postgres::Database;
use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaks {
    Before,
    After,
    /// Not at all: the answer to the n-th COMMIT does not come, and neither does an end.
    Never,
}

pub struct Wire {
    place: TempDir,
    commits: Arc<AtomicU32>,
    delay: Arc<AtomicU32>,
}

impl Wire {
    /// Breaks at the n-th COMMIT, once.
    pub fn to(database: &Database, breaks: Breaks, n: u32) -> Self {
        let (_, behind) = database.url.split_once("host=").expect("the server listens in a directory");
        let behind = Path::new(behind).join(".s.PGSQL.5432");
        let place = tempfile::Builder::new().prefix("tercel-wire-").tempdir().unwrap();
        let listener = UnixListener::bind(place.path().join(".s.PGSQL.5432")).unwrap();
        let commits = Arc::new(AtomicU32::new(0));
        let counted = commits.clone();
        let delay = Arc::new(AtomicU32::new(0));
        let delayed = delay.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let cut = Cut { breaks, n, commits: counted.clone(), delay: delayed.clone() };
                if let (Ok(near), Ok(far)) = (near, UnixStream::connect(&behind)) {
                    cut.join(near, far);
                }
            }
        });
        Self { place, commits, delay }
    }

    /// How the database is reached through it.
    pub fn url(&self, database: &Database) -> String {
        let (start, _) = database.url.split_once("host=").unwrap();
        format!("{start}host={}", PathBuf::from(self.place.path()).display())
    }

    /// From now on each piece that is sent takes so long to get there.
    pub fn delay(&self, time: Duration) {
        self.delay.store(time.as_millis() as u32, Ordering::SeqCst);
    }

    pub fn commits(&self) -> u32 {
        self.commits.load(Ordering::SeqCst)
    }
}

struct Cut {
    breaks: Breaks,
    n: u32,
    commits: Arc<AtomicU32>,
    /// Milliseconds.
    delay: Arc<AtomicU32>,
}

impl Cut {
    fn join(self, near: UnixStream, far: UnixStream) {
        let (mut from_far, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let waits = Arc::new(AtomicU32::new(0));
        let tells = waits.clone();
        let ends = self.breaks != Breaks::Never;
        // Answers, until the one that nobody shall hear: it ends with "ready".
        std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            while let Ok(count @ 1..) = from_far.read(&mut piece) {
                if tells.load(Ordering::SeqCst) == 0 {
                    if to_near.write_all(&piece[..count]).is_err() {
                        break;
                    }
                } else if ends && piece[..count].ends_with(b"Z\0\0\0\x05I") {
                    break;
                }
            }
            let _ = (to_near.shutdown(Shutdown::Both), from_far.shutdown(Shutdown::Both));
        });
        std::thread::spawn(move || self.forward(near, far, &waits));
    }

    fn forward(self, mut near: UnixStream, mut far: UnixStream, waits: &AtomicU32) {
        let mut piece = vec![0; 1 << 16];
        while let Ok(count @ 1..) = near.read(&mut piece) {
            let piece = &piece[..count];
            // Our statements that end a transaction end with it, each in a message of its own.
            if piece.ends_with(b"COMMIT\0") && self.commits.fetch_add(1, Ordering::SeqCst) + 1 == self.n {
                match self.breaks {
                    Breaks::Before => break,
                    Breaks::After | Breaks::Never => waits.store(1, Ordering::SeqCst),
                }
            }
            std::thread::park_timeout(Duration::from_millis(self.delay.load(Ordering::SeqCst).into()));
            if far.write_all(piece).is_err() {
                break;
            }
        }
        let _ = (near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both));
    }
}
