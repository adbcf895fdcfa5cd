//! What of a folder is code, and whether it can run: environment, variables, the folders it imports.

use super::{has_python, idle::PREPARING};
use crate::{
    Folder, Hosts, Permissions, Place, Problem, RootKind, Shape, Variable, Way,
    cache::{Cache, Declared},
    confine::Confines,
    environment::{Interpreter, Requirements, State},
    hosts::lock,
    integration::{Extra, field_name},
    manifest::{self, Manifest},
    sandbox::Policy,
    snapshot::{self, Snapshot},
    worker::{Spec, is_reserved},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::io::AsyncReadExt;

pub struct Code {
    pub way: Way,
    pub manifest: Option<Manifest>,
    has_python: bool,
}

pub enum Readiness {
    /// There is nothing that could run.
    NoCode,
    /// The state of its worker, and why.
    Not(&'static str, String),
    Ready(Box<Ready>),
}

/// All that a worker is started with.
pub struct Ready {
    /// Of everything that what it says of itself may depend on.
    pub key: String,
    pub variables: Vec<Variable>,
    pub siblings: BTreeMap<String, String>,
    pub problems: Vec<Problem>,
    interpreter: Option<Interpreter>,
    /// Copies of the folders that it imports.
    copies: Vec<PathBuf>,
}

/// Reading the source of a folder takes a moment; what takes longer hangs.
const READING: Duration = Duration::from_secs(30);

impl Code {
    pub fn read(folder: &Folder, snapshot: &Snapshot) -> Result<Self, (Way, Vec<Problem>)> {
        let manifest = match folder.shape {
            Shape::Folder => manifest::read(&folder.id, &snapshot.code),
            Shape::Tools | Shape::Connector => None,
        };
        let has_python = has_python(&snapshot.code);
        let way = |manifest: &Manifest| if manifest.command.is_empty() { Way::Python } else { Way::Worker };
        match manifest.transpose() {
            Ok(None) => Ok(Self { way: Way::Python, manifest: None, has_python }),
            Ok(Some(manifest)) if manifest.command.is_empty() && !has_python => {
                let message = "A manifest without code needs a host that makes the requests itself; this server reads \
                               manifests of folders with code: add `worker:`";
                Err((Way::Manifest, vec![Problem::new(manifest::FILE, message)]))
            }
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

    fn command(&self) -> &[String] {
        self.manifest.as_ref().map_or(&[], |manifest| &manifest.command)
    }

    fn needs_python(&self) -> bool {
        self.command().first().is_none_or(|program| is_python(program))
    }
}

/// As the first word of a command.
fn is_python(word: &str) -> bool {
    matches!(word, "python" | "python3")
}

impl Hosts {
    pub(super) async fn ready(&self, folder: &Folder, code: &Code, snapshot: &Snapshot) -> Readiness {
        if code.command().is_empty() && !code.has_python {
            return Readiness::NoCode;
        }
        let interpreter = if code.needs_python() {
            match self.interpreter(folder, code, snapshot).await {
                Ok(interpreter) => Some(interpreter),
                Err(not) => return not,
            }
        } else {
            None
        };
        let mut ready = Ready {
            key: String::new(),
            variables: declared_by(&folder.id, code),
            siblings: BTreeMap::new(),
            problems: Vec::new(),
            interpreter,
            copies: Vec::new(),
        };
        if code.way == Way::Python
            && let Some(interpreter) = ready.interpreter.clone()
            && let Err(reason) = self.read_source(folder, code, snapshot, &interpreter, &mut ready).await
        {
            return Readiness::Not("failing", reason);
        }
        let values = self.0.server.values(&folder.id, ready.variables.clone()).await;
        ready.key = key(snapshot, &ready, &values);
        Readiness::Ready(Box::new(ready))
    }

    async fn interpreter(&self, folder: &Folder, code: &Code, snapshot: &Snapshot) -> Result<Interpreter, Readiness> {
        let wheels_only = folder.root.kind == RootKind::Workspace;
        let wanted = Requirements::of(&snapshot.code, wheels_only);
        // Before asking, so that an end in between is not missed.
        let (key, state) = self.0.environments.of(&wanted).await;
        let wait = |reason| {
            lock(&self.0.waiting).entry(key.clone()).or_default().insert(folder.id.clone());
            reason
        };
        match state {
            State::Ready(interpreter) => {
                let oldest = code.manifest.as_ref().and_then(|manifest| manifest.python);
                match oldest {
                    Some((major, minor)) if (interpreter.version.0, interpreter.version.1) < (major, minor) => {
                        Err(Readiness::Not(
                            "failing",
                            format!("It needs Python {major}.{minor}, and the first that this server found is older"),
                        ))
                    }
                    _ => Ok(interpreter),
                }
            }
            State::Making(progress) => Err(Readiness::Not(PREPARING, wait(progress))),
            State::Failed(reason) => Err(Readiness::Not("failing", wait(reason))),
        }
    }

    /// Variables and imports, of the folder and of those that it imports, and of those that they import.
    async fn read_source(
        &self,
        folder: &Folder,
        code: &Code,
        snapshot: &Snapshot,
        interpreter: &Interpreter,
        ready: &mut Ready,
    ) -> Result<(), String> {
        let own = self.declared(&self.folders_dir(), folder, snapshot, interpreter).await?;
        // A manifest alone says what there is.
        if code.manifest.is_none() {
            ready.variables.extend(own.variables.into_iter().filter(|variable| !is_reserved(&variable.key)));
        }
        let mut wanted: Vec<String> = own.imports;
        let mut seen = BTreeSet::from([folder.id.clone()]);
        let home = self.siblings_dir(&folder.id);
        while let Some(id) = wanted.pop() {
            let sibling = lock(&self.0.folders).get(&id).cloned();
            // One of the workspace's was not looked at by anybody when it is imported elsewhere.
            let Some(sibling) = sibling.filter(|sibling| sibling.root.kind != RootKind::Workspace) else { continue };
            if !seen.insert(id.clone()) || sibling.shape != Shape::Folder {
                continue;
            }
            let copy = snapshot::take(&home, &sibling, None).map_err(|error| format!("{error:#}"))?;
            wanted.extend(self.declared(&home, &sibling, &copy, interpreter).await?.imports);
            ready.copies.push(copy.directory);
            ready.siblings.insert(id, copy.hash);
        }
        ready.copies.sort();
        Ok(())
    }

    /// What the source declares; read once for each state.
    async fn declared(
        &self,
        home: &Path,
        folder: &Folder,
        snapshot: &Snapshot,
        interpreter: &Interpreter,
    ) -> Result<Declared, String> {
        let cache = Cache::of(home, &folder.id, &snapshot.hash);
        if let Some(declared) = cache.declared().filter(|declared| declared.by == interpreter.identity) {
            return Ok(declared);
        }
        let code = match folder.shape {
            Shape::Connector => snapshot.code.join(format!("{}.py", folder.id)),
            Shape::Folder | Shape::Tools => snapshot.code.clone(),
        };
        let _turn = self.0.describing.acquire().await;
        let mut declared = self.read(interpreter, &code).await?;
        declared.by.clone_from(&interpreter.identity);
        cache.keep_declared(&declared).map_err(|error| error.to_string())?;
        Ok(declared)
    }

    async fn read(&self, interpreter: &Interpreter, code: &Path) -> Result<Declared, String> {
        let mut policy = Policy::closed(None).read(code);
        policy.readable.extend(interpreter.readable.iter().cloned());
        let command = self
            .0
            .sandbox
            .command(interpreter.program.display().to_string(), policy)
            .args(["-B", "-m", "tercel_worker.declared"])
            .args([code.display().to_string()])
            .env("PYTHONPATH", interpreter.source.display().to_string())
            .env("LANG", "C.UTF-8");
        let about = |reason: String| format!("Its source could not be read: {reason}");
        let mut running = command.spawn().await.map_err(|error| about(format!("{error:#}")))?;
        let (output, errors) = (running.stdout.take(), running.stderr.take());
        let (mut said, mut complaint) = (Vec::new(), String::new());
        let reading = async {
            if let (Some(mut output), Some(mut errors)) = (output, errors) {
                tokio::try_join!(output.read_to_end(&mut said), errors.read_to_string(&mut complaint))?;
            }
            running.wait().await
        };
        let status = tokio::time::timeout(READING, reading).await.map_err(|_| about("it took too long".into()))?;
        match status {
            Ok(status) if status.success() => serde_json::from_slice(&said).map_err(|error| about(error.to_string())),
            Ok(_) => Err(about(complaint.lines().last().unwrap_or_default().to_owned())),
            Err(error) => Err(about(format!("{error:#}"))),
        }
    }

    pub(super) fn confines(&self, folder: &Folder, code: &Code, snapshot: &Snapshot, ready: &Ready) -> Confines {
        let permissions = code.permissions();
        Confines {
            integration: folder.id.clone(),
            directory: snapshot.directory.clone(),
            code: snapshot.code.clone(),
            siblings: ready.copies.clone(),
            state: self.state_dir(&folder.id),
            read: permissions.read,
            write: permissions.write,
            interpreter: ready.interpreter.clone(),
            limits: code.manifest.as_ref().map(|manifest| manifest.limits.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn spec(&self, folder: &Folder, code: &Code, snapshot: &Snapshot, ready: &Ready) -> Spec {
        let manifest = code.manifest.as_ref();
        let mut command = code.command().to_vec();
        let program = ready.interpreter.as_ref().map(|interpreter| interpreter.program.display().to_string());
        match (&program, command.first_mut()) {
            (Some(program), Some(first)) => first.clone_from(program),
            (Some(program), None) => {
                let place = snapshot.directory.display().to_string();
                command = [program, "-B", "-m", "tercel_worker", &place, &folder.id].map(str::to_owned).into();
                command.extend(ready.copies.iter().map(|copy| copy.join("integrations").display().to_string()));
            }
            (None, _) => {}
        }
        Spec {
            integration: folder.id.clone(),
            command,
            confines: self.confines(folder, code, snapshot, ready),
            hosts: code.permissions().hosts,
            root: folder.root.kind,
            sockets: self.0.config.data.join("run"),
            path: self.0.config.path.clone(),
            environment: ready.environment(),
            variables: ready.variables.clone(),
            times: manifest.map(|manifest| manifest.times).unwrap_or_default(),
        }
    }
}

impl Ready {
    pub fn place(&self, snapshot: &Snapshot, confines: Confines) -> Place {
        Place {
            directory: snapshot.directory.clone(),
            python: self.interpreter.as_ref().map(|interpreter| interpreter.program.clone()),
            environment: self.environment(),
            confines,
        }
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let Some(interpreter) = &self.interpreter else { return BTreeMap::new() };
        let variables = [
            ("PYTHONPATH", interpreter.source.display().to_string()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
            ("PYTHONUNBUFFERED", "1".into()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
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
    for (name, value) in ready.siblings.iter().chain(values) {
        add(name);
        add(value);
    }
    hex::encode(hash.finalize())
}
