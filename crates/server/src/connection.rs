//! Connections of integrations: testing one, and keeping what the test said.

pub mod choice;
pub mod disconnect;
pub mod draft;
pub mod elsewhere;
pub mod files;
pub mod name;
pub mod retest;
pub mod save;
pub mod state;
pub mod value;

use crate::{
    app::{App, Call},
    catalog::{Catalog, Entry, Values},
    consent::{self, Place},
    outbound::Seen,
    part::within,
    redact::{Redactor, secrets},
    sync, watchman,
};
use std::{sync::Arc, time::Instant};
use tercel_sdk::{Error, Kind, Result, integration::Checked};
use tercel_store::{Health, NewNotice, Saved, Tested};

/// What a test said, and what was seen of it.
pub struct Outcome {
    pub result: Result<Checked>,
    /// Of the last answer that the service gave.
    pub status: Option<u16>,
    /// Absent when nothing was called.
    pub latency_ms: Option<u64>,
}

/// Runs the integration's own test with values that need not be saved, and looks whether records can be sent so. Nothing is
/// stored.
pub async fn test_with(app: &Arc<App>, integration: &str, connection: &str, values: &Values) -> Outcome {
    let asked = asked_with(app, integration, connection, values).await;
    fits_with(app, integration, connection, values, asked).await
}

/// The first of the two: what the service says.
pub async fn asked_with(app: &Arc<App>, integration: &str, connection: &str, values: &Values) -> Outcome {
    let catalog = app.catalog();
    let Some(entry) = catalog.integrations.get(integration) else {
        return Outcome::untold(missing(integration, connection));
    };
    for field in entry.integration.fields.iter().filter(|field| field.required) {
        if values.fields.get(&field.key).is_none_or(|value| value.trim().is_empty()) {
            return Outcome::untold(Error::not_configured(format!("{} is not set", field.env)));
        }
    }
    if let Some(obstacle) = entry.listed.obstacle() {
        return Outcome::untold(Error::new(Kind::Unsupported, format!("It cannot be tested: {obstacle}")));
    }
    let Some(connector) = entry.integration.connector.clone() else {
        return Outcome::untold(Error::new(Kind::Unsupported, "This integration has no test"));
    };
    let seen = Arc::<Seen>::default();
    let call = Call { timeout: Some(app.config.limits.connector), seen: Some(seen.clone()), ..Call::default() };
    let Some(host) = app.host_with(integration, connection, values, call) else {
        return Outcome::untold(missing(integration, connection));
    };
    let began = Instant::now();
    let call = async move { connector(host, serde_json::Value::Null.into()).await };
    let what = format!("The test of `{integration}`");
    let answer = within(app.config.limits.connector, &what, Kind::Timeout, call).await;
    let latency_ms = u64::try_from(began.elapsed().as_millis()).ok();
    let (saved, given) = redactors(app, entry, values);
    let answer = answer.map(|checked| given.json(saved.redactor.json(checked)));
    // What is asked in another process says itself what it was answered.
    let told = match &answer {
        Ok(checked) => checked["status"].as_u64().and_then(|status| u16::try_from(status).ok()),
        Err(error) => error.status,
    };
    let result = match answer {
        Ok(checked) => serde_json::from_value(checked).map_err(Error::from),
        Err(error) => Err(given.error(saved.redactor.error(error))),
    };
    Outcome { result, status: told.or(seen.status()), latency_ms }
}

/// The second.
pub async fn fits_with(
    app: &Arc<App>,
    integration: &str,
    connection: &str,
    values: &Values,
    asked: Outcome,
) -> Outcome {
    let catalog = app.catalog();
    let (Ok(checked), Some(entry)) = (&asked.result, catalog.integrations.get(integration)) else { return asked };
    let fit = sync::check(app, entry, connection, values).await;
    let (saved, given) = redactors(app, entry, values);
    let result = fit.map(|()| checked.clone()).map_err(|error| given.error(saved.redactor.error(error)));
    Outcome { result, ..asked }
}

/// Values that are not saved are in no catalog, and what is saved may have changed while the service was asked.
fn redactors(app: &App, entry: &Entry, values: &Values) -> (Arc<Catalog>, Redactor) {
    (app.catalog(), Redactor::new(secrets(&entry.integration.fields, values)))
}

fn missing(integration: &str, connection: &str) -> Error {
    Error::new(Kind::NotFound, format!("There is no connection `{integration}/{connection}`"))
}

/// Tests what is saved, and keeps the outcome with the connection unless other values were saved meanwhile.
pub async fn check(app: &Arc<App>, integration: &str, connection: &str) -> Outcome {
    let (outcome, is_current) = test(app, integration, connection).await;
    if is_current {
        keep(app, integration, connection, &outcome, Saved::Before).await;
    }
    outcome
}

