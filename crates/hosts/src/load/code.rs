//! What of a folder is code, and whether it can run: environment, variables, the folders it imports.

use super::{has_python, idle::Why};
use crate::{
    Folder, Hosts, Permissions, Problem, RootKind, Shape, Variable, Way,
    environment::{Interpreter, Requirements, State},
    hosts::lock,
    integration::{Extra, field_name},
    manifest::{self, Manifest, Manifests},
    process,
    snapshot::Snapshot,
    worker::is_reserved,
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::PathBuf, sync::Mutex};

pub struct Code {
    pub way: Way,
    pub manifest: Option<Manifest>,
    has_python: bool,
}

pub enum Readiness {
    /// There is nothing that could run.
    NoCode,
    Not(Why),
    Ready(Box<Ready>),
}

impl Readiness {
    /// States of folders that it imports.
    pub fn siblings(&self) -> BTreeMap<String, String> {
        match self {
            Self::Ready(ready) => ready.siblings.clone(),
            Self::NoCode | Self::Not(_) => BTreeMap::new(),
        }
    }
}

/// All that a worker is started with.
pub struct Ready {
    /// Of everything that what it says of itself may depend on.
    pub key: String,
    pub variables: Vec<Variable>,
    pub siblings: BTreeMap<String, String>,
    /// Integrations whose code it imports, whether there is such code or not.
    pub imports: Vec<String>,
    pub(super) interpreter: Option<Interpreter>,
    /// Why there is no interpreter for its process. What needs no code goes on without.
    pub(super) lacks: Option<Why>,
    /// Copies of the folders that it imports.
    pub(super) copies: Vec<PathBuf>,
}

impl Code {
    /// `shipped` are those that were read already.
    pub fn read(folder: &Folder, snapshot: &Snapshot, shipped: &Mutex<Manifests>) -> Result<Self, (Way, Vec<Problem>)> {
        let has_python = has_python(&snapshot.code);
        let is_shipped = folder.root.kind == RootKind::Shipped && folder.shape == Shape::Manifest;
        let manifest = match folder.shape {
            Shape::Folder | Shape::Manifest => is_shipped
                .then(|| lock(shipped).take(&folder.id))
                .flatten()
                .or_else(|| manifest::read(&folder.id, &snapshot.code, has_python)),
            Shape::Tools | Shape::Connector => None,
        };
        let way = |manifest: &Manifest| match manifest.command.is_empty() {
            true if has_python => Way::Python,
            true => Way::Manifest,
            false => Way::Worker,
        };
        match manifest.transpose() {
            Ok(None) => Ok(Self { way: Way::Python, manifest: None, has_python }),
            Ok(Some(manifest)) => Ok(Self { way: way(&manifest), manifest: Some(manifest), has_python }),
            Err(problems) => Err((Way::Manifest, problems)),
        }
    }

    pub fn extra(&self) -> Extra {
        self.manifest.as_ref().map(|manifest| manifest.extra.clone()).unwrap_or_default()
    }

    pub fn permissions(&self) -> Permissions {
        self.manifest.as_ref().map(|manifest| manifest.permissions.clone()).unwrap_or_default()
    }

    pub(super) fn command(&self) -> &[String] {
        self.manifest.as_ref().map_or(&[], |manifest| &manifest.command)
    }

    /// Where its worker starts: a manifest's command in the folder, ours for Python above `integrations/<id>`.
    pub(super) fn worker_directory(&self, snapshot: &Snapshot) -> PathBuf {
        if self.command().is_empty() { snapshot.directory.clone() } else { snapshot.code.clone() }
    }

    /// Where its process starts: one of a manifest in the folder, one of the documents above `integrations/<id>`.
    pub(super) fn process_directory(&self, snapshot: &Snapshot) -> PathBuf {
        let is_declared = self.manifest.as_ref().is_some_and(|manifest| manifest.description.process.is_some());
        if is_declared { snapshot.code.clone() } else { self.worker_directory(snapshot) }
    }

    fn needs_python(&self) -> bool {
        let process = self.manifest.as_ref().and_then(|manifest| manifest.description.process.as_ref());
        let of_process = process.and_then(|process| process.command.first());
        match self.way {
            Way::Manifest => of_process.is_some_and(|program| is_python(program)),
            Way::Python | Way::Worker => self.command().first().is_none_or(|program| is_python(program)),
        }
    }
}

