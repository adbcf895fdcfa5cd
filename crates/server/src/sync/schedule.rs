//! Syncs that begin by the clock.

use super::{settings::Settings, work};
use crate::{app::App, disk, succession};
use std::{sync::Arc, time::Duration};
use tercel_store::{DueSync, NewSync, SyncSettings, Uuid, now};

/// A clock that is set is noticed within this time.
const LONGEST: Duration = Duration::from_secs(60);

/// Begins what is due, until the server stops.
pub async fn run_all(app: Arc<App>) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    loop {
        succession::is_ours(&app).await;
        let next = match begin_due(&app).await {
            Ok(next) => next,
            Err(tercel_store::Error::Stopping) => return,
            Err(error) => {
                tracing::error!("Syncs that are due cannot be read or begun and are tried again: {error}");
                Some(now() + 1_000_000)
            }
        };
        let wait = next.map_or(LONGEST, |at| Duration::from_micros((at - now()).max(0).unsigned_abs()).min(LONGEST));
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.syncs.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn begin_due(app: &App) -> tercel_store::Result<Option<i64>> {
    let time = now();
    let mut next = None;
    for stored in app.store.sync_settings().await? {
        let Some(at) = stored.next_at else { continue };
        if at > time {
            let following = Settings::read(&stored.definition).ok().and_then(|settings| settings.next(time));
            let earlier = following.filter(|following| *following < at);
            // The clock was put back, or a time zone has new rules.
            if earlier.is_some() {
                app.store.fire_sync(DueSync { settings: stored, next_at: earlier, sync: None }).await?;
            }
            next = next.into_iter().chain([earlier.unwrap_or(at)]).min();
            continue;
        }
        if disk::is_full(app) {
            return Ok(Some(time + 5_000_000));
        }
        let (integration, connection) = (stored.integration.clone(), stored.connection.clone());
        let due = due(app, stored, time);
        let (following, wanted) = (due.next_at, due.sync.is_some());
        if app.store.fire_sync(due).await?.is_none() && wanted {
            tracing::info!(integration, connection, "A sync was skipped: the one before it is still open");
        }
        next = next.into_iter().chain(following).min();
    }
    Ok(next)
}

/// Times that passed while nobody was there are not made up for: one sync brings all that they would have.
fn due(app: &App, stored: SyncSettings, time: i64) -> DueSync {
    let settings = Settings::read(&stored.definition).unwrap_or_default();
    let catalog = app.catalog();
    let entry = catalog.integrations.get(&stored.integration);
    let entry = entry.filter(|entry| entry.is_configured(&stored.connection));
    let entry = entry.filter(|entry| work::obstacle(app, entry).is_none());
    let collection = settings.collection.clone().or_else(|| Some(entry?.integration.sync.as_ref()?.collection.clone()));
    let sync = entry.and(collection).map(|collection| NewSync {
        id: Uuid::now_v7(),
        integration: stored.integration.clone(),
        connection: stored.connection.clone(),
        collection,
        origin: "schedule",
        dry_run: false,
        asked: None,
        records: Vec::new(),
        items: None,
    });
    DueSync { next_at: settings.next(time), settings: stored, sync }
}
