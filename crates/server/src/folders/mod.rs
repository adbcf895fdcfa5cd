//! Integrations that are folders: found, loaded, and kept up with while the server runs.

pub mod acts;
mod calls;
pub mod card;
pub mod deliveries;
mod headers;
pub mod listed;
pub mod load;
mod network;
mod places;
pub mod route;
mod services;
mod settle;
pub mod shipped;
pub mod standing;
mod watch;

pub use calls::{Calls, Open};
pub use listed::{Abilities, Listed, Place, Standing};

use crate::{app::App, config::Config, tier::Tier};
use shipped::Shipping;
use standing::Said;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};
use tercel_hosts::{
    Found, Hosts, Loaded, RootKind,
    process::{Kept, Times},
};
use tercel_sdk::Integration;

/// Who a key of the API acts as, when it belongs to the process of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub integration: String,
    pub kind: RootKind,
}

/// What the key of a folder is good for at all. What it may do with it is another question: `acts.rs`.
const SCOPES: &str = "attachments:write bots:read channels:read chat:write documents:write integrations:read \
                      sessions:write tasks:write tools:write";

/// What is known of all integrations, folders or not.
pub struct Folders {
    /// Those that are part of the program.
    natives: Vec<Integration>,
    tier: Tier,
    hosts: OnceLock<Hosts>,
    /// Until it is loaded for the first time.
    shipping: Mutex<Option<Shipping>>,
    state: RwLock<State>,
    pub said: Said,
    pub calls: Calls,
    pub running: deliveries::Running,
    /// One look at the folders at a time.
    looking: tokio::sync::Mutex<()>,
    /// By folder: it is loaded once at a time.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Folders whose next loading has not begun.
    awaited: Mutex<BTreeSet<String>>,
    /// How many are being loaded.
    loading: tokio::sync::watch::Sender<usize>,
    settling: tokio::sync::Mutex<()>,
    /// Something was loaded that not everybody sees yet.
    is_unsettled: AtomicBool,
    will_be_tidied: AtomicBool,
    address: OnceLock<SocketAddr>,
    network: network::Network,
    /// The first look is wanted and not over.
    is_behind: AtomicBool,
}

#[derive(Default)]
struct State {
    found: Found,
    loaded: BTreeMap<String, Loaded>,
    /// What lies in the workspace now, by integration: to be approved.
    offered: BTreeMap<String, String>,
    /// Those whose present state nobody has approved.
    waiting: BTreeSet<String>,
    /// Somebody has looked what there is.
    is_scanned: bool,
}

impl Folders {
    pub fn new(natives: Vec<Integration>, said: Said, tier: Tier) -> Self {
        Self {
            natives,
            tier,
            hosts: OnceLock::new(),
            shipping: Mutex::default(),
            state: RwLock::default(),
            said,
            calls: Calls::default(),
            running: deliveries::Running::default(),
            looking: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            awaited: Mutex::default(),
            loading: Default::default(),
            settling: tokio::sync::Mutex::default(),
            is_unsettled: AtomicBool::new(false),
            will_be_tidied: AtomicBool::new(false),
            address: OnceLock::new(),
            network: Default::default(),
            is_behind: AtomicBool::new(false),
        }
    }

    /// Where the server listens, which folders are told.
    pub fn listens_on(&self, address: SocketAddr) {
        let _ = self.address.set(address);
    }

    fn port(&self) -> u16 {
        self.address.get().map_or(0, SocketAddr::port)
    }

