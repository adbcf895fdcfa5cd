//! What follows when folders were loaded: everybody sees it, and what is over ends and goes.

use super::{listed::Known, network, standing};
use crate::{app::App, catalog::Catalog, outbox, processes};
use futures::future::join_all;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tercel_hosts::{Cleaned, Loaded};

/// What is loaded at the same time is shown together, when it takes no longer than this.
const SEVERAL: Duration = Duration::from_millis(200);
/// Syncs that are looked at when something works again.
const MOST_SYNCS: i64 = 1_000;
/// When it is tidied after a change; once more when what was ending has ended.
const TIDYING: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];

/// Makes what was loaded what everybody sees, keeps what it is for the time when it is gone, and lets go on what waited
/// for it. Several at once are done as one.
pub async fn settle(app: &Arc<App>) {
    app.folders.is_unsettled.store(true, Ordering::Release);
    be_settled(app).await;
}

/// The same, unless somebody has done it since it was seen to be necessary.
pub async fn be_settled(app: &Arc<App>) {
    let _one = app.folders.settling.lock().await;
    if !app.folders.is_unsettled.load(Ordering::Acquire) {
        return;
    }
    let mut loading = app.folders.loading.subscribe();
    let _ = tokio::time::timeout(SEVERAL, loading.wait_for(|count| *count == 0)).await;
    app.folders.is_unsettled.store(false, Ordering::Release);
    let before = app.catalog();
    if let Err(error) = app.reload().await {
        tracing::error!("What was loaded cannot be used: {error:#}");
        return;
    }
    network::grant(app);
    let catalog = app.catalog();
    let shown = catalog.integrations.values().filter(|entry| entry.listed.works() || entry.listed.is_locked());
    let known = shown.filter_map(|entry| {
        Some((entry.integration.name.clone(), serde_json::to_string(&Known::of(&entry.listed)?).ok()?))
    });
    let known = async {
        if let Err(error) = standing::know(app, known.collect()).await {
            tracing::error!("What the integrations are could not be kept: {error}");
        }
    };
    let new = catalog.dispatchers.keys().filter(|kind| !before.dispatchers.contains_key(*kind));
    let unparked = join_all(new.map(|kind| async move {
        if let Err(error) = app.store.unpark_outbox(kind).await {
            tracing::error!("What waits for `{kind}` could not go on: {error}");
        }
        outbox::settle(app, kind).await;
    }));
    // At once, so that they are one commit.
    tokio::join!(known, unparked);
    if let Err(error) = send_on(app, &before, &catalog).await {
        tracing::error!("Syncs that wait for what was loaded could not go on: {error}");
    }
    processes::settle(app);
}

/// Sends on the syncs that wait for an integration which works by now.
async fn send_on(app: &App, before: &Catalog, now: &Catalog) -> tercel_store::Result<()> {
    let works = |catalog: &Catalog, id: &str| {
        catalog.integrations.get(id).is_some_and(|entry| entry.listed.obstacle().is_none())
    };
    for sync in app.store.open_syncs(MOST_SYNCS).await? {
        let id = sync.integration.as_str();
        if sync.status == "waiting" && works(now, id) && !works(before, id) {
            app.store.resume_sync(sync.id).await?;
        }
    }
    Ok(())
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