/// The same because a call was refused. That the test passes does not make the refusal untrue.
async fn check_doubted(app: &Arc<App>, integration: &str, connection: &str) {
    let (outcome, is_current) = test(app, integration, connection).await;
    if is_current && outcome.result.is_err() {
        keep(app, integration, connection, &outcome, Saved::Before).await;
    }
}

/// What the test of the saved values says, and whether they are still those.
async fn test(app: &Arc<App>, integration: &str, connection: &str) -> (Outcome, bool) {
    let Some(values) = saved(app, integration, connection) else {
        return (Outcome::untold(missing(integration, connection)), false);
    };
    let outcome = test_with(app, integration, connection, &values).await;
    if let Ok(checked) = &outcome.result {
        consent::name(app, &Place::new(integration, connection), &values, checked).await;
    }
    let is_current = saved(app, integration, connection).is_some_and(|now| now.fields == values.fields);
    (outcome, is_current)
}

fn saved(app: &App, integration: &str, connection: &str) -> Option<Values> {
    app.catalog().integrations.get(integration)?.values(connection).cloned()
}

/// Keeps the outcome of a test with the connection, and tells people when it begins to fail and when it is well again.
pub async fn keep(app: &Arc<App>, integration: &str, connection: &str, outcome: &Outcome, saved: Saved) {
    if watchman::saw(app, integration, connection, &outcome.result).await {
        send_on(app, integration).await;
    }
    let tested = outcome.tested(integration, connection, saved);
    if tested.code != "not_configured" {
        tracing::info!(integration, connection, code = %tested.code, "Tested the connection: {}", tested.message);
    }
    let (before, health) = match app.store.put_tested(tested).await {
        Ok(Some(kept)) => kept,
        // It is gone meanwhile.
        Ok(None) => return,
        Err(error) => return tracing::error!("The outcome of the test could not be stored: {error}"),
    };
    if let Err(error) = app.read_anew().await {
        tracing::error!("What is known of connections cannot be read: {error}");
    }
    tell(app, &health).await;
    if health.failing_since.is_none()
        && let Err(error) = app.store.resume_syncs(Some(integration)).await
    {
        tracing::error!("Syncs that wait for `{integration}` could not go on: {error}");
    }
    if health.failing_since.is_none() && before.is_some_and(|before| before.failing_since.is_some()) {
        // What failed because of it may work.
        app.polls.notify_one();
    }
    app.retests.ring();
}

/// What waits because credentials were refused is tried again.
async fn send_on(app: &App, integration: &str) {
    let catalog = app.catalog();
    let Some(entry) = catalog.integrations.get(integration) else { return };
    for kind in entry.integration.dispatchers.keys() {
        if let Err(error) = app.store.unpark_outbox(kind).await {
            tracing::error!("What waits for `{kind}` could not go on: {error}");
        }
    }
}

/// Refused credentials have a notice of their own, and what somebody insisted on is known to fail.
async fn tell(app: &App, health: &Health) {
    let name = name::of(&health.integration, &health.connection);
    let key = notice(&name);
    let is_passing = matches!(health.code.as_str(), "network" | "timeout" | "rate_limited" | "error");
    let is_told = health.failing_since.is_some() && !health.insisted && health.code != Kind::Auth.as_str();
    match is_told && health.code != Kind::Unsupported.as_str() {
        true if is_passing && health.failures < 2 => {}
        true => {
            let since = health.failing_since.map(crate::api::time::rfc3339).unwrap_or_default();
            app.raise(NewNotice {
                key,
                severity: "error",
                title: format!("The connection `{name}` fails"),
                detail: format!("Since {since}: {} ({})", health.message, health.code),
                repair: Some(health.hint.clone().unwrap_or_else(|| {
                    "It is tested again by itself; POST …/connections/{name}/test does it now, …/history has what came \
                     before"
                        .into()
                })),
            })
            .await;
        }
        false => app.close_notice(&key).await,
    }
}

fn notice(name: &str) -> String {
    format!("connection:{name}")
}

impl Outcome {
    pub fn untold(error: Error) -> Self {
        Self { result: Err(error), status: None, latency_ms: None }
    }

    pub fn code(&self) -> &'static str {
        self.result.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok")
    }

    fn tested(&self, integration: &str, connection: &str, saved: Saved) -> Tested {
        let (message, hint, account, depth) = match &self.result {
            Ok(checked) => (&checked.message, None, checked.account.clone(), serde_json::to_value(checked.depth).ok()),
            Err(error) => (&error.message, error.hint.clone(), None, None),
        };
        Tested {
            integration: integration.into(),
            connection: connection.into(),
            code: self.code().into(),
            message: message.clone(),
            hint,
            account,
            depth: depth.and_then(|depth| Some(depth.as_str()?.to_owned())),
            http_status: self.status.map(i64::from),
            latency_ms: self.latency_ms.and_then(|latency| i64::try_from(latency).ok()),
            saved,
        }
    }
}
