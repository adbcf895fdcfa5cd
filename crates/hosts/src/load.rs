//! From a folder to what runs of it.

mod code;
mod describe;
mod idle;
mod source;
mod start;

use crate::{
    Folder, Hosts, Loaded, Permissions, Place, Problem, Way, Worker,
    hosts::{lock, whole},
    integration::{documents, integration},
    snapshot::{self, Snapshot},
};
use code::{Code, Readiness};
use describe::Answer;
use idle::Idle;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tercel_sdk::Integration;

impl Hosts {
    /// Loads a folder. The first time, what loads, loads; afterwards a failure leaves `last` as it is, with the new
    /// problems. A state that is the same, with the same settings, keeps its worker.
    pub async fn load(&self, folder: &Folder, last: Option<&Loaded>) -> Loaded {
        self.load_checked(folder, last, None).await
    }

    /// The same, unless the folder is in another state by now: then nothing of it runs.
    pub async fn load_state(&self, folder: &Folder, last: Option<&Loaded>, hash: &str) -> Loaded {
        self.load_checked(folder, last, Some(hash)).await
    }

    async fn load_checked(&self, folder: &Folder, last: Option<&Loaded>, wanted: Option<&str>) -> Loaded {
        let last = last.filter(|last| last.folder.id == folder.id);
        let previous = last.map(|last| last.hash.clone()).filter(|hash| !hash.is_empty());
        let (folders, copied) = (self.folders_dir(), folder.clone());
        let taken = tokio::task::spawn_blocking(move || snapshot::take(&folders, &copied, previous.as_deref())).await;
        let snapshot = match taken.map_err(anyhow::Error::from).and_then(|taken| taken) {
            Ok(snapshot) => snapshot,
            Err(error) => return self.not_loaded(folder, last, Way::Python, None, vec![whole(&error)]),
        };
        if wanted.is_some_and(|wanted| wanted != snapshot.hash) {
            let problem = Problem::new("", "The folder was changed since it was looked at: look at it again");
            return self.not_loaded(folder, last, Way::Python, Some(&snapshot), vec![problem]);
        }
        let code = match Code::read(folder, &snapshot) {
            Ok(code) => code,
            Err((way, problems)) => return self.not_loaded(folder, last, way, Some(&snapshot), problems),
        };
        match self.ready(folder, &code, &snapshot).await {
            Readiness::NoCode => self.only_documents(folder, &snapshot),
            Readiness::Not(state, reason) => {
                let problem = Problem::new("", reason.clone());
                let mut loaded = self.not_loaded(folder, last, code.way, Some(&snapshot), vec![problem]);
                if !loaded.kept {
                    loaded.worker = Arc::new(Idle::new(state, Some(reason), self.log_of(&folder.id)));
                    if state == idle::PREPARING {
                        loaded.problems = snapshot.problems;
                    }
                }
                loaded
            }
            Readiness::Ready(ready) => {
                if let Some(last) = last.filter(|last| last.key == ready.key && last.worker.state().state != "draining")
                {
                    return Loaded { kept: false, problems: last.own_problems(), ..last.clone() };
                }
                match self.describe(folder, &code, &snapshot, &ready, last).await {
                    Answer::Described(described) => self.loaded(folder, &code, &snapshot, *ready, *described, last),
                    Answer::Failed(problems) => {
                        let mut loaded = self.not_loaded(folder, last, code.way, Some(&snapshot), problems);
                        if !loaded.kept {
                            let reason = loaded.problems.first().map(ToString::to_string);
                            loaded.worker = Arc::new(Idle::new("failing", reason, self.log_of(&folder.id)));
                        }
                        loaded
                    }
                }
            }
        }
    }

