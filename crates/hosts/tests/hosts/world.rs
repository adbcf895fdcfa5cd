//! A server without a server: roots and data in a directory of its own, and the program that confines.

use futures::future::BoxFuture;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tercel_hosts::{
    Change, Config, Folder, Hosts, Loaded, Minted, Reach, Root, RootKind, Server, Variable, sandbox::Sandbox,
};
use tercel_sdk::{
    Error, Handler, Host, Kind, Mode, Result, Trust,
    host::{Context, Ids},
    http::{Request, Response, Transport},
};
use tokio::sync::mpsc;
use uuid::Uuid;

#[path = "../../../../tests/harness/environments.rs"]
mod shared;

use shared::environments;

/// An environment may have to be made first, once for all tests.
const PREPARING: Duration = Duration::from_secs(240);

pub struct World {
    place: TempDir,
    config: Config,
    pub hosts: Hosts,
    pub server: Arc<Fake>,
    pub changes: mpsc::UnboundedReceiver<Change>,
}

/// What the server would say.
#[derive(Default)]
pub struct Fake {
    pub values: Mutex<BTreeMap<String, String>>,
    pub minted: Mutex<Vec<Uuid>>,
    pub revoked: Mutex<Vec<Uuid>>,
}

impl Server for Fake {
    fn values(&self, _: &str, names: Vec<Variable>) -> BoxFuture<'static, BTreeMap<String, String>> {
        let values = self.values.lock().unwrap().clone();
        let of = move |variable: Variable| {
            let value = values.get(&variable.key).cloned().or(variable.default)?;
            Some((variable.key, value))
        };
        Box::pin(async move { names.into_iter().filter_map(of).collect() })
    }

    fn mint(&self, _: &str) -> Minted {
        let id = Uuid::now_v7();
        self.minted.lock().unwrap().push(id);
        Minted { id, key: format!("key-{id}").into() }
    }

    fn revoke(&self, id: Uuid) {
        self.revoked.lock().unwrap().push(id);
    }

    fn reach(&self, _: &str, _: RootKind, _: &[String]) -> Reach {
        Reach::Open
    }

    fn url(&self) -> String {
        "http://127.0.0.1:9".into()
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let place = tempfile::tempdir().unwrap();
        // Users of integrations get through to what is theirs.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let data = place.path().join("data");
        fs::create_dir_all(place.path().join("integrations")).unwrap();
        fs::create_dir_all(&data).unwrap();
        symlink(environments(env!("CARGO_TARGET_TMPDIR")), data.join("envs")).unwrap();
        let root = Root { path: place.path().join("integrations"), kind: RootKind::Operator };
        let mut config = Config {
            data: data.clone(),
            roots: vec![root],
            tool_dirs: Vec::new(),
            connector_dirs: Vec::new(),
            usual: BTreeSet::new(),
            path: path(),
            installing: installing(),
            // Others use the same ones at the same time.
            keep_environments: Duration::from_secs(86_400),
            native: BTreeMap::new(),
        };
        change(&mut config);
        let server = Arc::new(Fake::default());
        let hosts = Hosts::start(config.clone(), Sandbox::open(program(), &data), server.clone()).unwrap();
        let changes = hosts.changes().unwrap();
        Self { place, config, hosts, server, changes }
    }

    /// The next server on the same data.
    pub fn again(&self) -> Hosts {
        let sandbox = Sandbox::open(program(), &self.config.data);
        Hosts::start(self.config.clone(), sandbox, self.server.clone()).unwrap()
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join("integrations")
    }

    /// Writes a file of a folder: `crm/tools/note.py`.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn set(&self, name: &str, value: &str) {
        self.server.values.lock().unwrap().insert(name.into(), value.into());
    }

    /// Loads a folder for the first time, when its environment is there.
    pub async fn load(&mut self, id: &str) -> Loaded {
        self.reload(id, None).await
    }

    pub async fn reload(&mut self, id: &str, last: Option<&Loaded>) -> Loaded {
        let found = self.hosts.scan();
        let folder = found.folders.iter().find(|folder| folder.id == id);
        let folder = folder.unwrap_or_else(|| panic!("`{id}` was not found: {:?}", found.problems));
        // The tests share their environments; the first makes what all need, and the others wait for it.
        static FIRST: tokio::sync::Mutex<bool> = tokio::sync::Mutex::const_new(true);
        let mut first = FIRST.lock().await;
        if *first {
            let mut world = Self::new();
            world.write("base/tools/base.py", &tool("base", "def base():\n    return 1"));
            let folder = world.hosts.scan().folders.remove(0);
            world.prepared(&folder, None).await;
            *first = false;
        }
        drop(first);
        self.prepared(folder, last).await
    }

    async fn prepared(&mut self, folder: &Folder, last: Option<&Loaded>) -> Loaded {
        let end = Instant::now() + PREPARING;
        loop {
            let loaded = self.hosts.load(folder, last).await;
            if loaded.worker.state().state != "preparing" {
                return loaded;
            }
            assert!(Instant::now() < end, "{:?}", loaded.worker.state());
            self.changed(PREPARING).await;
        }
    }

    /// The next change that is noticed.
    pub async fn changed(&mut self, within: Duration) -> Change {
        let change = tokio::time::timeout(within, self.changes.recv()).await;
        change.expect("nothing was noticed").expect("somebody tells of changes")
    }
}

