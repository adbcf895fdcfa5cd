//! Integrations that are paused: what they send is stored, and runs when they are resumed, in order.

use crate::{app::App, ceilings};
use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};
use tercel_store::{Ceiling, Result, Store};

/// Where their names are kept.
const SETTING: &str = "integrations.paused";
/// What the scope of a pause begins with. It is a ceiling that is always reached.
const SCOPE: &str = "paused:";

#[derive(Default)]
pub struct Paused {
    names: RwLock<BTreeSet<String>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Paused {
    pub async fn load(store: &Store) -> Result<Self> {
        let paused = Self::default();
        paused.read(store).await?;
        Ok(paused)
    }

    pub async fn read(&self, store: &Store) -> Result<()> {
        let _one = self.changing.lock().await;
        let names = match store.server_setting(SETTING).await? {
            Some(names) => serde_json::from_str(&names)?,
            None => BTreeSet::new(),
        };
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(())
    }

    pub fn has(&self, integration: &str) -> bool {
        self.names.read().unwrap_or_else(PoisonError::into_inner).contains(integration)
    }
}

/// Pauses an integration, or lets it go on with what was stored meanwhile.
pub async fn set(app: &App, integration: &str, paused: bool) -> Result<()> {
    let all = &app.ceilings.paused;
    let _one = all.changing.lock().await;
    let mut names = all.names.read().unwrap_or_else(PoisonError::into_inner).clone();
    let changed = match paused {
        true => names.insert(integration.to_owned()),
        false => names.remove(integration),
    };
    if !changed {
        return Ok(());
    }
    app.store.put_server_setting(SETTING, Some(serde_json::to_string(&names)?)).await?;
    *all.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    let now = if paused { "is paused" } else { "goes on" };
    tracing::info!(integration, "The integration {now}");
    ceilings::look(app);
    if !paused {
        app.store.resume_syncs(Some(integration)).await?;
    }
    Ok(())
}

/// Lets no run of a paused integration through.
pub fn ceiling(app: &App, origin: &str, hour: i64) -> Option<Ceiling> {
    app.ceilings.paused.has(origin).then(|| Ceiling::closed(format!("{SCOPE}{origin}"), hour))
}

/// The integration, where a ceiling is a pause.
pub fn of(ceiling: &Ceiling) -> Option<&str> {
    ceiling.scope.strip_prefix(SCOPE)
}