    fn loaded(
        &self,
        folder: &Folder,
        code: &Code,
        snapshot: &Snapshot,
        ready: code::Ready,
        described: describe::Described,
        last: Option<&Loaded>,
    ) -> Loaded {
        let describe::Described { description, worker } = described;
        let (made, unusable) = integration(&folder.id, &description, &snapshot.code, &worker, &code.extra());
        let mut problems = description.problems.clone();
        problems.extend(unusable);
        problems.dedup();
        if !problems.is_empty() && last.is_some_and(Loaded::is_good) {
            return self.not_loaded(folder, last, code.way, Some(snapshot), problems);
        }
        problems.extend(snapshot.problems.iter().cloned());
        let mut permissions = code.permissions();
        if permissions.api.is_empty() {
            permissions.api = description.api_permissions.clone();
        }
        let worker: Arc<dyn Worker> = Arc::new(worker);
        self.remember(&worker);
        Loaded {
            folder: folder.clone(),
            way: code.way,
            hash: snapshot.hash.clone(),
            integration: made,
            problems,
            kept: false,
            variables: ready.variables.clone(),
            undeclared: description.undeclared.clone(),
            permissions,
            worker,
            place: ready.place(snapshot, self.confines(folder, code, snapshot, &ready)),
            imports: ready.imports,
            siblings: ready.siblings,
            key: ready.key,
        }
    }

    /// A folder without any code.
    fn only_documents(&self, folder: &Folder, snapshot: &Snapshot) -> Loaded {
        let (made, mut problems) = documents(&folder.id, &snapshot.code);
        problems.extend(snapshot.problems.iter().cloned());
        let worker = Arc::new(Idle::new("stopped", None, self.log_of(&folder.id)));
        self.bare(folder, Way::Python, snapshot, made, problems, worker)
    }

    /// The last good version, or what there is without running anything.
    fn not_loaded(
        &self,
        folder: &Folder,
        last: Option<&Loaded>,
        way: Way,
        snapshot: Option<&Snapshot>,
        problems: Vec<Problem>,
    ) -> Loaded {
        if let Some(last) = last.filter(|last| last.is_good()) {
            return Loaded { kept: true, problems, ..last.clone() };
        }
        let none = Snapshot::default();
        let snapshot = snapshot.unwrap_or(&none);
        let (made, _) = documents(&folder.id, &snapshot.code);
        let reason = problems.first().map(ToString::to_string);
        let worker = Arc::new(Idle::new("failing", reason, self.log_of(&folder.id)));
        self.bare(folder, way, snapshot, made, problems, worker)
    }

    fn bare(
        &self,
        folder: &Folder,
        way: Way,
        snapshot: &Snapshot,
        integration: Integration,
        problems: Vec<Problem>,
        worker: Arc<Idle>,
    ) -> Loaded {
        Loaded {
            folder: folder.clone(),
            way,
            hash: snapshot.hash.clone(),
            integration,
            problems,
            kept: false,
            variables: Vec::new(),
            undeclared: Vec::new(),
            imports: Vec::new(),
            permissions: Permissions::default(),
            worker,
            place: Place { directory: snapshot.directory.clone(), ..Place::default() },
            siblings: BTreeMap::new(),
            key: String::new(),
        }
    }

    /// For when the server stops.
    fn remember(&self, worker: &Arc<dyn Worker>) {
        let mut running = lock(&self.0.running);
        running.retain(|worker| worker.strong_count() > 0);
        running.push(Arc::downgrade(worker));
    }

    pub(crate) fn state_dir(&self, id: &str) -> std::path::PathBuf {
        self.0.config.data.join("state").join(id)
    }
}

impl Loaded {
    /// Something runs that a failure must not replace.
    fn is_good(&self) -> bool {
        !self.key.is_empty() && (self.kept || self.problems.iter().all(is_warning))
    }

    /// Without those of a newer state that was not taken.
    fn own_problems(&self) -> Vec<Problem> {
        if self.kept { Vec::new() } else { self.problems.clone() }
    }
}

/// What was left out of the copy hinders nothing.
fn is_warning(problem: &Problem) -> bool {
    problem.message.ends_with("left out")
}

/// Whether there is anything that Python would run.
fn has_python(code: &Path) -> bool {
    let in_directory = |directory: &Path| {
        let Ok(entries) = std::fs::read_dir(directory) else { return false };
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|ending| ending == "py"))
    };
    in_directory(code) || in_directory(&code.join("tools"))
}
