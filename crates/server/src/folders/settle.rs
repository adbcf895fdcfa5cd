//! What follows when folders were loaded: everybody sees it, and what is over ends and goes.

use super::{listed::Known, network, standing};
use crate::{app::App, outbox, processes};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tercel_hosts::{Cleaned, Loaded};

/// What is loaded at the same time is shown together, when it takes no longer than this.
const SEVERAL: Duration = Duration::from_millis(60);
const LOOK: Duration = Duration::from_millis(3);
/// When it is tidied after a change; once more when what was ending has ended.
const TIDYING: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];

/// Makes what was loaded what everybody sees, keeps what it is for the time when it is gone, and lets go on what waited
/// for it. Several at once are done as one.
pub async fn settle(app: &Arc<App>) {
    app.folders.is_unsettled.store(true, Ordering::Release);
    let _one = app.folders.settling.lock().await;
    if !app.folders.is_unsettled.load(Ordering::Acquire) {
        return;
    }
    let until = Instant::now() + SEVERAL;
    while app.folders.loading.load(Ordering::Acquire) > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    app.folders.is_unsettled.store(false, Ordering::Release);
    let before = app.catalog();
    if let Err(error) = app.reload().await {
        tracing::error!("What was loaded cannot be used: {error:#}");
        return;
    }
    network::grant(app);
    let catalog = app.catalog();
    for entry in catalog.integrations.values().filter(|entry| entry.listed.works() || entry.listed.is_locked()) {
        let Some(known) = Known::of(&entry.listed) else { continue };
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

/// Lets what runs on the old state end. Nobody waits for it. Whoever looked it up before calls what is there now.
pub fn drain(app: &Arc<App>, loaded: Loaded) {
    let work = app.clone();
    let next =
        app.folders.loaded(&loaded.folder.id).map(|now| now.worker).filter(|now| !Arc::ptr_eq(now, &loaded.worker));
    app.work.spawn(async move {
        loaded.worker.drain(next).await;
        drop(loaded);
        tidy_soon(&work);
    });
}

/// Removes what nothing runs any more, in a moment: several changes are followed by one look. What a server uses is not
/// a rehearsal's to remove.
pub fn tidy_soon(app: &Arc<App>) {
    if app.config.rehearse.is_some() || app.folders.will_be_tidied.swap(true, Ordering::AcqRel) {
        return;
    }
    let app = Arc::downgrade(app);
    tokio::spawn(async move {
        for wait in TIDYING {
            loop {
                tokio::time::sleep(wait).await;
                let Some(app) = app.upgrade() else { return };
                app.folders.will_be_tidied.store(false, Ordering::Release);
                let Some(hosts) = app.folders.hosts.get() else { return };
                match hosts.clean().await {
                    Ok(Cleaned::All) => break,
                    // Something is being loaded.
                    Ok(Cleaned::Later) => {}
                    Err(error) => {
                        tracing::warn!("What nobody runs any more could not be removed: {error:#}");
                        return;
                    }
                }
            }
        }
    });
}
