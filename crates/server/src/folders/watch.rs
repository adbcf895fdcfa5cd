//! Keeping up with folders while the server runs.

use super::load::{begin, look};
use crate::app::App;
use std::{
    collections::BTreeMap,
    sync::Weak,
    time::{Duration, Instant},
};
use tercel_hosts::Change;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

/// After so long a folder whose code did not start is tried again, and each time later: the machine may have been busy.
const REST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(1800);
/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(10);

pub async fn keep_up(app: Weak<App>, mut changes: UnboundedReceiver<Change>, stopping: CancellationToken) {
    let mut again = Again::default();
    loop {
        let change = tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK) => None,
            change = changes.recv() => match change {
                Some(change) => Some(change),
                None => return,
            },
        };
        let Some(app) = app.upgrade() else { return };
        // Nobody waits for what is loaded: one that hangs holds up no other.
        match change {
            Some(Change::Folders) => _ = look(&app).await,
            Some(Change::Folder(id)) => _ = begin(&app, id),
            None => {
                for id in again.due(app.folders.failing(), Instant::now()) {
                    let _ = begin(&app, id);
                }
            }
        }
    }
}

/// How often each folder was tried again, and when it is next.
#[derive(Default)]
struct Again(BTreeMap<String, (u32, Instant)>);

impl Again {
    fn due(&mut self, failing: Vec<String>, time: Instant) -> Vec<String> {
        self.0.retain(|id, _| failing.contains(id));
        let mut due = Vec::new();
        for id in failing {
            let (times, next) = self.0.entry(id.clone()).or_insert((0, time + REST));
            if *next <= time {
                *times += 1;
                *next = time + REST.saturating_mul(1 << (*times).min(6)).min(LONGEST);
                due.push(id);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_does_not_start_is_tried_again_ever_more_seldom() {
        let (mut again, start) = (Again::default(), Instant::now());
        let mut tried = Vec::new();
        for second in 0..300 {
            let time = start + Duration::from_secs(second);
            if !again.due(vec!["a".into()], time).is_empty() {
                tried.push(second);
            }
        }
        assert_eq!(tried, [30, 90, 210]);
        assert!(again.due(Vec::new(), start).is_empty());
        assert!(again.due(vec!["a".into()], start + Duration::from_secs(301)).is_empty(), "it begins anew");
    }
}