    fn url(&self, config: &Config) -> String {
        let mut address = self.address.get().copied().unwrap_or(config.listen);
        // All addresses are no address to call.
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// What nobody has looked for yet may be there all the same, from now on until the first look is over.
    pub fn will_be_loaded(&self) {
        self.is_behind.store(true, Ordering::Release);
    }

    /// What ships is on its way already.
    pub fn ships(&self, shipping: Shipping) {
        *self.shipping.lock().expect("no holder of this lock panics") = Some(shipping);
    }

    fn turn(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.turns.lock().expect("no holder of this lock panics").entry(id.to_owned()).or_default().clone()
    }

    /// Whether the first look at the folders is over, or was never wanted.
    pub fn is_ready(&self) -> bool {
        !self.is_behind.load(Ordering::Acquire)
    }

    /// Whether it is known which folders there are.
    pub fn has_looked(&self) -> bool {
        self.is_ready() || self.read(|state| state.is_scanned)
    }

    pub fn is_found(&self, integration: &str) -> bool {
        self.kind(integration).is_some()
    }

    fn kind(&self, integration: &str) -> Option<RootKind> {
        self.read(|state| {
            let folder = state.found.folders.iter().find(|folder| folder.id == integration)?;
            Some(folder.root.kind)
        })
    }

    /// What is wrong with the roots themselves.
    pub fn problems(&self) -> Vec<String> {
        self.read(|state| {
            let problems = state.found.problems.iter();
            problems.map(|(path, words)| format!("{}: {words}", path.display())).collect()
        })
    }

    /// The hash of what lies in the workspace now and waits for an approval.
    pub fn offered(&self, integration: &str) -> Option<String> {
        self.read(|state| state.offered.get(integration).cloned())
    }

    pub fn loaded(&self, integration: &str) -> Option<Loaded> {
        self.read(|state| state.loaded.get(integration).cloned())
    }

    /// Folders whose code did not start when it was to be loaded.
    fn failing(&self) -> Vec<String> {
        self.read(|state| {
            let failing = state.loaded.values().filter(|loaded| loaded.worker.state().state == "failing");
            failing.map(|loaded| loaded.folder.id.clone()).collect()
        })
    }

    /// How many folders were found.
    pub fn count(&self) -> usize {
        self.read(|state| state.found.folders.len())
    }

    /// Every integration, in the order in which they take names: the first that wants one has it.
    pub fn list(&self) -> Vec<Arc<Listed>> {
        self.read(|state| {
            let is_found = |id: &str| state.found.folders.iter().any(|folder| folder.id == id);
            let natives = self.natives.iter().filter(|native| !is_found(&native.name));
            let natives = natives.map(|native| Listed::native(native.clone(), self.said.of(&native.name).disabled));
            let folders = state.found.folders.iter().map(|folder| card::of_folder(self, state, folder));
            let is_native = |id: &str| self.natives.iter().any(|native| native.name == id);
            let gone = self.said.ids().into_iter().filter(|id| !is_found(id) && !is_native(id));
            let has_looked = state.is_scanned || self.is_ready();
            let standing = if has_looked { Standing::Missing } else { Standing::Preparing };
            let gone = gone.filter_map(|id| Some(card::of_absent(&id, &self.said.known(&id)?, standing.clone())));
            natives.chain(folders).chain(gone).map(|listed| Arc::new(listed.under(self.tier))).collect()
        })
    }

    /// A folder's code sees its settings when it is loaded.
    pub fn has_new_settings(&self, app: &Arc<App>, id: &str) {
        if self.loaded(id).is_some() {
            let (app, id) = (app.clone(), id.to_owned());
            app.clone().work.spawn(async move { load::reload(&app, &id).await });
        }
    }

    /// What was made of a folder that is gone for good.
    pub fn forget(&self, id: &str) {
        if let Some(Err(error)) = self.hosts.get().map(|hosts| hosts.remove(id)) {
            tracing::warn!(integration = id, "{error:#}");
        }
    }

    /// What keeps a process of a folder; nothing before folders were looked for.
    pub fn process(&self) -> Option<Kept> {
        self.hosts.get().map(|hosts| hosts.process(Times::default()))
    }

    /// Ends all processes, when what they are at is done.
    pub async fn stop(&self) {
        if let Some(hosts) = self.hosts.get() {
            hosts.stop().await;
        }
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}
