//! Notices that a folder was edited, when the editing is over.

use crate::{
    Folder,
    hosts::{Change, Config},
};
use anyhow::{Context, Result};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// An editor writes several files, and each in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// What is written to without end is looked at all the same.
const LONGEST: Duration = Duration::from_secs(5);

pub struct Watcher {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    places: Arc<Mutex<BTreeMap<PathBuf, String>>>,
}

impl Watcher {
    pub fn start(changes: mpsc::UnboundedSender<Change>) -> Result<Self> {
        let (touched, paths) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            // Reading is none.
            if !matches!(event.kind, EventKind::Access(_)) {
                event.paths.into_iter().filter(|path| counts(path)).for_each(|path| {
                    let _ = touched.send(path);
                });
            }
        });
        let places = Arc::default();
        tokio::spawn(gather(paths, Arc::clone(&places), changes));
        Ok(Self {
            watcher: watcher.context("The system's notifications are used up")?,
            watched: BTreeSet::new(),
            places,
        })
    }

    /// From now on these are looked at, and where new ones may appear.
    pub fn look_at(&mut self, config: &Config, folders: &[Folder]) {
        let roots = config.roots.iter().map(|root| &root.path);
        let directories = roots.chain(&config.tool_dirs).chain(&config.connector_dirs);
        let wanted: BTreeSet<PathBuf> = directories
            .filter_map(|path| path.canonicalize().ok())
            .chain(
                folders
                    .iter()
                    .filter(|folder| folder.path.is_symlink())
                    .filter_map(|folder| folder.path.canonicalize().ok()),
            )
            .collect();
        for gone in self.watched.difference(&wanted) {
            let _ = self.watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = self.watcher.watch(new, RecursiveMode::Recursive) {
                tracing::warn!("Changes in {} are not noticed: {error}", new.display());
            }
        }
        self.watched = wanted;
        let places = folders.iter().filter_map(|folder| {
            let path = folder.path.canonicalize().ok()?;
            Some((path, folder.id.clone()))
        });
        *self.places.lock().expect("nothing panics while it holds the places") = places.collect();
    }
}

/// Hidden files are editors' own; bytecode is made by running.
fn counts(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let in_cache = path.components().any(|part| part.as_os_str() == "__pycache__" || part.as_os_str() == ".git");
    !in_cache && !name.starts_with('.') && !name.ends_with('~') && !name.ends_with(".pyc")
}

/// Passes on what was touched once nothing more of it is.
async fn gather(
    mut paths: mpsc::UnboundedReceiver<PathBuf>,
    places: Arc<Mutex<BTreeMap<PathBuf, String>>>,
    changes: mpsc::UnboundedSender<Change>,
) {
    /// When it was touched first, and last.
    type Touched = BTreeMap<Change, (Instant, Instant)>;
    let mut touched = Touched::new();
    loop {
        let due = |(first, last): &(Instant, Instant)| (*last + QUIET).min(*first + LONGEST);
        let next = touched.values().map(due).min();
        tokio::select! {
            path = paths.recv() => {
                let Some(path) = path else { return };
                let change = change(&path, &places.lock().expect("nothing panics while it holds the places"));
                let now = Instant::now();
                touched.entry(change).or_insert((now, now)).1 = now;
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                let over: Vec<Change> =
                    touched.iter().filter(|(_, times)| due(times) <= now).map(|(change, _)| change.clone()).collect();
                for change in over {
                    touched.remove(&change);
                    if changes.send(change).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// A path in a folder that is known is a change of that folder; any other may be a new folder.
fn change(path: &Path, places: &BTreeMap<PathBuf, String>) -> Change {
    let folder = path.ancestors().find_map(|place| Some((place, places.get(place)?)));
    match folder {
        // Its own name: it may have gone.
        Some((place, _)) if place == path && !path.is_file() => Change::Folders,
        Some((_, id)) => Change::Folder(id.clone()),
        None => Change::Folders,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_belongs_to_the_folder_it_is_in() {
        let places = BTreeMap::from([(PathBuf::from("/roots/crm"), "crm".to_owned())]);
        for (path, expected) in [
            ("/roots/crm/tools/a.py", Change::Folder("crm".into())),
            ("/roots/crm/router.py", Change::Folder("crm".into())),
            ("/roots/crm", Change::Folders),
            ("/roots/new/router.py", Change::Folders),
            ("/roots/crm2/router.py", Change::Folders),
        ] {
            assert_eq!(change(Path::new(path), &places), expected, "{path}");
        }
    }

    #[test]
    fn what_running_and_editing_leave_behind_is_no_change() {
        for path in
            ["/r/crm/__pycache__/a.py", "/r/crm/.router.py.swp", "/r/crm/router.py~", "/r/crm/a.pyc", "/r/.git/HEAD"]
        {
            assert!(!counts(Path::new(path)), "{path}");
        }
        assert!(counts(Path::new("/r/crm/router.py")));
    }
}