/// Of a call, with so long to answer.
pub fn host(seconds: f32) -> Host {
    host_of(seconds, Ids::default(), BTreeMap::new())
}

pub fn host_of(seconds: f32, ids: Ids, fields: BTreeMap<String, String>) -> Host {
    Host::new(Context {
        tokens: None,
        integration: "crm".into(),
        connection: "default".into(),
        call: Uuid::now_v7(),
        fields: Arc::new(fields),
        names: Arc::default(),
        account: None,
        ids,
        mode: Mode::Live,
        trust: Trust::Trusted,
        idempotency_key: None,
        deadline: Some(Instant::now() + Duration::from_secs_f32(seconds)),
        cancel: Default::default(),
        transport: Arc::new(Nowhere),
        state: PathBuf::new(),
    })
}

struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async { Err(Error::new(Kind::Network, "There is no network here")) })
    }
}

pub async fn call(loaded: &Loaded, tool: &str, arguments: Value) -> Result<Value> {
    call_within(loaded, tool, arguments, 30.0).await
}

pub async fn call_within(loaded: &Loaded, tool: &str, arguments: Value, seconds: f32) -> Result<Value> {
    handler(loaded, tool)(host(seconds), arguments.into()).await
}

pub fn handler(loaded: &Loaded, tool: &str) -> Handler {
    let found = loaded.integration.tools.iter().find(|known| known.name == tool);
    let found = found.unwrap_or_else(|| panic!("there is no tool `{tool}`: {:?} {:?}", loaded.problems, log(loaded)));
    found.handler.clone()
}

pub fn log(loaded: &Loaded) -> Vec<String> {
    loaded.worker.log().into_iter().map(|line| line.text).collect()
}

pub fn pid(loaded: &Loaded) -> u32 {
    loaded.worker.state().pid.unwrap_or_else(|| panic!("it does not run: {:?}", loaded.worker.state()))
}

/// A tool file whose tool has the name of the folder and the word behind it.
pub fn tool(name: &str, body: &str) -> String {
    let body = body.trim_matches('\n');
    format!(
        "from integrations._register import register\n\n\n@register({{\"type\": \"function\", \"function\": \
         {{\"name\": \"{name}\", \"description\": \"For a test\", \"parameters\": {{\"type\": \"object\", \
         \"properties\": {{}}}}}}}})\n{body}\n"
    )
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn is_alive(pid: u32) -> bool {
    // One that has ended and was not waited for yet is not alive.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Beside the test executables.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
    let program = profile.join("tercel");
    assert!(program.is_file(), "{program:?} is not there: `make test` builds it and runs the tests");
    program
}

#[expect(clippy::disallowed_methods, reason = "tests run in the environment of whoever starts them")]
fn path() -> String {
    std::env::var("PATH").unwrap()
}

/// What reaching PyPI needs on this machine.
#[expect(clippy::disallowed_methods, reason = "tests run in the environment of whoever starts them")]
fn installing() -> BTreeMap<String, String> {
    let wanted = |name: &str| {
        ["PIP_", "UV_"].iter().any(|prefix| name.starts_with(prefix))
            || ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"].contains(&name.to_uppercase().as_str())
    };
    std::env::vars().filter(|(name, _)| wanted(name)).collect()
}
