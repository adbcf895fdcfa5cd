//! Looking at the folders, and loading what has changed.

use super::{
    State, network,
    places::places,
    services::Services,
    settle::{be_settled, drain, settle, tidy_soon},
    shipped::Shipping,
    watch,
};
use crate::{app::App, config::WorkspaceTrust};
use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tercel_agent::arguments::usable;
use tercel_hosts::{Folder, Found, Hosts, Loaded, Problem, RootKind, sandbox::Sandbox};
use tercel_store::NewNotice;
use tokio::task::JoinHandle;

/// How long the start waits for folders that are loaded for the first time. They come all the same.
pub const SHORT: Duration = Duration::from_secs(3);
/// How long a command waits for them, which can do nothing before.
pub const LONG: Duration = Duration::from_secs(30);

/// Finds and loads all folders, and from then on keeps up with them. Returns when the first look is over, and what could
/// be loaded in this time is.
pub async fn load(app: &Arc<App>, patience: Duration) -> Result<()> {
    app.folders.will_be_loaded();
    let opened = open(app).await;
    if opened.is_ok() {
        let loading = look(app).await;
        if tokio::time::timeout(patience, futures::future::join_all(loading)).await.is_err() {
            tracing::info!("Some folders are still being loaded");
        }
    }
    app.folders.is_behind.store(false, Ordering::Release);
    opened
}

async fn open(app: &Arc<App>) -> Result<()> {
    let begun = app.folders.shipping.lock().expect("no holder of this lock panics").take();
    let shipping = begun.unwrap_or_else(|| Shipping::begin(&app.config.data_dir));
    let config = places(&app.config, app, shipping.root.await??)?;
    if let Some(address) = app.folders.address.get() {
        network::open(app, *address).await;
    }
    let services = Services(Arc::downgrade(app));
    // This very program, also when its file is replaced.
    let sandbox = Sandbox::open("/proc/self/exe", &config.data);
    let hosts =
        Hosts::start(config, sandbox, Arc::new(services)).context("Folders of integrations cannot be loaded")?;
    hosts.knows(shipping.manifests.await.context("What ships with the program could not be read")?);
    let changes = hosts.changes();
    if let (Some(changes), true) = (changes, app.folders.hosts.set(hosts).is_ok()) {
        tokio::spawn(watch::keep_up(Arc::downgrade(app), changes, app.stopping.clone()));
    }
    Ok(())
}

/// Looks for folders that came, went or changed, and begins to load them; none waits for another. Answers what is
/// loading.
pub async fn look(app: &Arc<App>) -> Vec<JoinHandle<()>> {
    let Some(hosts) = app.folders.hosts.get().cloned() else { return Vec::new() };
    let one = app.folders.looking.lock().await;
    let found = match tokio::task::spawn_blocking(move || hosts.scan()).await {
        Ok(found) => without_taken(app, found),
        Err(error) => {
            tracing::error!("The folders could not be looked at: {error}");
            return Vec::new();
        }
    };
    let ids: BTreeSet<String> = found.folders.iter().map(|folder| folder.id.clone()).collect();
    let (news, is_other, gone) = app.folders.write(|state| {
        let is_news = |problem: &&(PathBuf, String)| !state.found.problems.contains(problem);
        let news: Vec<_> = found.problems.iter().filter(is_news).cloned().collect();
        let is_other = !state.is_scanned || found.folders != state.found.folders;
        state.found = found;
        state.is_scanned = true;
        let gone: Vec<String> = state.loaded.keys().filter(|id| !ids.contains(*id)).cloned().collect();
        (news, is_other, gone.iter().filter_map(|id| state.loaded.remove(id)).collect::<Vec<Loaded>>())
    });
    drop(one);
    for (path, words) in news {
        tracing::warn!("{}: {words}", path.display());
    }
    let is_wanted = |id: &String| app.config.only.as_ref().is_none_or(|only| only == id);
    let loading = ids.into_iter().filter(is_wanted).filter_map(|id| begin(app, id)).collect();
    // What is new is shown, be it loaded or not.
    if is_other {
        settle(app).await;
    }
    for loaded in gone {
        tracing::warn!(integration = loaded.folder.id, "The folder {} is gone", loaded.folder.path.display());
        drain(app, loaded);
    }
    loading
}

