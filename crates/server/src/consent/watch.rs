//! Who is asked for a consent, and whether one is asked for more than was agreed to: looked at when something changed.

use super::{
    Place,
    asking::{self, Asking, Way},
    device, over,
    renew::Known,
    turns::Turns,
    wanted,
};
use crate::{app::App, succession};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tercel_store::now;
use tokio::{sync::Notify, task::JoinSet};

#[derive(Default)]
pub struct Consents {
    pub turns: Turns<Known>,
    /// One answer of a person at a time.
    pub completing: Turns<()>,
    /// One is asked at a time.
    pub beginning: Turns<()>,
    rung: Notify,
}

impl Consents {
    /// Somebody is asked, has answered, or is asked for something else.
    pub fn ring(&self) {
        self.rung.notify_one();
    }
}

/// Until the server stops.
pub async fn run_all(app: Arc<App>) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    let (mut following, mut open) = (JoinSet::new(), BTreeSet::<String>::new());
    let mut told = BTreeMap::<Place, bool>::new();
    loop {
        succession::is_ours(&app).await;
        let mut next = now() + 60_000_000;
        for (place, asking) in askings(&app) {
            let is_device = matches!(asking.way, Way::Device { .. });
            if is_device && open.insert(asking.id.clone()) {
                let app = app.clone();
                following.spawn(async move {
                    device::follow(&app, &place, asking.clone()).await;
                    asking.id.clone()
                });
            } else if !is_device && asking.ends_at <= now() {
                if let Err(error) = asking::end(&app, &place, &asking, "expired", "Nobody came back in time").await {
                    tracing::error!("That nobody agreed could not be stored: {error:#}");
                }
            } else if !is_device {
                next = next.min(asking.ends_at);
            }
        }
        tell(&app, &mut told).await;
        let wait = Duration::from_micros((next - now()).max(0).unsigned_abs());
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.consents.rung.notified() => {}
            () = tokio::time::sleep(wait) => {}
            Some(ended) = following.join_next() => if let Ok(id) = ended { open.remove(&id); },
        }
    }
}

fn askings(app: &App) -> Vec<(Place, Arc<Asking>)> {
    let catalog = app.catalog();
    let mut all = Vec::new();
    for (integration, entry) in &catalog.integrations {
        for (connection, values) in &entry.connections {
            let open = values.asking.clone().filter(|asking| asking.end.is_none());
            all.extend(open.map(|asking| (Place::new(integration, connection), asking)));
        }
    }
    all
}

/// A new version of an integration may ask for more, or for nothing. `told`: whether people were told that somebody has to
/// agree; at the start it is not known.
async fn tell(app: &Arc<App>, told: &mut BTreeMap<Place, bool>) {
    let catalog = app.catalog();
    for (integration, entry) in &catalog.integrations {
        for (connection, values) in &entry.connections {
            let Some(consent) = values.consent.clone() else { continue };
            let place = Place::new(integration, connection);
            let Ok(wanted) = wanted(app, &place, values) else { continue };
            let is_over = wanted.is_some() && consent.over.is_some();
            let lacks = wanted.map(|(oauth, _)| consent.lacks(&oauth)).unwrap_or_default();
            let is_missing = is_over || !lacks.is_empty();
            let before = told.insert(place.clone(), is_missing);
            if before == Some(is_missing) {
                continue;
            }
            // Whoever finds meanwhile that it is over tells it afterwards.
            let turns = app.consents.turns.of(&place);
            let _turn = turns.lock().await;
            match (over::of(app, &place), is_missing) {
                (Some(consent), _) => over::tell(app, &place, &consent).await,
                (None, true) => over::lacks(app, &place, &consent, &lacks).await,
                (None, false) => over::forget(app, &place).await,
            }
        }
    }
}
