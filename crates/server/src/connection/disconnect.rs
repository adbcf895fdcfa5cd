//! Disconnecting: credentials are revoked where the service can, and forgotten here in any case.

use super::name;
use crate::{
    app::{App, Call},
    catalog::{DEFAULT, Entry, Source},
    consent::{self, Place},
    part::within,
    registering,
};
use anyhow::Result;
use std::sync::Arc;
use tercel_sdk::{Kind, Revoked};
use tercel_store::{NewSetting, Saved, Tested};

/// What became of the credentials, for the person who disconnects.
pub struct Disconnected {
    /// Absent when there was nothing to revoke.
    pub revoked: Option<bool>,
    pub message: String,
}

/// On its own: services may be slow, and whoever asked may hang up before anything is forgotten.
pub async fn disconnect(app: &Arc<App>, entry: Arc<Entry>, connection: &str) -> Result<Disconnected> {
    let (at_work, connection) = (app.clone(), connection.to_owned());
    app.work.spawn(async move { disconnected(&at_work, &entry, &connection).await }).await?
}

async fn disconnected(app: &Arc<App>, entry: &Entry, connection: &str) -> Result<Disconnected> {
    let id = &entry.integration.name;
    // While it still knows us.
    let unregistered = registering::unregister(app, id, connection).await.map(drop);
    // First: a server that dies in between leaves credentials that are worth nothing, not ones that nobody can revoke.
    let (revoked, told) = revoke(app, entry, connection).await;
    let mut message = format!("It was disconnected{told}");
    if let Err(error) = unregistered {
        message = format!("{message}. The service may go on sending: {error}");
    }
    let place = Place::new(id, connection);
    // What is being renewed would be stored afterwards.
    let turns = app.consents.turns.of(&place);
    let mut turn = turns.lock().await;
    if connection == DEFAULT {
        forget_values(app, entry).await?;
        let rest = set_elsewhere(app, id);
        if !rest.is_empty() {
            message = format!("{message}. The environment still sets {}", rest.join(", "));
        }
        let tested = Tested {
            integration: id.clone(),
            connection: connection.into(),
            code: Kind::NotConfigured.as_str().into(),
            message: message.clone(),
            saved: Saved::Now,
            ..Tested::default()
        };
        app.store.put_tested(tested).await?;
        app.read_anew().await?;
    } else {
        app.store.forget_connection(id, connection).await?;
        app.reload().await?;
    }
    turn.forget();
    drop(turn);
    consent::over::forget(app, &place).await;
    crate::watchman::forget(app, id, connection).await;
    app.close_notice(&super::notice(&name::of(id, connection))).await;
    tracing::info!(integration = id, connection, "{message}");
    Ok(Disconnected { revoked, message })
}

async fn forget_values(app: &Arc<App>, entry: &Entry) -> Result<()> {
    let id = &entry.integration.name;
    let keys = entry.integration.fields.iter().map(|field| field.key.as_str()).chain(consent::KEYS);
    let all = keys.map(|key| NewSetting::from((key.to_owned(), None)));
    app.store.put_settings(id, DEFAULT, all.collect()).await?;
    app.reload().await?;
    super::files::follow(app, id);
    app.folders.has_new_settings(app, id);
    Ok(())
}

/// Variables of the environment that give the default connection values all the same.
fn set_elsewhere(app: &App, id: &str) -> Vec<String> {
    let catalog = app.catalog();
    let Some(entry) = catalog.integrations.get(id) else { return Vec::new() };
    let Some(values) = entry.values(DEFAULT) else { return Vec::new() };
    let fields = entry.integration.fields.iter();
    fields.filter(|field| values.sources.get(&field.key) == Some(&Source::Env)).map(|field| field.env.clone()).collect()
}

/// Whether the credentials are worth nothing any more, and how that is told behind "It was disconnected".
async fn revoke(app: &Arc<App>, entry: &Entry, connection: &str) -> (Option<bool>, String) {
    if let Some(told) = consent::take_back(app, &Place::new(&entry.integration.name, connection)).await {
        return match told {
            Ok(()) => (Some(true), ", and what was agreed to counts no more at the service".into()),
            Err(error) => (
                Some(false),
                format!(". What was agreed to could not be taken back ({error}): take it back at the service"),
            ),
        };
    }
    let is_stored = |values: &crate::catalog::Values| {
        let secret = entry.integration.fields.iter().filter(|field| field.secret);
        secret.into_iter().any(|field| values.sources.get(&field.key) == Some(&Source::Db))
    };
    if !entry.values(connection).is_some_and(is_stored) {
        return (None, String::new());
    }
    let Some(revoke) = entry.listed.integration.revoke.clone() else { return (None, String::new()) };
    if let Some(obstacle) = entry.listed.obstacle() {
        return (Some(false), format!(". Its credentials still count at the service: {obstacle}"));
    }
    let id = &entry.integration.name;
    let limit = app.config.limits.connector;
    let Some(host) = app.host(id, connection, Call { timeout: Some(limit), ..Call::default() }) else {
        return (None, String::new());
    };
    let call = async move { revoke(host, serde_json::Value::Null.into()).await };
    let answer = within(limit, &format!("Revoking the credentials of `{id}`"), Kind::UnknownOutcome, call).await;
    let answer = answer.map_err(|error| app.catalog().redactor.error(error));
    match answer.and_then(|answer| Ok(serde_json::from_value::<Revoked>(answer)?)) {
        Ok(Revoked::Done) => (Some(true), ", and its credentials are worth nothing any more".into()),
        Ok(Revoked::Impossible(place)) => {
            (Some(false), format!(". Its credentials still count at the service: {place}"))
        }
        Err(error) => {
            let hint = "revoke them there, if they shall not count any more";
            (Some(false), format!(". Its credentials could not be revoked ({}): {hint}", error.message))
        }
    }
}
