//! Looking at the folders, and loading what has changed.

use super::{network, services::Services, shipped, standing, watch};
use crate::{
    app::App,
    config::{Config, WorkspaceTrust},
    outbox, processes,
};
use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tercel_hosts::{Folder, Hosts, Loaded, Root, RootKind, sandbox::Sandbox};
use tercel_store::NewNotice;

/// Folders that are loaded at once: each may start an interpreter to be described.
const AT_ONCE: usize = 4;
/// How long the start waits for folders that are loaded for the first time. They come all the same.
const PATIENCE: Duration = Duration::from_secs(30);

/// Finds and loads all folders, and from then on keeps up with them. Returns when the first look is over.
pub async fn load(app: &Arc<App>) -> Result<()> {
    app.folders.will_be_loaded();
    let opened = open(app).await;
    if opened.is_ok() {
        let look = tokio::spawn({
            let app = app.clone();
            async move { look(&app).await }
        });
        if tokio::time::timeout(PATIENCE, look).await.is_err() {
            tracing::info!("Some folders are still being loaded");
        }
    }
    app.folders.is_behind.store(false, Ordering::Release);
    opened
}

async fn open(app: &Arc<App>) -> Result<()> {
    let config = places(&app.config, app)?;
    if let Some(address) = app.folders.address.get() {
        network::open(app, *address).await;
    }
    let services = Services(Arc::downgrade(app));
    // This very program, also when its file is replaced.
    let sandbox = Sandbox::open("/proc/self/exe", &config.data);
    let hosts =
        Hosts::start(config, sandbox, Arc::new(services)).context("Folders of integrations cannot be loaded")?;
    let changes = hosts.changes();
    if let (Some(changes), true) = (changes, app.folders.hosts.set(hosts).is_ok()) {
        tokio::spawn(watch::keep_up(Arc::downgrade(app), changes, app.stopping.clone()));
    }
    Ok(())
}

/// Where to look, in order: a later root replaces an id whole, but for the workspace.
fn places(config: &Config, app: &App) -> Result<tercel_hosts::Config> {
    let folders = &config.folders;
    if config.rehearse {
        return only(config);
    }
    let root = |path: PathBuf, kind| Root { path: std::path::absolute(&path).unwrap_or(path), kind };
    // Programs that are started elsewhere get these paths, too.
    let data = std::path::absolute(&config.data_dir)?;
    let operator = [PathBuf::from("integrations"), data.join("integrations")];
    // Those that nobody named need not be there.
    let operator = operator.into_iter().filter(|path| path.is_dir()).chain(folders.directories.iter().cloned());
    let mut roots = vec![shipped::root(&config.data_dir)?];
    roots.extend(operator.map(|path| root(path, RootKind::Operator)));
    let workspace = folders.workspace.join("integrations");
    if workspace.is_dir() {
        roots.push(root(workspace, RootKind::Workspace));
    }
    let scripts = ["."].map(PathBuf::from).into_iter().chain(roots.iter().map(|root| root.path.clone()));
    let connector_dirs = scripts.map(|path| path.join("scripts/integrations")).collect();
    let tools = Some(PathBuf::from("tools")).filter(|path| path.is_dir());
    Ok(tercel_hosts::Config {
        data,
        tool_dirs: folders.tools.iter().cloned().chain(tools).collect(),
        connector_dirs,
        roots,
        path: folders.path.clone(),
        installing: config.installing(),
        native: app.folders.natives.iter().map(|native| (native.name.clone(), native.version.clone())).collect(),
    })
}

/// The folder that is rehearsed, and no other.
fn only(config: &Config) -> Result<tercel_hosts::Config> {
    let directories = config.folders.directories.iter().cloned();
    Ok(tercel_hosts::Config {
        data: std::path::absolute(&config.data_dir)?,
        roots: directories.map(|path| Root { path, kind: RootKind::Operator }).collect(),
        tool_dirs: Vec::new(),
        connector_dirs: Vec::new(),
        path: config.folders.path.clone(),
        installing: config.installing(),
        native: BTreeMap::new(),
    })
}

