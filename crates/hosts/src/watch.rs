//! Notices that a folder was edited, when the editing is over, and that a root appeared or was replaced.

use crate::{
    Folder, RootKind,
    hosts::{Change, Config, lock},
};
use anyhow::{Context, Result};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

/// An editor writes several files, and each in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// What is written to without end is looked at all the same.
const LONGEST: Duration = Duration::from_secs(5);
/// Between two looks at the roots themselves: the system tells nothing of a directory that is not there yet, of one that
/// was mounted, and of a link that leads elsewhere now.
const LOOK: Duration = Duration::from_secs(1);

pub struct Watcher {
    watcher: RecommendedWatcher,
    watched: BTreeMap<PathBuf, Option<Identity>>,
    places: Arc<Mutex<BTreeMap<PathBuf, String>>>,
    roots: Arc<Mutex<Roots>>,
}

/// Roots as they are named, and what was there when they were looked at last.
type Roots = BTreeMap<PathBuf, Option<Identity>>;

/// Tells a directory from another one in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// Numbers are given again.
    made: Option<SystemTime>,
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), made: metadata.created().ok() })
    }
}

impl Watcher {
    pub fn start(changes: mpsc::UnboundedSender<Change>) -> Result<Self> {
        let (touched, paths) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            if event.need_rescan() {
                // Too much at once: what it was is not known.
                let _ = touched.send(PathBuf::new());
            }
            // Reading is none.
            if !matches!(event.kind, EventKind::Access(_)) {
                event.paths.into_iter().filter(|path| counts(path)).for_each(|path| {
                    let _ = touched.send(path);
                });
            }
        });
        let (places, roots) = (Arc::default(), Arc::default());
        tokio::spawn(compare(Arc::downgrade(&roots), changes.clone()));
        tokio::spawn(gather(paths, Arc::clone(&places), changes));
        Ok(Self {
            watcher: watcher.context("The system's notifications are used up")?,
            watched: BTreeMap::new(),
            places,
            roots,
        })
    }

    /// From now on these are looked at, and where new ones may appear. Nobody edits what ships with the program.
    pub fn look_at(&mut self, config: &Config, folders: &[Folder]) {
        let edited = config.roots.iter().filter(|root| root.kind != RootKind::Shipped);
        let roots = edited.chain(&config.connector_dirs).map(|root| &root.path);
        let directories: BTreeSet<&PathBuf> = roots.chain(&config.tool_dirs).collect();
        *lock(&self.roots) = directories.iter().map(|path| ((*path).clone(), Identity::of(path))).collect();
        let linked = folders.iter().map(|folder| &folder.path).filter(|path| path.is_symlink());
        let wanted: BTreeMap<PathBuf, Option<Identity>> = directories
            .into_iter()
            .chain(linked)
            .filter_map(|path| path.canonicalize().ok())
            .map(|path| (path.clone(), Identity::of(&path)))
            .collect();
        for (gone, _) in self.watched.iter().filter(|(path, is)| wanted.get(*path) != Some(is)) {
            let _ = self.watcher.unwatch(gone);
        }
        for (new, _) in wanted.iter().filter(|(path, is)| self.watched.get(*path) != Some(is)) {
            if let Err(error) = self.watcher.watch(new, RecursiveMode::Recursive) {
                tracing::warn!("Changes in {} are not noticed: {error}", new.display());
            }
        }
        self.watched = wanted;
        let places = folders.iter().filter_map(|folder| {
            let path = folder.path.canonicalize().ok()?;
            Some((path, folder.id.clone()))
        });
        *lock(&self.places) = places.collect();
    }
}

/// Looks whether roots are what they were, until nobody wants to know.
async fn compare(roots: std::sync::Weak<Mutex<Roots>>, changes: mpsc::UnboundedSender<Change>) {
    loop {
        sleep(LOOK).await;
        let Some(roots) = roots.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || {
            let known = lock(&roots).clone();
            let now: Roots = known.keys().map(|path| (path.clone(), Identity::of(path))).collect();
            let mut roots = lock(&roots);
            // Unless they were looked at meanwhile.
            let has_changed = now != known && *roots == known;
            if has_changed {
                *roots = now;
            }
            has_changed
        });
        if looked.await.unwrap_or_default() && changes.send(Change::Folders).is_err() {
            return;
        }
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
                let change = change(&path, &lock(&places));
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
            ("", Change::Folders),
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
