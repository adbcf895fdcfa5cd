//! What is kept of a consent and of somebody who is asked, as values of their connection.

use super::Place;
use crate::{app::App, catalog};
use anyhow::{Result, anyhow};
use serde::{Serialize, de::DeserializeOwned};
use tercel_store::NewSetting;

/// Such a value, as it is stored.
pub fn sealed<T: Serialize>(app: &App, place: &Place, key: &str, value: Option<&T>) -> NewSetting {
    let at = catalog::place(&place.integration, &place.connection, key);
    let seal = |value: &T| app.sealer.seal(&at, &serde_json::to_string(value).unwrap_or_default());
    NewSetting { key: key.into(), value: value.map(seal), earlier: None }
}

/// Stores one in the place of whatever is there, and knows it from then on.
pub async fn put<T: Serialize>(app: &App, place: &Place, key: &str, value: &T) -> Result<()> {
    let changes = vec![sealed(app, place, key, Some(value))];
    app.store.put_settings(&place.integration, &place.connection, changes).await?;
    know(app).await
}

/// Stores what `change` makes of the one that is there, unless it makes nothing of it, and knows that from then on. Answers
/// whether it did.
pub async fn change<T: Serialize + DeserializeOwned>(
    app: &App,
    place: &Place,
    key: &str,
    change: impl Fn(T) -> Option<T>,
) -> Result<bool> {
    let change = |there| Some(vec![sealed(app, place, key, Some(&change(there)?))]);
    let is_changed = change_all(app, place, key, change).await?;
    if is_changed {
        know(app).await?;
    }
    Ok(is_changed)
}

/// Whether the one that is there is as it has to be, and another could be stored in its place: what a service gives once is
/// not asked for by a server that cannot keep it, or that another one has replaced.
pub async fn is_still<T: Serialize + DeserializeOwned>(
    app: &App,
    place: &Place,
    key: &str,
    is_right: impl Fn(&T) -> bool,
) -> Result<bool> {
    let same = |there: T| is_right(&there).then(|| vec![sealed(app, place, key, Some(&there))]);
    change_all(app, place, key, same).await
}

/// The same for several values, which are not known before they are read anew. What is there is asked of the database:
/// what is known of it may be what it was before another server had its turn.
pub async fn change_all<T: DeserializeOwned>(
    app: &App,
    place: &Place,
    key: &str,
    change: impl Fn(T) -> Option<Vec<NewSetting>>,
) -> Result<bool> {
    let Place { integration, connection } = place;
    loop {
        let Some(there) = app.store.setting(integration, connection, key).await? else { return Ok(false) };
        let text = app.sealer.open(&catalog::place(integration, connection, key), &there)?;
        // What serde says may repeat what is in it.
        let value = serde_json::from_str(&text).map_err(|_| anyhow!("`{key}` of `{}` cannot be read", place.name()))?;
        let Some(changes) = change(value) else { return Ok(false) };
        if app.store.put_settings_if(integration, connection, (key, &there), changes).await? {
            return Ok(true);
        }
        // Somebody was faster, or it was sealed anew.
    }
}

async fn know(app: &App) -> Result<()> {
    app.read_anew().await?;
    app.consents.ring();
    Ok(())
}
