//! Saving values of a connection: sealed, with the value before them where that counts for a while.

use super::{draft::Changes, files};
use crate::{
    app::App,
    catalog::{self, DEFAULT, Entry},
};
use anyhow::Result;
use std::{sync::Arc, time::Duration};
use tercel_store::{NewSetting, now, seal::is_sealed};

/// Stores values and lets what waited for them go on; the connection file says the same from then on.
pub async fn save(app: &Arc<App>, entry: &Entry, connection: &str, changes: Changes) -> Result<()> {
    store(app, entry, connection, changes).await?;
    if connection == DEFAULT {
        files::follow(app, &entry.integration.name);
    }
    Ok(())
}

/// The same without a word to the file.
pub async fn store(app: &Arc<App>, entry: &Entry, connection: &str, changes: Changes) -> Result<()> {
    put(app, entry, connection, sealed_all(app, entry, connection, changes)).await
}

/// Values as they are stored.
pub fn sealed_all(app: &App, entry: &Entry, connection: &str, changes: Changes) -> Vec<NewSetting> {
    let overlap = |key: &str| entry.integration.fields.iter().find(|field| field.key == key)?.rotate;
    let changes = changes.into_iter().map(|(key, value)| {
        let overlap = overlap(&key);
        sealed(app, entry, connection, key, value, overlap)
    });
    changes.collect()
}

/// Replaces one secret. The one before it counts besides for a time of its own.
pub async fn rotate(
    app: &Arc<App>,
    entry: &Entry,
    connection: &str,
    (key, value): (String, String),
    overlap: Duration,
) -> Result<Option<i64>> {
    let change = sealed(app, entry, connection, key, Some(value), Some(overlap));
    let until = change.earlier.as_ref().map(|(_, until)| *until);
    put(app, entry, connection, vec![change]).await?;
    Ok(until)
}

fn sealed(
    app: &App,
    entry: &Entry,
    connection: &str,
    key: String,
    value: Option<String>,
    overlap: Option<Duration>,
) -> NewSetting {
    let is_secret = entry.integration.fields.iter().any(|field| field.key == key && field.secret);
    let place = catalog::place(&entry.integration.name, connection, &key);
    let values = entry.values(connection);
    let before = values.and_then(|values| values.fields.get(&key));
    let earlier = match (before, overlap.filter(|overlap| !overlap.is_zero())) {
        // The same value once more: what counts besides it does so as long as before.
        (Some(before), Some(_)) if Some(before) == value.as_ref() => {
            values.and_then(|values| values.earlier.get(&key)).cloned()
        }
        (Some(before), Some(overlap)) if value.is_some() => {
            let overlap = i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX / 2);
            Some((before.clone(), now() + overlap))
        }
        _ => None,
    };
    let earlier = earlier.map(|(before, until)| (app.sealer.seal(&place, &before), until));
    // A plain text that looks sealed would be opened when it is read.
    let seal = |value: String| if is_secret || is_sealed(&value) { app.sealer.seal(&place, &value) } else { value };
    NewSetting { key, value: value.map(seal), earlier }
}

/// Stores what was sealed, and lets what waited for it go on.
pub async fn put(app: &Arc<App>, entry: &Entry, connection: &str, changes: Vec<NewSetting>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    app.store.put_settings(&entry.integration.name, connection, changes).await?;
    take_effect(app, entry, connection).await
}

/// What was stored counts, and what waited for it goes on.
pub async fn take_effect(app: &Arc<App>, entry: &Entry, connection: &str) -> Result<()> {
    app.reload().await?;
    for kind in entry.integration.dispatchers.keys() {
        app.store.unpark_outbox(kind).await?;
    }
    if connection == DEFAULT {
        app.folders.has_new_settings(app, &entry.integration.name);
    }
    Ok(())
}
