//! What Python code runs in: an interpreter, our package, and an environment with the packages that a folder asks for.
//!
//! Environments are made in the background and kept below `<data>/envs`, one for each set of requirements.

mod clean;
mod in_use;
mod install;
mod lock;
mod package;
mod python;
mod requirements;
mod uv;

use crate::{Ring, sandbox::Sandbox};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, broadcast};

use in_use::InUse;
use package::Base;
pub(crate) use package::unpacked;
pub use requirements::Requirements;

/// What code of a folder runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub program: PathBuf,
    /// The directory of our package, for `PYTHONPATH`.
    pub source: PathBuf,
    /// Says which package of ours, which Python and which packages these are.
    pub identity: String,
    pub version: (u32, u32, u32),
    /// What a process that runs it must be able to read.
    pub readable: Vec<PathBuf>,
    /// Whether users of integrations can run it; if not, they keep the server's user.
    pub for_users: bool,
    /// Its packages, which stay as long as this does.
    in_use: Option<Arc<InUse>>,
}

pub enum State {
    Ready(Interpreter),
    Making(Progress),
    /// Why there is none, and what would help.
    Failed(String),
}

/// How far an environment is, at any time.
#[derive(Clone, Default)]
pub struct Progress(Ring);

impl Progress {
    pub fn words(&self) -> String {
        let last = self.0.last().unwrap_or_else(|| "waiting for its turn".into());
        format!("Its Python environment is made: {last}")
    }
}

/// What making an environment needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `<data>/envs`.
    pub directory: PathBuf,
    pub path: String,
    /// What that names of files: certificates.
    pub readable: Vec<PathBuf>,
    /// Further environment of what installs: proxies, certificates, indexes.
    pub environment: BTreeMap<String, String>,
}

#[derive(Clone)]
pub struct Environments(Arc<Inner>);

struct Inner {
    settings: Settings,
    sandbox: Arc<Sandbox>,
    jobs: Mutex<BTreeMap<String, Job>>,
    /// Keys of environments that are ready or have failed.
    ended: broadcast::Sender<String>,
    base: Base,
    /// Where our package is unpacked, and its hash; known from the first use on.
    package: OnceLock<(PathBuf, String)>,
    python: tokio::sync::Mutex<()>,
    uv: tokio::sync::Mutex<()>,
    turns: Semaphore,
    /// By key: one for all that run with it.
    in_use: Mutex<BTreeMap<String, Weak<InUse>>>,
}

struct Job {
    progress: Progress,
    failed: Option<Failed>,
    failures: u32,
}

struct Failed {
    reason: String,
    at: Instant,
}

/// After a failure it is tried again when so long has passed, and each time later.
const REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// Environments that are made at once: each uses the machine fully, and one that takes long holds up no other.
const AT_ONCE: usize = 2;

impl Environments {
    pub fn new(settings: Settings, sandbox: Arc<Sandbox>) -> Self {
        let (ended, _) = broadcast::channel(64);
        let (jobs, python, uv, in_use) = Default::default();
        let (base, package, turns) = (package::requirements(), OnceLock::new(), Semaphore::new(AT_ONCE));
        Self(Arc::new(Inner { settings, sandbox, jobs, ended, base, package, python, uv, turns, in_use }))
    }

    /// Whoever waits for an environment hears here that it is looked at best now.
    pub fn ended(&self) -> broadcast::Receiver<String> {
        self.0.ended.subscribe()
    }

    /// The Python of this machine and our package, without any other.
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn bare(&self) -> Result<Interpreter, String> {
        let python = self.python().await?;
        let (source, hash) =
            self.package().map_err(|error| format!("The Python package cannot be unpacked: {error}"))?;
        let (major, minor, patch) = python.version;
        let mut readable = python.prefixes;
        readable.push(source.clone());
        Ok(Interpreter {
            program: python.program,
            source,
            identity: format!("{hash} {major}.{minor}.{patch}"),
            version: python.version,
            readable,
            for_users: python.for_users,
            in_use: None,
        })
    }

