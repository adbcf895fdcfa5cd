//! Makes an [`Integration`] out of a folder, whatever it is written in.
//!
//! A folder is found below a [`Root`], copied to a snapshot, described once by its own code, and from then on is a value
//! like every other. Its code runs in a worker process of its own that is started when something needs it.

mod cache;
mod call;
mod check;
mod confine;
mod description;
mod environment;
mod fixtures;
pub mod guard;
mod held;
mod hosts;
mod integration;
mod launch;
mod leftovers;
mod load;
mod log;
mod manifest;
mod name;
pub mod process;
pub mod recording;
mod roots;
pub mod sandbox;
mod snapshot;
mod watch;
mod worker;

pub use check::{Finding, Level, check, check_native, python_path};
pub use confine::Confines;
pub use environment::Interpreter;
pub use fixtures::{Fixtures, Signing, signing};
pub use held::Cleaned;
pub use hosts::{Change, Config, Hosts};
pub use launch::{Launch, Started, ending};
pub use load::manifested;
pub use log::{LogLine, Ring};
pub use manifest::{FILE as MANIFEST, Manifests};
pub use name::check as check_name;
pub use roots::{Folder, Found, Hidden, Root, RootKind, Shape, extract};

use futures::future::BoxFuture;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};
use tercel_sdk::{Integration, Result};
use uuid::Uuid;
use worker::Open;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Manifest,
    Python,
    Worker,
}

/// JSON Schema of `integration.yaml`: what editors complete from.
pub const SCHEMA: &str = include_str!("../../../docs/integration.schema.json");

/// What is wrong with a folder, for the person who writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Below the folder: `tools/search.py`.
    pub file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub message: String,
}

impl Problem {
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, message: message.into() }
    }

    pub fn at(file: impl Into<String>, line: u32, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => f.write_str(&self.message),
            (file, Some(line)) => write!(f, "{file}:{line}: {}", self.message),
            (file, None) => write!(f, "{file}: {}", self.message),
        }
    }
}

/// A folder as it runs.
#[derive(Clone)]
pub struct Loaded {
    pub folder: Folder,
    pub way: Way,
    /// Of the snapshot it runs from; empty when there could be none.
    pub hash: String,
    /// What loaded of it.
    pub integration: Integration,
    pub problems: Vec<Problem>,
    /// The folder has changed since, and what it is now does not load: `problems` are those of the new state.
    pub kept: bool,
    /// What its code is given, with what a declaration says about it.
    pub variables: Vec<Variable>,
    /// Environment names that its code reads and nothing declares.
    pub undeclared: Vec<String>,
    /// Integrations whose code it imports, whether there is such code or not; none for a folder of the workspace.
    pub imports: Vec<String>,
    pub permissions: Permissions,
    pub worker: Arc<dyn Worker>,
    /// What else of it is started is started with this.
    pub place: Place,
    /// Folders whose code it imports, with the states of them that it runs with.
    pub siblings: BTreeMap<String, String>,
    /// Of all that it depends on.
    pub(crate) key: String,
}

/// Where what a folder wants to run beside the server runs, and with what.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Where its process starts. Empty when there is no code.
    pub directory: PathBuf,
    /// What `python` as the first word of a command means.
    pub python: Option<PathBuf>,
    /// Environment that its code needs besides its variables.
    pub environment: BTreeMap<String, String>,
    pub confines: Confines,
}

/// How a process reaches others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// By itself, anybody.
    Open,
    /// Through the forward proxy, those that it was granted.
    Through {
        port: u16,
        /// Tells it of the proxy.
        environment: BTreeMap<String, String>,
        /// What that names.
        readable: Vec<PathBuf>,
    },
}

/// What a manifest asks for beyond what every folder may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Tools of others that it may call.
    pub tools: Vec<String>,
    /// Hosts that it may reach; none named is any, for a folder of the operator's.
    pub hosts: Vec<String>,
    /// Scopes of the API; none named are those of every folder.
    pub api: Vec<String>,
    /// Files and directories elsewhere.
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
}

/// The process behind a folder.
pub trait Worker: Send + Sync {
    fn state(&self) -> WorkerState;
    /// What it printed lately, the oldest first.
    fn log(&self) -> Vec<LogLine>;
    /// A process that answers, and the right to call it: it is not stopped while this is held.
    ///
    /// # Errors
    /// `network`, as nothing has happened: when there is none, or it cannot be started, or has failed too often lately.
    fn enter(&self) -> BoxFuture<'_, Result<Open>>;
    /// Takes no new calls, lets those that are open end (at most 60 s), and stops. Calls of those who found it before
    /// `next` took its place go to `next`.
    fn drain(&self, next: Option<Arc<dyn Worker>>) -> BoxFuture<'static, ()>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WorkerState {
    /// `stopped`, `preparing`, `starting`, `running`, `draining` or `failing`.
    pub state: &'static str,
    pub pid: Option<u32>,
    pub restarts: u32,
    /// Why it does not run, in words for the operator; while it is prepared, how far that is.
    pub reason: Option<String>,
    /// What went wrong last in its code, whether it runs again or not.
    pub failure: Option<Failed>,
    /// Lines that it printed too fast to be kept.
    pub lines_lost: u64,
}

impl WorkerState {
    fn new(state: &'static str) -> Self {
        Self { state, ..Self::default() }
    }
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Microseconds since 1970.
    pub at: i64,
    /// In words for the operator.
    pub reason: String,
}

/// A key of the API that is worth something while one process runs.
pub struct Minted {
    pub id: Uuid,
    pub key: SecretString,
}

/// What folders need of the server.
pub trait Server: Send + Sync + 'static {
    /// Values by environment name of those variables that have one: database, environment, default.
    fn values(&self, integration: &str, names: Vec<Variable>) -> BoxFuture<'static, BTreeMap<String, String>>;
    /// A key that acts as the integration and nothing more.
    fn mint(&self, integration: &str) -> Minted;
    fn revoke(&self, id: Uuid);
    /// How its processes reach others; `hosts` are those that a manifest asks for, and none of them is any.
    fn reach(&self, integration: &str, root: RootKind, hosts: &[String]) -> Reach;
    /// Where its processes reach the API: `http://127.0.0.1:8000`.
    fn url(&self) -> String;
}

/// A variable that a folder declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variable {
    /// Environment name.
    pub key: String,
    pub required: bool,
    pub secret: bool,
    pub description: String,
    pub default: Option<String>,
}