/// Looks for folders that came, went or changed, and loads them.
pub async fn look(app: &Arc<App>) {
    let Some(hosts) = app.folders.hosts.get().cloned() else { return };
    let _one = app.folders.looking.lock().await;
    let scan = hosts.clone();
    let found = match tokio::task::spawn_blocking(move || scan.scan()).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!("The folders could not be looked at: {error}");
            return;
        }
    };
    for (path, words) in &found.problems {
        tracing::warn!("{}: {words}", path.display());
    }
    let folders = found.folders.clone();
    let ids: BTreeSet<&String> = folders.iter().map(|folder| &folder.id).collect();
    let gone: Vec<Loaded> = app.folders.write(|state| {
        state.found = found.clone();
        let gone: Vec<String> = state.loaded.keys().filter(|id| !ids.contains(id)).cloned().collect();
        gone.iter().filter_map(|id| state.loaded.remove(id)).collect()
    });
    for loaded in gone {
        tracing::warn!(integration = loaded.folder.id, "The folder {} is gone", loaded.folder.path.display());
        drain(app, loaded);
    }
    stream::iter(folders)
        .for_each_concurrent(AT_ONCE, |folder| {
            let (app, hosts) = (app.clone(), hosts.clone());
            async move { load_one(&app, &hosts, folder).await }
        })
        .await;
    settle(app).await;
    let loaded: Vec<Loaded> = app.folders.read(|state| state.loaded.values().cloned().collect());
    if let Err(error) = hosts.clean(&loaded.iter().collect::<Vec<_>>()) {
        tracing::warn!("Copies of folders that nobody runs could not be removed: {error:#}");
    }
}

/// Loads one folder again: it has changed, or something that decides about it.
pub async fn reload(app: &Arc<App>, id: &str) {
    let Some(hosts) = app.folders.hosts.get().cloned() else { return };
    let _one = app.folders.looking.lock().await;
    let folder = app.folders.read(|state| state.found.folders.iter().find(|folder| folder.id == id).cloned());
    if let Some(folder) = folder {
        load_one(app, &hosts, folder).await;
    }
    settle(app).await;
}

async fn load_one(app: &Arc<App>, hosts: &Hosts, folder: Folder) {
    let id = folder.id.clone();
    let said = app.folders.said.of(&id);
    let needs_approval = folder.root.kind == RootKind::Workspace && app.config.folders.trust == WorkspaceTrust::Approve;
    let last = app.folders.loaded(&id);
    let loaded = if app.folders.said.is_off(&id, folder.root.kind) {
        None
    } else if needs_approval {
        approved(app, hosts, &folder, said.approved.as_deref(), last.as_ref()).await
    } else {
        Some(hosts.load(&folder, last.as_ref()).await)
    };
    let replaced = app.folders.write(|state| match &loaded {
        Some(loaded) => state.loaded.insert(id.clone(), loaded.clone()),
        None => state.loaded.remove(&id),
    });
    if let Some(loaded) = &loaded {
        tell(app, loaded, last.as_ref()).await;
    }
    let is_same = |old: &Loaded| loaded.as_ref().is_some_and(|new| Arc::ptr_eq(&old.worker, &new.worker));
    if let Some(old) = replaced.filter(|old| !is_same(old)) {
        drain(app, old);
    }
}

/// Nothing of a folder that a bot wrote runs unless exactly this state of it was approved.
async fn approved(
    app: &Arc<App>,
    hosts: &Hosts,
    folder: &Folder,
    approved: Option<&str>,
    last: Option<&Loaded>,
) -> Option<Loaded> {
    let hash = match hosts.hash(folder) {
        Ok(hash) => hash,
        Err(error) => {
            tracing::warn!(integration = folder.id, "The folder cannot be read: {error:#}");
            return None;
        }
    };
    app.folders.write(|state| state.offered.insert(folder.id.clone(), hash.clone()));
    if approved != Some(hash.as_str()) {
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
        tracing::warn!(integration = %id, "{problem}");
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

/// Lets what runs on the old state end. Nobody waits for it.
fn drain(app: &Arc<App>, loaded: Loaded) {
    app.work.spawn(async move { loaded.worker.drain().await });
}

/// Makes what was loaded what everybody sees, keeps what it is for the time when it is gone, and lets go on what waited
/// for it.
async fn settle(app: &Arc<App>) {
    let before = app.catalog();
    if let Err(error) = app.reload().await {
        tracing::error!("What was loaded cannot be used: {error:#}");
        return;
    }
    let catalog = app.catalog();
    for entry in catalog.integrations.values().filter(|entry| entry.listed.works()) {
        let Some(known) = super::listed::Known::of(&entry.listed) else { continue };
        let known = serde_json::to_string(&known).ok();
        let id = &entry.integration.name;
        if let Err(error) = standing::change(app, id, |row| row.known = known).await {
            tracing::error!(integration = %id, "What it is could not be kept: {error}");
        }
    }
    for kind in catalog.dispatchers.keys().filter(|kind| !before.dispatchers.contains_key(*kind)) {
        if let Err(error) = app.store.unpark_outbox(kind).await {
            tracing::error!("What waits for `{kind}` could not go on: {error}");
        }
        outbox::settle(app, kind).await;
    }
    processes::settle(app);
}
