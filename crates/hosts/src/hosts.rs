//! Everything that folders have in common: where they are looked for, what runs for them, what is told of changes.

use crate::{
    Folder, Found, Problem, Ring, Root, RootKind, Server, Shape,
    environment::{Environments, Interpreter, Settings},
    held::Held,
    manifest::Manifests,
    name,
    roots::{self, Places},
    sandbox::Sandbox,
    snapshot, watch,
};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::sync::{RwLock, Semaphore, mpsc};

/// Workers that are asked at the same time what they have: each uses a processor fully.
const DESCRIBED_AT_ONCE: usize = 2;
/// Folders that are copied at the same time.
const COPIED_AT_ONCE: usize = 4;

#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept: snapshots, environments, state.
    pub data: PathBuf,
    /// In order.
    pub roots: Vec<Root>,
    /// Directories with nothing but tool files.
    pub tool_dirs: Vec<PathBuf>,
    /// Directories with connector modules.
    pub connector_dirs: Vec<Root>,
    /// Those of all these that nobody named: that one is not there is no news.
    pub usual: BTreeSet<PathBuf>,
    /// Where programs are found, also by the code of folders.
    pub path: String,
    /// Environment of what installs Python packages: proxies, certificates, indexes.
    pub installing: BTreeMap<String, String>,
    /// How long environments are kept that nothing uses.
    pub keep_environments: Duration,
    /// Integrations that are part of the program, with their versions.
    pub native: BTreeMap<String, String>,
}

/// Something happened to the folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Folders came or went: scan again.
    Folders,
    /// This one is to be loaded again.
    Folder(String),
}

#[derive(Clone)]
pub struct Hosts(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub config: Config,
    pub server: Arc<dyn Server>,
    pub sandbox: Arc<Sandbox>,
    pub environments: Environments,
    pub describing: Semaphore,
    pub copying: Semaphore,
    /// Whoever copies a folder has it until the copy is held.
    pub loading: RwLock<()>,
    pub held: Mutex<Vec<Weak<Held>>>,
    /// What lies below the roots, as it was seen last.
    pub folders: Mutex<BTreeMap<String, Folder>>,
    /// By id, so that the log goes on when the code changes.
    pub logs: Mutex<BTreeMap<String, Ring>>,
    /// Folders that wait for an environment, by its key.
    pub waiting: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// Of what ships with the program, until it is loaded for the first time.
    pub shipped: Mutex<Manifests>,
    /// Everything that was loaded and may still run.
    pub running: Mutex<Vec<Weak<dyn crate::Worker>>>,
    changes: mpsc::UnboundedSender<Change>,
    heard: Mutex<Option<mpsc::UnboundedReceiver<Change>>>,
    watcher: Mutex<Option<watch::Watcher>>,
}

