//! From a folder to what runs of it.

mod code;
mod describe;
mod idle;
mod source;
mod start;

use crate::{
    Fixtures, Folder, Hosts, Loaded, Permissions, Place, Problem, Shape, Way, Worker,
    confine::Confines,
    held::Held,
    hosts::{lock, whole},
    integration::{documents, integration, without_code},
    manifest::{self, Manifest},
    snapshot::Snapshot,
};
pub use code::is_python;
use code::{Code, Readiness};
use describe::Answer;
use idle::{Idle, Why};
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
        let loading = self.0.loading.read().await;
        let snapshot = match self.copy(folder, previous).await {
            Ok(snapshot) => snapshot,
            Err(error) => return self.not_loaded(folder, last, Way::Python, None, vec![whole(&error)]),
        };
        let hold = |siblings| Copy { held: self.hold(&folder.id, &snapshot.hash, siblings), snapshot: &snapshot };
        if wanted.is_some_and(|wanted| wanted != snapshot.hash) {
            let problem = Problem::new("", "The folder was changed since it was looked at: look at it again");
            return self.not_loaded(folder, last, Way::Python, Some(&hold(BTreeMap::new())), vec![problem]);
        }
        let code = match Code::read(folder, &snapshot, &self.0.shipped) {
            Ok(code) => code,
            Err((way, problems)) => {
                return self.not_loaded(folder, last, way, Some(&hold(BTreeMap::new())), problems);
            }
        };
        let readiness = self.ready(folder, &code, &snapshot).await;
        let copy = hold(readiness.siblings());
        drop(loading);
        match readiness {
            Readiness::NoCode => self.only_documents(folder, &copy),
            Readiness::Not(why) => {
                let worker = Idle::new(why, self.log_of(&folder.id));
                let state = worker.state();
                let problem = Problem::new("", state.reason.unwrap_or_default());
                let mut loaded = self.not_loaded(folder, last, code.way, Some(&copy), vec![problem]);
                if !loaded.kept {
                    loaded.worker = Arc::new(worker);
                    if state.state == "preparing" {
                        loaded.problems = copy.snapshot.problems.clone();
                    }
                }
                loaded
            }
            Readiness::Ready(ready) => {
                if let Some(last) = last.filter(|last| last.key == ready.key && last.worker.state().state != "draining")
                {
                    return Loaded { kept: false, problems: last.own_problems(), ..last.clone() };
                }
                if code.way == Way::Manifest {
                    return self.manifested(folder, &code, &copy, *ready, last);
                }
                match self.describe(folder, &code, &copy, &ready, last).await {
                    Answer::Described(described) => self.loaded(folder, &code, &copy, *ready, *described, last),
                    Answer::Failed(problems) => self.not_loaded(folder, last, code.way, Some(&copy), problems),
                }
            }
        }
    }

    fn loaded(
        &self,
        folder: &Folder,
        code: &Code,
        copy: &Copy,
        ready: code::Ready,
        described: describe::Described,
        last: Option<&Loaded>,
    ) -> Loaded {
        let snapshot = copy.snapshot;
        let describe::Described { description, worker } = described;
        let (mut made, unusable) = integration(&folder.id, &description, &snapshot.code, &worker, &code.extra());
        if let Some(manifest) = &code.manifest {
            manifest.parts.put_into(&mut made);
        }
        let mut problems = description.problems.clone();
        problems.extend(unusable);
        problems.dedup();
        if !problems.is_empty() && last.is_some_and(Loaded::is_good) {
            return self.not_loaded(folder, last, code.way, Some(copy), problems);
        }
        problems.extend(snapshot.problems.iter().cloned());
        let mut permissions = code.permissions();
        if permissions.api.is_empty() {
            permissions.api = description.api_permissions.clone();
        }
        let worker: Arc<dyn Worker> = Arc::new(worker);
        self.remember(&worker);
        let undeclared = description.undeclared;
        Loaded { undeclared, permissions, ..self.whole(folder, code, copy, ready, made, problems, worker) }
    }

    /// A folder that needs no code.
    fn manifested(
        &self,
        folder: &Folder,
        code: &Code,
        copy: &Copy,
        mut ready: code::Ready,
        last: Option<&Loaded>,
    ) -> Loaded {
        let Some(manifest) = &code.manifest else { return self.only_documents(folder, copy) };
        let (made, mut problems) = of_manifest(&folder.id, manifest, &copy.snapshot.code);
        if !problems.is_empty() && last.is_some_and(Loaded::is_good) {
            return self.not_loaded(folder, last, code.way, Some(copy), problems);
        }
        problems.extend(copy.snapshot.problems.iter().cloned());
        let why = ready.lacks.take().unwrap_or(Why::Nothing);
        let worker = Arc::new(Idle::new(why, self.log_of(&folder.id)));
        self.whole(folder, code, copy, ready, made, problems, worker)
    }

    #[expect(clippy::too_many_arguments, reason = "it is a value with as many parts")]
    fn whole(
        &self,
        folder: &Folder,
        code: &Code,
        copy: &Copy,
        ready: code::Ready,
        integration: Integration,
        problems: Vec<Problem>,
        worker: Arc<dyn Worker>,
    ) -> Loaded {
        Loaded {
            folder: folder.clone(),
            way: code.way,
            hash: copy.snapshot.hash.clone(),
            integration,
            problems,
            kept: false,
            variables: ready.variables.clone(),
            undeclared: Vec::new(),
            permissions: code.permissions(),
            worker,
            place: ready.place(code, copy.snapshot, self.confines(folder, code, copy, &ready)),
            imports: ready.imports,
            siblings: ready.siblings,
            key: ready.key,
        }
    }

    /// A folder without any code.
    fn only_documents(&self, folder: &Folder, copy: &Copy) -> Loaded {
        let (made, mut problems) = documents(&folder.id, &copy.snapshot.code);
        problems.extend(copy.snapshot.problems.iter().cloned());
        self.bare(folder, Way::Python, Some(copy), made, problems, Why::Nothing)
    }

    /// The last good version, or what there is without running anything.
    fn not_loaded(
        &self,
        folder: &Folder,
        last: Option<&Loaded>,
        way: Way,
        copy: Option<&Copy>,
        problems: Vec<Problem>,
    ) -> Loaded {
        if let Some(last) = last.filter(|last| last.is_good()) {
            return Loaded { kept: true, problems, ..last.clone() };
        }
        let made = match copy {
            Some(copy) => documents(&folder.id, &copy.snapshot.code).0,
            None => Integration::new(&folder.id),
        };
        let why = Why::Failing(problems.first().map(ToString::to_string));
        self.bare(folder, way, copy, made, problems, why)
    }

    fn bare(
        &self,
        folder: &Folder,
        way: Way,
        copy: Option<&Copy>,
        integration: Integration,
        problems: Vec<Problem>,
        why: Why,
    ) -> Loaded {
        let held = copy.map(|copy| copy.held.clone());
        Loaded {
            folder: folder.clone(),
            way,
            hash: copy.map(|copy| copy.snapshot.hash.clone()).unwrap_or_default(),
            integration,
            problems,
            kept: false,
            variables: Vec::new(),
            undeclared: Vec::new(),
            imports: Vec::new(),
            permissions: Permissions::default(),
            worker: Arc::new(Idle::new(why, self.log_of(&folder.id))),
            place: Place {
                directory: copy.map(|copy| copy.snapshot.directory.clone()).unwrap_or_default(),
                confines: Confines { held, ..Confines::default() },
                ..Place::default()
            },
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

/// A snapshot that is not removed as long as this is there.
struct Copy<'s> {
    snapshot: &'s Snapshot,
    held: Arc<Held>,
}

pub(crate) fn of_manifest(id: &str, manifest: &Manifest, code: &Path) -> (Integration, Vec<Problem>) {
    let (mut made, mut problems) = without_code(id, &manifest.description, code);
    manifest.parts.put_into(&mut made);
    let fixtures = Fixtures::read(code);
    (made.samples, made.exchanges) = (fixtures.samples, fixtures.exchanges);
    problems.extend(fixtures.problems);
    (made, problems)
}

/// The integration of a folder that is a manifest and has no code; `None` for every other folder.
///
/// # Errors
/// What is wrong with it.
pub fn manifested(folder: &Folder) -> Option<Result<Integration, Vec<Problem>>> {
    if folder.shape != Shape::Manifest {
        return None;
    }
    let manifest = manifest::read(&folder.id, &folder.path, false)?;
    Some(manifest.and_then(|manifest| match of_manifest(&folder.id, &manifest, &folder.path) {
        (made, problems) if problems.is_empty() => Ok(made),
        (_, problems) => Err(problems),
    }))
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
pub fn has_python(code: &Path) -> bool {
    let in_directory = |directory: &Path| {
        let Ok(entries) = std::fs::read_dir(directory) else { return false };
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|ending| ending == "py"))
    };
    in_directory(code) || in_directory(&code.join("tools"))
}
