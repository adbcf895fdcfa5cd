//! What is to run, and with what.

use crate::{
    Loaded, Place, Reach, RootKind, Server, Variable, launch::Launch, load::is_python, sandbox::Sandbox,
    worker::is_reserved,
};
use anyhow::Result;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use tercel_sdk::Process;

/// Its standard for one machine: without it Python takes text for ASCII.
const LANGUAGE: &str = "C.UTF-8";

/// The process of a folder, in one state of the folder.
#[derive(Clone)]
pub struct Spec {
    pub integration: String,
    pub process: Process,
    pub root: RootKind,
    /// Where the folder itself is, which a copy of runs.
    pub folder: PathBuf,
    /// Of that copy.
    pub hash: String,
    /// Hosts that it may reach, as far as its manifest names any.
    pub hosts: Vec<String>,
    pub variables: Vec<Variable>,
    pub place: Place,
    /// Where programs are found.
    pub path: String,
}

impl Spec {
    /// `None` for a folder that wants nothing to run.
    pub fn of(loaded: &Loaded, path: &str) -> Option<Self> {
        let process = loaded.integration.process.clone().filter(|process| !process.command.is_empty())?;
        if loaded.place.directory.as_os_str().is_empty() {
            return None;
        }
        // Its environment is being made, or cannot be: the folder says which.
        if lacks_python(&process, &loaded.place) && loaded.worker.state().reason.is_some() {
            return None;
        }
        let mut variables = loaded.variables.clone();
        for key in &process.required {
            if variables.iter().all(|variable| variable.key != *key) {
                variables.push(Variable { key: key.clone(), required: true, ..Variable::default() });
            }
        }
        Some(Self {
            integration: loaded.folder.id.clone(),
            process,
            root: loaded.folder.root.kind,
            folder: loaded.folder.path.clone(),
            hash: loaded.hash.clone(),
            hosts: loaded.permissions.hosts.clone(),
            variables,
            place: loaded.place.clone(),
            path: path.into(),
        })
    }

    /// Whether a process of the one is as good as one of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        let what = |spec: &Self| {
            (
                spec.process.clone(),
                spec.hash.clone(),
                spec.hosts.clone(),
                spec.place.directory.clone(),
                spec.place.python.clone(),
            )
        };
        what(self) == what(other)
    }

    /// Values of its variables, and which of those that it must have are not there.
    pub async fn values(&self, server: &dyn Server) -> (BTreeMap<String, String>, Vec<String>) {
        let mut values = server.values(&self.integration, self.variables.clone()).await;
        values.retain(|name, _| !is_reserved(name));
        let missing = missing(&self.process, &values);
        (values, missing)
    }

    /// Until the folder has been looked at with the values of now.
    pub fn lacks_python(&self) -> bool {
        lacks_python(&self.process, &self.place)
    }

    /// What is started: with its own settings and a key that acts as the folder, and nothing else of the server.
    pub fn launch(
        &self,
        sandbox: &Sandbox,
        server: &dyn Server,
        values: BTreeMap<String, String>,
        key: &SecretString,
    ) -> Result<Launch> {
        let reach = server.reach(&self.integration, self.root, &self.hosts);
        let policy = self.place.confines.policy(sandbox, &reach)?;
        let state = self.place.confines.state.display().to_string();
        let mut environment = values;
        let ours = [
            ("AGENT_SERVER_URL", server.url()),
            ("AGENT_API_KEY", key.expose_secret().to_owned()),
            ("INTEGRATION_STATE_DIR", state.clone()),
            ("PATH", self.path.clone()),
            ("TMPDIR", format!("{state}/tmp")),
            ("HOME", state),
            ("LANG", LANGUAGE.to_owned()),
            // What it prints is its log, and shall be there when it is printed.
            ("PYTHONUNBUFFERED", "1".to_owned()),
        ];
        environment.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        environment.extend(self.place.environment.clone());
        if let Reach::Through { environment: proxy, .. } = reach {
            environment.extend(proxy);
        }
        Ok(Launch { command: self.command(), directory: self.place.directory.clone(), environment, policy })
    }

    /// `python` as the first word is the folder's own.
    fn command(&self) -> Vec<String> {
        let mut command = self.process.command.clone();
        if let (Some(first), Some(python)) = (command.first_mut().filter(|word| is_python(word)), &self.place.python) {
            *first = python.display().to_string();
        }
        command
    }

    /// What it watches that lies outside of the folder: what lies in it is copied anew when it changes.
    pub fn watched(&self) -> Vec<PathBuf> {
        let project = self.folder.parent().and_then(Path::parent).unwrap_or(&self.folder);
        let own = format!("integrations/{}", self.integration);
        let is_inside = |path: &Path| path.starts_with(&own) || path.is_relative() && self.folder.join(path).exists();
        let outside = self.process.watch.iter().map(Path::new).filter(|path| !is_inside(path));
        outside.map(|path| project.join(path)).filter(|path| !path.starts_with(&self.folder)).collect()
    }
}

/// Variables that it must have and that have no value.
pub fn missing(process: &Process, values: &BTreeMap<String, String>) -> Vec<String> {
    let is_missing = |name: &&String| values.get(*name).is_none_or(|value| value.trim().is_empty());
    process.required.iter().filter(is_missing).cloned().collect()
}

fn lacks_python(process: &Process, place: &Place) -> bool {
    process.command.first().is_some_and(|word| is_python(word)) && place.python.is_none()
}
