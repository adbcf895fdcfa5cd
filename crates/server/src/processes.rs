//! Programs that integrations want to have running: which of them may run now, and who is told when one does not stay.

use crate::app::App;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tercel_hosts::process::{Kept, Phase, ProcessState, Spec};
use tercel_store::{NewNotice, Result, Store};
use tokio::sync::watch;

/// Where those are kept that are not started by themselves.
const SETTING: &str = "processes.manual";
const NOT_BEGUN: &str = "No process is started yet: the server has just begun, or is held (`tercel resume`)";
/// What has run for so long is well again.
const WELL: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Processes {
    /// A command that looks at folders starts nothing.
    has_begun: AtomicBool,
    kept: Mutex<BTreeMap<String, One>>,
    /// Not started by themselves.
    manual: RwLock<BTreeSet<String>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct One {
    kept: Arc<Kept>,
    /// What a person said since the server started.
    said: Option<Said>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Start,
    Stop,
}

impl Processes {
    pub async fn load(store: &Store) -> Result<Self> {
        let manual = match store.server_setting(SETTING).await? {
            Some(names) => serde_json::from_str(&names)?,
            None => BTreeSet::new(),
        };
        Ok(Self { manual: RwLock::new(manual), ..Self::default() })
    }

    pub fn get(&self, integration: &str) -> Option<Arc<Kept>> {
        self.lock().get(integration).map(|one| one.kept.clone())
    }

    /// How it is; blank for one that nobody keeps.
    pub fn state(&self, integration: &str) -> ProcessState {
        let kept = self.get(integration).map(|kept| kept.state());
        kept.unwrap_or_else(|| match self.has_begun.load(Ordering::Acquire) {
            true => ProcessState::default(),
            false => ProcessState { reason: Some(NOT_BEGUN.into()), ..ProcessState::default() },
        })
    }

    /// The same in one word.
    pub fn status(&self, integration: &str) -> String {
        let phase = serde_json::to_value(self.state(integration).phase).unwrap_or_default();
        phase.as_str().unwrap_or_default().to_owned()
    }

    pub fn starts_by_itself(&self, integration: &str) -> bool {
        !self.manual.read().unwrap_or_else(PoisonError::into_inner).contains(integration)
    }

    /// Stops all of them, for the end of the server.
    pub async fn end(&self) {
        let all: Vec<One> = std::mem::take(&mut *self.lock()).into_values().collect();
        futures::future::join_all(all.iter().map(|one| one.kept.end())).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, One>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Processes run from now on; on a server that is held, once it goes on.
pub async fn begin(app: Arc<App>) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    app.processes.has_begun.store(true, Ordering::Release);
    settle(&app);
}

/// Looks which processes there are, and which may run. What runs already and is the same goes on.
pub fn settle(app: &Arc<App>) {
    if !app.processes.has_begun.load(Ordering::Acquire) || app.stopping.is_cancelled() {
        return;
    }
    let wanted = wanted(app);
    let mut all = app.processes.lock();
    let gone: Vec<String> = all.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
    for one in gone.iter().filter_map(|id| all.remove(id)) {
        app.work.spawn(async move { one.kept.end().await });
    }
    for (id, spec) in wanted {
        let one = match all.get(&id) {
            Some(one) => one.clone(),
            None => {
                let Some(kept) = app.folders.process() else { return };
                let one = One { kept: Arc::new(kept), said: None };
                tokio::spawn(tell(Arc::downgrade(app), id.clone(), one.kept.states()));
                all.insert(id.clone(), one.clone());
                one
            }
        };
        let why_not = why_not(app, &id, one.said).or_else(|| spec.is_none().then(|| not_ready(app, &id)));
        one.kept.set(spec, why_not);
    }
}

/// By integration. Of one that is there and may do nothing there is nothing to run.
fn wanted(app: &App) -> BTreeMap<String, Option<Spec>> {
    let mut wanted = BTreeMap::new();
    for (id, entry) in &app.catalog().integrations {
        if entry.listed.abilities.process {
            let spec = app.folders.loaded(id).and_then(|loaded| Spec::of(&loaded, &app.config.folders.path));
            wanted.insert(id.clone(), spec);
        }
    }
    wanted
}

/// Why it shall not run now, for the person who wonders.
fn why_not(app: &App, id: &str, said: Option<Said>) -> Option<String> {
    let catalog = app.catalog();
    let obstacle = catalog.integrations.get(id).and_then(|entry| entry.listed.obstacle());
    if app.ceilings.paused.has(id) {
        return Some(format!("`{id}` is paused"));
    }
    obstacle.or(match said {
        Some(Said::Start) => None,
        Some(Said::Stop) => {
            Some("It was stopped; it is started again when somebody says so, or with the server".into())
        }
        None if app.processes.starts_by_itself(id) => None,
        None => Some("It is not started by itself".into()),
    })
}

fn not_ready(app: &App, id: &str) -> String {
    let reason = app.folders.loaded(id).and_then(|loaded| loaded.worker.state().reason);
    reason.unwrap_or_else(|| "Its folder is not ready".into())
}

/// What a person says holds until the server starts again.
pub fn say(app: &Arc<App>, id: &str, said: Said) {
    if let Some(one) = app.processes.lock().get_mut(id) {
        one.said = Some(said);
    }
    settle(app);
}

/// Says whether a process is started by itself, from now on and after a restart of the server.
pub async fn start_by_itself(app: &Arc<App>, id: &str, starts: bool) -> Result<()> {
    let _one = app.processes.changing.lock().await;
    let mut names = app.processes.manual.read().unwrap_or_else(PoisonError::into_inner).clone();
    if starts {
        names.remove(id)
    } else {
        names.insert(id.to_owned())
    };
    app.store.put_server_setting(SETTING, Some(serde_json::to_string(&names)?)).await?;
    *app.processes.manual.write().unwrap_or_else(PoisonError::into_inner) = names;
    settle(app);
    Ok(())
}

/// Raises a notice when a process does not stay, and closes it when it does.
async fn tell(app: std::sync::Weak<App>, id: String, mut states: watch::Receiver<ProcessState>) {
    let mut is_told = true;
    loop {
        let state = states.borrow_and_update().clone();
        let Some(app) = app.upgrade() else { return };
        match state.phase {
            Phase::Failing if state.pid.is_none() => {
                is_told = true;
                app.raise(failing(&app, &id, &state)).await;
            }
            Phase::Running if is_told => {
                let stays = tokio::select! {
                    () = tokio::time::sleep(WELL) => true,
                    changed = states.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        false
                    }
                };
                if stays {
                    is_told = false;
                    app.close_notice(&notice(&id)).await;
                }
                continue;
            }
            _ => {}
        }
        drop(app);
        if states.changed().await.is_err() {
            return;
        }
    }
}

pub fn notice(id: &str) -> String {
    format!("process:{id}")
}

fn failing(app: &App, id: &str, state: &ProcessState) -> NewNotice {
    let last = app.processes.get(id).map(|kept| kept.log()).unwrap_or_default();
    // The line before the last says how it ended.
    let last = last.iter().rev().map(|line| line.text.trim()).find(|text| !text.is_empty() && !text.starts_with('—'));
    let said = last.map(|text| format!(". The last it said: {text}")).unwrap_or_default();
    let why = state.reason.clone().unwrap_or_else(|| "It ended".into());
    NewNotice {
        key: notice(id),
        severity: "error",
        title: format!("The process of `{id}` does not stay"),
        detail: app.catalog().redactor.text(&format!("{why}{said}")).into_owned(),
        repair: Some(format!(
            "`tercel integrations process {id} logs` shows what it said; a change of the folder or its settings, or \
             `… restart`, starts it again"
        )),
    }
}