/// As the first word of a command.
pub fn is_python(word: &str) -> bool {
    matches!(word, "python" | "python3")
}

impl Hosts {
    pub(super) async fn ready(&self, folder: &Folder, code: &Code, snapshot: &Snapshot) -> Readiness {
        if code.manifest.is_none() && !code.has_python {
            return Readiness::NoCode;
        }
        let mut ready = Ready {
            key: String::new(),
            variables: declared_by(&folder.id, code),
            siblings: BTreeMap::new(),
            imports: Vec::new(),
            interpreter: None,
            lacks: None,
            copies: Vec::new(),
        };
        if self.wants_python(folder, code, &ready.variables).await {
            match self.interpreter(folder, code, snapshot).await {
                Ok(interpreter) => ready.interpreter = Some(interpreter),
                Err(why) if code.way == Way::Manifest => ready.lacks = Some(why),
                Err(why) => return Readiness::Not(why),
            }
        }
        if code.way == Way::Python
            && let Some(interpreter) = ready.interpreter.clone()
            && let Err(reason) = self.read_source(folder, code, snapshot, &interpreter, &mut ready).await
        {
            return Readiness::Not(Why::failing(reason));
        }
        // Where there is no code, values are looked at when they are needed.
        let values = match code.way {
            Way::Manifest => BTreeMap::new(),
            Way::Python | Way::Worker => self.0.server.values(&folder.id, ready.variables.clone()).await,
        };
        ready.key = key(snapshot, &ready, &values);
        Readiness::Ready(Box::new(ready))
    }

    /// Where nothing but a process is code, no environment is made before that may run.
    async fn wants_python(&self, folder: &Folder, code: &Code, variables: &[Variable]) -> bool {
        let process = code.manifest.as_ref().and_then(|manifest| manifest.description.process.as_ref());
        match process.filter(|_| code.way == Way::Manifest && code.needs_python()) {
            Some(process) => {
                let values = self.0.server.values(&folder.id, variables.to_vec()).await;
                process::missing(process, &values).is_empty()
            }
            None => code.needs_python(),
        }
    }

    async fn interpreter(&self, folder: &Folder, code: &Code, snapshot: &Snapshot) -> Result<Interpreter, Why> {
        let wheels_only = folder.root.kind == RootKind::Workspace;
        let wanted = Requirements::of(&snapshot.code, wheels_only);
        let (key, mut state) = self.0.environments.of(&wanted).await;
        if !matches!(state, State::Ready(_)) {
            lock(&self.0.waiting).entry(key).or_default().insert(folder.id.clone());
            // It may have become ready before we waited for it.
            state = self.0.environments.of(&wanted).await.1;
        }
        match state {
            State::Ready(interpreter) => {
                let oldest = code.manifest.as_ref().and_then(|manifest| manifest.python);
                match oldest {
                    Some((major, minor)) if (interpreter.version.0, interpreter.version.1) < (major, minor) => {
                        let (found, minor_found, _) = interpreter.version;
                        Err(Why::failing(format!(
                            "It needs Python {major}.{minor}, and the first that this server found is {found}.{minor_found}"
                        )))
                    }
                    _ => Ok(interpreter),
                }
            }
            State::Making(progress) => Err(Why::Preparing(progress)),
            State::Failed(reason) => Err(Why::failing(reason)),
        }
    }
}

/// Fields of a manifest are variables of the code.
fn declared_by(id: &str, code: &Code) -> Vec<Variable> {
    let Some(manifest) = &code.manifest else { return Vec::new() };
    let fields = manifest.description.fields.iter().map(|field| Variable {
        key: field.env.clone().unwrap_or_else(|| field_name(id, &field.key)),
        required: field.required,
        secret: field.secret.unwrap_or(field.kind == "password"),
        description: field.help.clone(),
        default: field.default.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    });
    fields
        .chain(manifest.description.variables.iter().cloned())
        .filter(|variable| !is_reserved(&variable.key))
        .collect()
}

fn key(snapshot: &Snapshot, ready: &Ready, values: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(&snapshot.hash);
    add(ready.interpreter.as_ref().map_or("", |interpreter| &interpreter.identity));
    ready.lacks.iter().for_each(|why| add(why.word()));
    for (name, value) in ready.siblings.iter().chain(values) {
        add(name);
        add(value);
    }
    hex::encode(hash.finalize())
}
