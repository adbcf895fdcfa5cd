//! Testing a connection, and keeping what the test said.

use crate::{
    app::{App, Call},
    catalog::Values,
    part::within,
    redact::{Redactor, secrets},
};
use std::sync::Arc;
use tercel_sdk::{Kind, Result, integration::Checked};
use tercel_store::Health;

/// Runs the integration's own test. Nothing is stored.
pub async fn test(app: &Arc<App>, integration: &str, connection: &str) -> Result<Checked> {
    let catalog = app.catalog();
    let values = catalog.integrations.get(integration).and_then(|entry| entry.values(connection));
    test_with(app, integration, connection, &values.cloned().unwrap_or_default()).await
}

/// The same with values that are not saved.
pub async fn test_with(app: &Arc<App>, integration: &str, connection: &str, values: &Values) -> Result<Checked> {
    let catalog = app.catalog();
    let missing =
        || tercel_sdk::Error::new(Kind::NotFound, format!("There is no connection `{integration}/{connection}`"));
    let entry = catalog.integrations.get(integration).ok_or_else(missing)?;
    let call = Call { timeout: Some(app.config.limits.connector), ..Call::default() };
    let host = app.host_with(integration, connection, values, call).ok_or_else(missing)?;
    for field in entry.integration.fields.iter().filter(|field| field.required) {
        host.field(&field.key)?;
    }
    let Some(connector) = entry.integration.connector.clone() else {
        return Err(tercel_sdk::Error::new(Kind::Unsupported, "This integration has no test"));
    };
    let call = async move { connector(host, serde_json::Value::Null.into()).await };
    let what = format!("The test of `{integration}`");
    let answer = within(app.config.limits.connector, &what, Kind::Timeout, call).await;
    // Values that are not saved are in no catalog, and what is saved may have changed while the service was asked.
    let (saved, given) = (&app.catalog().redactor, Redactor::new(secrets(&entry.integration.fields, values)));
    let checked = answer.map_err(|error| given.error(saved.error(error)))?;
    Ok(serde_json::from_value(given.json(saved.json(checked)))?)
}

/// Tests and keeps the outcome with the connection.
pub async fn check(app: &Arc<App>, integration: &str, connection: &str) {
    let outcome = test(app, integration, connection).await;
    keep(app, integration, connection, outcome).await;
}

/// Keeps the outcome of a test with the connection.
pub async fn keep(app: &Arc<App>, integration: &str, connection: &str, outcome: Result<Checked>) {
    crate::watchman::saw(app, integration, connection, &outcome).await;
    let health = |code: &str, message: String| Health {
        integration: integration.into(),
        connection: connection.into(),
        code: code.into(),
        message,
        hint: None,
        account: None,
        depth: None,
        checked_at: 0,
    };
    let health = match outcome {
        Ok(checked) => Health {
            account: checked.account,
            depth: serde_json::to_value(checked.depth).ok().and_then(|depth| Some(depth.as_str()?.to_owned())),
            ..health("ok", checked.message)
        },
        Err(error) => Health { hint: error.hint, ..health(error.kind.as_str(), error.message) },
    };
    if health.code != "not_configured" {
        tracing::info!(integration, connection, code = %health.code, "Tested the connection: {}", health.message);
    }
    let stored = async {
        app.store.put_health(health).await?;
        app.reload().await
    };
    if let Err(error) = stored.await {
        tracing::error!("The outcome of the test could not be stored: {error}");
    }
}
