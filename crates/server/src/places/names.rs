//! What places are called, as their integrations say: asked in the background, so that no list waits for long.

use crate::{
    app::{App, Call},
    catalog::{Catalog, DEFAULT},
    part::within,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tercel_sdk::Kind;

/// How long a name is not asked for again, and how long a list waits for those that nobody knows yet.
const FRESH: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(2);
/// Characters of a name.
const LONGEST: usize = 255;

#[derive(Default)]
pub struct Names {
    known: Mutex<HashMap<String, (Option<String>, Instant)>>,
    /// Places that are being asked for.
    asked: Mutex<HashSet<String>>,
}

/// Names of those of the places that have one.
pub async fn of(app: &Arc<App>, places: Vec<String>) -> BTreeMap<String, String> {
    let catalog = app.catalog();
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for place in places.iter().filter(|place| !app.places.names.is_known(place)) {
        let Some(owner) = catalog.owner(place) else { continue };
        let has = catalog.integrations.get(owner).is_some_and(|entry| entry.integration.display_names.is_some());
        if has && lock(&app.places.names.asked).insert(place.clone()) {
            wanted.entry(owner.to_owned()).or_default().push(place.clone());
        }
    }
    let asking: Vec<_> = wanted
        .into_iter()
        .map(|(owner, places)| app.work.spawn(ask(app.clone(), catalog.clone(), owner, places)))
        .collect();
    let all = futures::future::join_all(asking);
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::info!("Names of places come later: their integration has not answered yet");
    }
    let known = lock(&app.places.names.known);
    places.into_iter().filter_map(|place| Some((place.clone(), known.get(&place)?.0.clone()?))).collect()
}

async fn ask(app: Arc<App>, catalog: Arc<Catalog>, owner: String, places: Vec<String>) {
    let limit = app.config.limits.connector;
    let handler = catalog.integrations.get(&owner).and_then(|entry| entry.integration.display_names.clone());
    let host = app.host(&owner, DEFAULT, Call { timeout: Some(limit), ..Call::default() });
    if let (Some(handler), Some(host)) = (handler, host) {
        let (what, wanted) = (format!("The names of places of `{owner}`"), json!(places));
        let said = within(limit, &what, Kind::Timeout, async move { handler(host, wanted.into()).await }).await;
        match said {
            Ok(said) => {
                let said = catalog.redactor.json(said);
                let name =
                    |place: &String| Some(said[place].as_str()?.trim()).filter(|name| !name.is_empty()).map(shortened);
                let mut known = lock(&app.places.names.known);
                known.extend(places.iter().map(|place| (place.clone(), (name(place), Instant::now()))));
            }
            Err(error) => tracing::warn!(integration = owner, "{}", catalog.redactor.error(error)),
        }
    }
    let mut asked = lock(&app.places.names.asked);
    places.iter().for_each(|place| _ = asked.remove(place));
}

fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

impl Names {
    fn is_known(&self, place: &str) -> bool {
        lock(&self.known).get(place).is_some_and(|(_, at)| at.elapsed() < FRESH)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
