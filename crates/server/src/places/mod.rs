//! Where channels are answered: at their own target, else at that of a place they are bound to. How a place is answered
//! that nobody gave a target is known to its integration.

pub mod names;

use crate::{
    app::{App, Call},
    catalog::{Catalog, DEFAULT},
    part::within,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::{Duration, Instant},
};
use tercel_sdk::{Kind, Target};
use tercel_store::{NewNotice, Uuid};

/// How long what an integration said is not asked again.
const FRESH: Duration = Duration::from_secs(60);

/// What integrations said of places, by client id.
#[derive(Default)]
pub struct Places {
    targets: Mutex<HashMap<String, Known>>,
    names: names::Names,
}

struct Known {
    /// The sealed target.
    target: Option<String>,
    at: Instant,
    /// What was so when it was said.
    catalog: Weak<Catalog>,
}

/// Where the answers of a channel go unless something else is said.
pub async fn target_of(app: &Arc<App>, channel: Uuid) -> Option<String> {
    let catalog = app.catalog();
    let own = catalog.channel(channel)?;
    if own.sealed_target.is_none() {
        learn(app, &catalog, &own.client_id).await;
        if known(app, &own.client_id).is_none() {
            for binding in catalog.bindings_of(channel).iter().filter(|binding| binding.sealed_target.is_none()) {
                learn(app, &catalog, &binding.client_id).await;
            }
        }
    }
    known_target_of(app, channel)
}

/// The same, of what is known without asking.
pub fn known_target_of(app: &App, channel: Uuid) -> Option<String> {
    let catalog = app.catalog();
    let own = catalog.channel(channel)?;
    let own_place = || own.sealed_target.clone().or_else(|| known(app, &own.client_id));
    let bound = || {
        let mut bindings = catalog.bindings_of(channel).into_iter();
        bindings.find_map(|binding| binding.sealed_target.clone().or_else(|| known(app, &binding.client_id)))
    };
    own_place().or_else(bound)
}

/// Every place that a channel is seen at: those it is bound to, and its own where its integration answers there.
pub async fn all_targets_of(app: &Arc<App>, channel: Uuid) -> Vec<String> {
    let catalog = app.catalog();
    let Some(own) = catalog.channel(channel).filter(|own| own.sealed_target.is_none()).cloned() else {
        return bound(app, &catalog, channel).await;
    };
    learn(app, &catalog, &own.client_id).await;
    known(app, &own.client_id).into_iter().chain(bound(app, &catalog, channel).await).collect()
}

async fn bound(app: &Arc<App>, catalog: &Arc<Catalog>, channel: Uuid) -> Vec<String> {
    let mut targets = Vec::new();
    for binding in catalog.bindings_of(channel) {
        if binding.sealed_target.is_none() {
            learn(app, catalog, &binding.client_id).await;
        }
        targets.extend(binding.sealed_target.clone().or_else(|| known(app, &binding.client_id)));
    }
    targets
}

fn known(app: &App, client_id: &str) -> Option<String> {
    lock(&app.places).get(client_id)?.target.clone()
}

fn lock(places: &Places) -> MutexGuard<'_, HashMap<String, Known>> {
    places.targets.lock().expect("no holder of this lock panics")
}

/// Asks the integration of a place, unless that was done lately. When it does not answer, what it said before counts.
async fn learn(app: &Arc<App>, catalog: &Arc<Catalog>, client_id: &str) {
    let Some(owner) = catalog.owner(client_id) else { return };
    let Some(handler) = catalog.integrations.get(owner).and_then(|entry| entry.integration.place_target.clone()) else {
        lock(&app.places).remove(client_id);
        return;
    };
    let is_fresh = |known: &Known| known.at.elapsed() < FRESH && known.catalog.as_ptr() == Arc::as_ptr(catalog);
    if lock(&app.places).get(client_id).is_some_and(is_fresh) {
        return;
    }
    let limit = app.config.limits.hook;
    let Some(host) = app.host(owner, DEFAULT, Call { timeout: Some(limit), ..Call::default() }) else { return };
    let (what, place) = (format!("Where `{owner}` answers"), client_id.to_owned());
    let said = within(limit, &what, Kind::Timeout, async move {
        let said = handler(host, serde_json::Value::from(place).into()).await?;
        Ok(serde_json::from_value::<Option<Target>>(said)?)
    });
    let notice = format!("place:{owner}");
    match said.await {
        Ok(target) => {
            let target = target.map(|target| app.seal_target(&target));
            let known = Known { target, at: Instant::now(), catalog: Arc::downgrade(catalog) };
            lock(&app.places).insert(client_id.to_owned(), known);
            app.close_notice(&notice).await;
        }
        Err(error) => {
            let error = catalog.redactor.error(error);
            let title = format!("`{owner}` does not say where its places are answered");
            let detail = format!("{client_id}: {error}");
            let repair =
                Some("Mend its resolve_dispatch_config, or give the channel a dispatch_config of its own".into());
            app.raise(NewNotice { key: notice, severity: "error", title, detail, repair }).await;
        }
    }
}