/// A workspace replaces nothing, not even what is gone: it would come into its settings.
fn without_taken(app: &App, mut found: Found) -> Found {
    let is_taken = |folder: &Folder| {
        let known = app.folders.said.known(&folder.id);
        folder.root.kind == RootKind::Workspace && known.is_some_and(|known| !known.workspace)
    };
    let (taken, left) = found.folders.into_iter().partition(is_taken);
    found.folders = left;
    found.problems.extend(Vec::into_iter(taken).map(|folder: Folder| {
        let id = &folder.id;
        let reason = format!(
            "There was an integration `{id}` that was no bot's: a workspace cannot replace it. \
             `tercel integrations remove {id}` forgets it"
        );
        (folder.path, reason)
    }));
    found
}

/// Loads a folder, unless somebody is about to: what they see is what there is by then.
pub fn begin(app: &Arc<App>, id: String) -> Option<JoinHandle<()>> {
    app.folders.awaited.lock().expect("no holder of this lock panics").insert(id.clone()).then(|| {
        let app = app.clone();
        let counted = Counted::begin(&app);
        tokio::spawn(async move {
            tokio::select! {
                () = app.stopping.cancelled() => {}
                () = loaded(&app, &id, counted) => {}
            }
        })
    })
}

/// One of those that are being loaded, until it is dropped.
struct Counted(Arc<App>);