impl Hosts {
    /// Begins to watch. Nothing of a folder runs yet.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub fn start(mut config: Config, sandbox: Arc<Sandbox>, server: Arc<dyn Server>) -> Result<Self> {
        // Processes have working directories of their own.
        config.data = std::path::absolute(&config.data).context("The data directory cannot be named")?;
        crate::leftovers::end(&config.data);
        sandbox.guard(&config.data);
        for place in ["folders", "siblings", "envs", "state", "run"] {
            let place = config.data.join(place);
            closed(&place).with_context(|| format!("{} cannot be made", place.display()))?;
        }
        snapshot::sweep(&config.data).context("What an earlier server began cannot be removed")?;
        crate::worker::clear_sockets(&config.data.join("run"))?;
        if let Err(error) = crate::confine::clear_temporary(&config.data.join("state")) {
            tracing::warn!("Temporary files of folders cannot be removed: {error}");
        }
        let settings = Settings {
            directory: config.data.join("envs"),
            path: config.path.clone(),
            readable: files_of(&config.installing),
            environment: config.installing.clone(),
        };
        let environments = Environments::new(settings, sandbox.clone());
        let (changes, heard) = mpsc::unbounded_channel();
        let hosts = Self(Arc::new(Inner {
            config,
            server,
            sandbox,
            environments,
            describing: Semaphore::new(DESCRIBED_AT_ONCE),
            copying: Semaphore::new(COPIED_AT_ONCE),
            loading: RwLock::default(),
            held: Mutex::default(),
            folders: Mutex::default(),
            logs: Mutex::default(),
            waiting: Mutex::default(),
            shipped: Mutex::default(),
            running: Mutex::default(),
            changes,
            heard: Mutex::new(Some(heard)),
            watcher: Mutex::default(),
        }));
        tokio::spawn(tell_of_environments(Arc::downgrade(&hosts.0)));
        Ok(hosts)
    }

    /// Looks below all roots, and watches what it finds.
    pub fn scan(&self) -> Found {
        let config = &self.0.config;
        let found = roots::scan(&Places {
            roots: &config.roots,
            tool_dirs: &config.tool_dirs,
            connector_dirs: &config.connector_dirs,
            usual: &config.usual,
            native: &config.native,
        });
        let folders: BTreeMap<String, Folder> =
            found.folders.iter().map(|folder| (folder.id.clone(), folder.clone())).collect();
        *lock(&self.0.folders) = folders;
        self.watch(&found.folders);
        found
    }

    /// Manifests that ship with the program and were read already.
    pub fn knows(&self, shipped: Manifests) {
        *lock(&self.0.shipped) = shipped;
    }

    /// What happens to folders from now on; for one listener.
    pub fn changes(&self) -> Option<mpsc::UnboundedReceiver<Change>> {
        lock(&self.0.heard).take()
    }

    /// A path as a folder of the operator's, wherever it is.
    ///
    /// # Errors
    /// When it is none.
    pub fn folder(path: &Path) -> Result<Folder, String> {
        let path = path.canonicalize().map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let is_file = path.is_file();
        let named = if is_file { path.file_stem() } else { path.file_name() };
        let id = named.and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        name::check(&id)?;
        let root = Root { path: path.parent().unwrap_or(&path).into(), kind: RootKind::Operator };
        let shape = if is_file { Shape::Connector } else { Shape::of(&path) };
        Ok(Folder { id, path, root, shape })
    }

    /// Of the state that a folder is in now. Nothing of it runs.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn hash(&self, folder: &Folder) -> Result<String> {
        let _loading = self.0.loading.read().await;
        Ok(self.copy(folder, None).await?.hash)
    }

    /// An interpreter with the package that folders import, and nothing that they may want besides.
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn python(&self) -> Result<Interpreter, String> {
        self.0.environments.bare().await
    }

    /// Forgets what was made of a folder that is gone for good; its state stays.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, id: &str) -> Result<()> {
        lock(&self.0.logs).remove(id);
        snapshot::forget(&self.0.config.data.join("siblings"), id)?;
        snapshot::forget(&self.folders_dir(), id).with_context(|| format!("The copies of `{id}` cannot be removed"))
    }

    /// Ends every worker, those of old states too: open calls have 60 s.
    pub async fn stop(&self) {
        let running: Vec<_> = lock(&self.0.running).drain(..).collect();
        let all = running.iter().filter_map(Weak::upgrade).map(|worker| worker.drain(None));
        futures::future::join_all(all).await;
    }

    pub(crate) async fn copy(&self, folder: &Folder, previous: Option<String>) -> Result<snapshot::Snapshot> {
        let _turn = self.0.copying.acquire().await;
        let (folders, folder) = (self.folders_dir(), folder.clone());
        tokio::task::spawn_blocking(move || snapshot::take(&folders, &folder, previous.as_deref())).await?
    }

    pub(crate) fn folders_dir(&self) -> PathBuf {
        self.0.config.data.join("folders")
    }

    /// Copies of what a folder imports are its own.
    pub(crate) fn siblings_dir(&self, id: &str) -> PathBuf {
        self.0.config.data.join("siblings").join(id)
    }

    pub(crate) fn log_of(&self, id: &str) -> Ring {
        lock(&self.0.logs).entry(id.to_owned()).or_default().clone()
    }

    fn watch(&self, folders: &[Folder]) {
        let mut watcher = lock(&self.0.watcher);
        let made = match watcher.take() {
            Some(made) => Some(made),
            None => watch::Watcher::start(self.0.changes.clone())
                .inspect_err(|error| tracing::warn!("Saved files are not noticed, restart to load them: {error:#}"))
                .ok(),
        };
        if let Some(mut made) = made {
            made.look_at(&self.0.config, folders);
            *watcher = Some(made);
        }
    }
}

/// Folders whose environment is ready, or cannot be, are loaded again.
async fn tell_of_environments(inner: Weak<Inner>) {
    let Some(mut ended) = inner.upgrade().map(|inner| inner.environments.ended()) else { return };
    loop {
        let key = match ended.recv().await {
            Ok(key) => Some(key),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => None,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        let Some(inner) = inner.upgrade() else { return };
        let mut waiting = lock(&inner.waiting);
        let ids: BTreeSet<String> = match key {
            Some(key) => waiting.remove(&key).unwrap_or_default(),
            None => std::mem::take(&mut *waiting).into_values().flatten().collect(),
        };
        for id in ids {
            // Whoever listened may be gone.
            let _ = inner.changes.send(Change::Folder(id));
        }
    }
}

/// A directory that users of integrations can pass through and not look into.
fn closed(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let mode = fs::metadata(directory)?.permissions().mode();
    if mode & 0o066 != 0 {
        // One that is somebody else's is theirs to close.
        let _ = fs::set_permissions(directory, fs::Permissions::from_mode(mode & !0o066));
    }
    Ok(())
}

/// Files that an environment names.
fn files_of(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    environment.values().map(PathBuf::from).filter(|path| path.is_absolute() && path.exists()).collect()
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}

/// What cannot be loaded at all, as one problem of the whole folder.
pub(crate) fn whole(error: &anyhow::Error) -> Problem {
    Problem::new("", format!("{error:#}"))
}
