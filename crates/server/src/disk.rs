//! Room on the disk: accepting stops before there is none.

use crate::app::App;
use std::{
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tercel_store::NewNotice;

const NOTICE: &str = "disk";
const GIGABYTE: u64 = 1 << 30;

/// Set when less than the floor is left.
#[derive(Default)]
pub struct Full(AtomicBool);

impl Full {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that are left, and under how many nothing is accepted.
pub struct Room {
    pub free: u64,
    pub floor: u64,
}

/// The floor is 5 % or 1 GB, whichever is smaller.
pub fn room(directory: &Path) -> Option<Room> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    let (free, total) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    Some(Room { free, floor: (total / 20).min(GIGABYTE) })
}

/// What is wrong with the room that is left, in words.
pub fn floor(app: &App) -> Option<String> {
    let Room { free, floor } = room(&app.config.data_dir)?;
    (free < floor).then(|| format!("Only {} MB are left on the disk of {}", free >> 20, app.config.data_dir.display()))
}

/// Looks every few seconds, and tells.
pub async fn watch(app: Arc<App>) {
    loop {
        let problem = floor(&app);
        let was = app.disk_full.0.swap(problem.is_some(), Ordering::Relaxed);
        match (problem, was) {
            (Some(detail), false) => {
                let repair = Some("Free some space: webhooks and messages are answered 503 until then".into());
                let title = "The disk is almost full".into();
                app.raise(NewNotice { key: NOTICE.into(), severity: "error", title, detail, repair }).await;
            }
            (None, true) => app.close_notice(NOTICE).await,
            _ => {}
        }
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}