impl Counted {
    fn begin(app: &Arc<App>) -> Self {
        app.folders.loading.send_modify(|count| *count += 1);
        Self(app.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.folders.loading.send_modify(|count| *count -= 1);
    }
}

/// Loads one folder again: it has changed, or something that decides about it.
pub async fn reload(app: &Arc<App>, id: &str) {
    loaded(app, id, Counted::begin(app)).await;
}

async fn loaded(app: &Arc<App>, id: &str, counted: Counted) {
    let Some(hosts) = app.folders.hosts.get().cloned() else { return };
    let mut replaced = None;
    {
        let turn = app.folders.turn(id);
        let _one = turn.lock().await;
        app.folders.awaited.lock().expect("no holder of this lock panics").remove(id);
        let find = |state: &State| state.found.folders.iter().find(|folder| folder.id == id).cloned();
        if let Some(folder) = app.folders.read(find) {
            replaced = load_one(app, &hosts, folder).await;
        }
    }
    // Before it is no longer waited for: whoever waits does it for all.
    app.folders.is_unsettled.store(true, Ordering::Release);
    drop(counted);
    be_settled(app).await;
    // Calls that come now are the new one's.
    if let Some(old) = replaced {
        drain(app, old);
    }
    tidy_soon(app);
}

/// Answers what is not to be used any more.
async fn load_one(app: &Arc<App>, hosts: &Hosts, folder: Folder) -> Option<Loaded> {
    let id = folder.id.clone();
    let said = app.folders.said.of(&id);
    let needs_approval = folder.root.kind == RootKind::Workspace && app.config.folders.trust == WorkspaceTrust::Approve;
    let last = app.folders.loaded(&id);
    let is_asked_for = app.config.only.as_ref() == Some(&id);
    let loaded = if app.folders.said.is_off(&folder) && !is_asked_for {
        None
    } else if needs_approval {
        approved(app, hosts, &folder, said.approved.as_deref(), last.as_ref()).await
    } else {
        Some(hosts.load(&folder, last.as_ref()).await)
    };
    let loaded = loaded.map(with_usable_tools);
    let replaced = app.folders.write(|state| match &loaded {
        // It may have gone meanwhile.
        Some(loaded) if !state.found.folders.contains(&folder) => Some(loaded.clone()),
        Some(loaded) => state.loaded.insert(id.clone(), loaded.clone()),
        None => state.loaded.remove(&id),
    });
    if let Some(loaded) = &loaded {
        tell(app, loaded, last.as_ref()).await;
    }
    let now = app.folders.loaded(&id);
    let is_same = |old: &Loaded| now.as_ref().is_some_and(|new| Arc::ptr_eq(&old.worker, &new.worker));
    replaced.filter(|old| !is_same(old))
}

/// Without the tools whose arguments cannot be checked. Model providers refuse them, and all others beside them.
fn with_usable_tools(mut loaded: Loaded) -> Loaded {
    let Loaded { integration, problems, .. } = &mut loaded;
    integration.tools.retain(|tool| match usable(&tool.parameters) {
        Ok(()) => true,
        Err(why) => {
            let message = format!("The tool `{}` is left out: its schema cannot be used: {why}", tool.name);
            problems.push(Problem::new("", message));
            false
        }
    });
    loaded
}

/// Nothing of a folder that a bot wrote runs unless exactly this state of it was approved.
async fn approved(
    app: &Arc<App>,
    hosts: &Hosts,
    folder: &Folder,
    approved: Option<&str>,
    last: Option<&Loaded>,
) -> Option<Loaded> {
    let hash = match hosts.hash(folder).await {
        Ok(hash) => hash,
        Err(error) => {
            tracing::warn!(integration = folder.id, "The folder cannot be read: {error:#}");
            return None;
        }
    };
    let waits = approved != Some(hash.as_str());
    app.folders.write(|state| {
        state.offered.insert(folder.id.clone(), hash.clone());
        if waits { state.waiting.insert(folder.id.clone()) } else { state.waiting.remove(&folder.id) }
    });
    if waits {
        let title = format!("`{}` waits for an approval", folder.id);
        let repair = format!("Look at {} and run `tercel integrations approve {}`", folder.path.display(), folder.id);
        app.raise(NewNotice {
            key: waiting(&folder.id),
            severity: "warning",
            title,
            detail: "A bot wrote this integration, or changed it. Nothing of it runs".into(),
            repair: Some(repair),
        })
        .await;
        return None;
    }
    app.close_notice(&waiting(&folder.id)).await;
    Some(hosts.load_state(folder, last, &hash).await)
}

fn waiting(id: &str) -> String {
    format!("folder/{id}/approval")
}

/// Says what is wrong with a folder, once for each state of it.
async fn tell(app: &App, loaded: &Loaded, last: Option<&Loaded>) {
    let id = &loaded.folder.id;
    let is_news = last.is_none_or(|last| last.hash != loaded.hash || last.problems != loaded.problems);
    for problem in loaded.problems.iter().filter(|_| is_news) {
        // Code may say what it was given.
        let problem = problem.to_string();
        tracing::warn!(integration = %id, "{}", app.catalog().redactor.text(&problem));
    }
    if last.is_some_and(|last| last.hash != loaded.hash) && !loaded.kept && loaded.problems.is_empty() {
        tracing::info!(integration = %id, "`{id}` runs as it was saved");
    }
    let allowed = app.folders.said.allowed(id);
    let open: Vec<&String> = loaded.undeclared.iter().filter(|name| !allowed.contains(name)).collect();
    for name in &open {
        app.raise(NewNotice {
            key: undeclared(id, name),
            severity: "warning",
            title: format!("`{id}` reads {name}, which it does not declare"),
            detail: "It is not given the value".into(),
            repair: Some(format!(
                "POST /api/v1/admin/integrations/{id}/variables/{name}/allow, or declare it in the folder"
            )),
        })
        .await;
    }
    for name in last.iter().flat_map(|last| &last.undeclared).filter(|name| !open.contains(name)) {
        app.close_notice(&undeclared(id, name)).await;
    }
}

pub fn undeclared(id: &str, name: &str) -> String {
    format!("folder/{id}/variable/{name}")
}