    /// The environment for these requirements, and its key.
    pub async fn of(&self, wanted: &Requirements) -> (String, State) {
        let bare = match self.bare().await {
            Ok(bare) => bare,
            Err(reason) => return (String::new(), State::Failed(reason)),
        };
        let key = wanted.key(&self.0.base, &bare);
        let directory = self.0.settings.directory.join(&key);
        if let (Some(in_use), Some(program)) = (self.take(&key, &directory), install::finished(&directory)) {
            let identity = format!("{} {key} {}", bare.identity, in_use.packages);
            let mut ready = Interpreter { program, identity, in_use: Some(in_use), ..bare };
            ready.readable.push(directory);
            return (key, State::Ready(ready));
        }
        let state = self.making(&key, wanted, &bare);
        (key, state)
    }

    fn take(&self, key: &str, directory: &Path) -> Option<Arc<InUse>> {
        let mut all = self.0.in_use.lock().expect("nothing panics while it holds those in use");
        if let Some(known) = all.get(key).and_then(Weak::upgrade) {
            return Some(known);
        }
        let taken = InUse::take(directory)?;
        all.retain(|_, one| one.strong_count() > 0);
        all.insert(key.to_owned(), Arc::downgrade(&taken));
        Some(taken)
    }

    fn package(&self) -> io::Result<(PathBuf, String)> {
        if let Some(known) = self.0.package.get() {
            return Ok(known.clone());
        }
        let unpacked = package::unpacked(&self.0.settings.directory)?;
        Ok(self.0.package.get_or_init(|| unpacked).clone())
    }

    fn making(&self, key: &str, wanted: &Requirements, bare: &Interpreter) -> State {
        let mut jobs = self.jobs();
        let known = jobs.get(key).map(|job| (job.failures, job.failed.as_ref()));
        match known {
            Some((_, None)) => return State::Making(jobs[key].progress.clone()),
            Some((failures, Some(failed))) if failed.at.elapsed() < rest(failures) => {
                return State::Failed(failed.reason.clone());
            }
            _ => {}
        }
        let failures = known.map_or(0, |(failures, _)| failures);
        let progress = Progress::default();
        jobs.insert(key.to_owned(), Job { progress: progress.clone(), failed: None, failures });
        let (environments, key, wanted, bare) = (self.clone(), key.to_owned(), wanted.clone(), bare.clone());
        let Progress(told) = progress.clone();
        tokio::spawn(async move {
            let made = install::install(&environments, &key, &wanted, &bare, &told).await;
            environments.has_ended(&key, made).await;
        });
        State::Making(progress)
    }

    async fn has_ended(&self, key: &str, made: Result<(), String>) {
        let again = match made {
            Ok(()) => {
                self.jobs().remove(key);
                None
            }
            Err(reason) => {
                tracing::warn!("A Python environment could not be made: {reason}");
                let mut jobs = self.jobs();
                let job = jobs.entry(key.to_owned());
                let job = job.or_insert_with(|| Job { progress: Progress::default(), failed: None, failures: 0 });
                job.failures += 1;
                job.failed = Some(Failed { reason, at: Instant::now() });
                Some(rest(job.failures))
            }
        };
        // Nobody may wait for it any more.
        let _ = self.0.ended.send(key.to_owned());
        if let Some(rest) = again {
            tokio::time::sleep(rest).await;
            let _ = self.0.ended.send(key.to_owned());
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.0.jobs.lock().expect("nothing panics while it holds the jobs")
    }
}

fn rest(failures: u32) -> Duration {
    REST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_it_is_tried_again_ever_more_seldom() {
        let rests: Vec<u64> = (1..=9).map(|failures| rest(failures).as_secs()).collect();
        assert_eq!(rests, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(rest(u32::MAX), LONGEST_REST);
    }
}
