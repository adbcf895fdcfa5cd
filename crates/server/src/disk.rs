//! Room on the disk: accepting stops before there is none.

use crate::app::App;
use std::{path::Path, sync::Arc, time::Duration};
use tercel_store::NewNotice;

const NOTICE: &str = "disk";
const GIGABYTE: u64 = 1 << 30;

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

/// Whether nothing more may be taken in. Looked up each time: what comes in between two looks could fill the rest.
pub fn is_full(app: &App) -> bool {
    room(&app.config.data_dir).is_some_and(|room| room.free < room.floor)
}

/// Looks every few seconds, and tells.
pub async fn watch(app: Arc<App>) {
    let open = app.store.notices(Some(true), None, 1000).await.unwrap_or_default();
    let mut told = open.iter().any(|notice| notice.key == NOTICE);
    loop {
        match (floor(&app), told) {
            (Some(detail), false) => {
                let repair = Some("Free some space: webhooks and messages are answered 503 until then".into());
                let title = "The disk is almost full".into();
                told = app.raise(NewNotice { key: NOTICE.into(), severity: "error", title, detail, repair }).await;
            }
            (None, true) => {
                app.close_notice(NOTICE).await;
                told = false;
            }
            _ => {}
        }
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}
