//! Tells services where to send what happens, for integrations that can: once the address of this server and their fields
//! are there, and again when one of them changes.

use crate::{
    app::{App, Call},
    catalog::DEFAULT,
    part::within,
    succession,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_sdk::{Error, Handler, Kind, Result};
use tercel_store::{NewNotice, Uuid, now};
use tokio::sync::{Mutex, Notify};

/// Where it is kept what was told.
const SETTING: &str = "webhooks.registered";
const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

#[derive(Default)]
pub struct Registering {
    bell: Notify,
    /// One change of what is kept at a time.
    changing: Mutex<()>,
}

impl Registering {
    /// Settings were changed.
    pub fn ring(&self) {
        self.bell.notify_one();
    }
}

/// What a service was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    pub url: String,
    pub at: i64,
    /// The service's own name for it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    id: Value,
    /// Of the values that it was told with. Only this server can make one.
    mark: String,
}

/// What a service is to be told.
struct Wanted {
    integration: String,
    connection: String,
    register: Handler,
    url: String,
    mark: String,
}

#[derive(Clone)]
struct Failed {
    mark: String,
    times: u32,
    again: Instant,
}

pub async fn run_all(app: Arc<App>) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    let mut failed = BTreeMap::new();
    loop {
        succession::is_ours(&app).await;
        let next = tell_all(&app, &mut failed).await;
        let pause = async {
            match next {
                Some(time) => tokio::time::sleep_until(time.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.registering.bell.notified() => {}
            () = pause => {}
        }
    }
}

/// Answers when to come again for those that failed.
async fn tell_all(app: &Arc<App>, failed: &mut BTreeMap<String, Failed>) -> Option<Instant> {
    let kept = match kept(app).await {
        Ok(kept) => kept,
        Err(error) => {
            tracing::error!("It cannot be read which services were told where to send what happens: {error}");
            return Some(Instant::now() + LONGEST_PAUSE);
        }
    };
    let wanted = wanted(app);
    failed.retain(|name, _| wanted.iter().any(|wanted| wanted.name() == *name));
    for one in wanted {
        let name = one.name();
        if kept.get(&name).is_some_and(|kept| kept.url == one.url && kept.mark == one.mark) {
            failed.remove(&name);
            continue;
        }
        let before = failed.get(&name).filter(|before| before.mark == one.mark);
        if before.is_some_and(|before| before.again > Instant::now()) {
            continue;
        }
        let times = before.map_or(0, |before| before.times);
        match tell(app, &one).await {
            Ok(()) => {
                failed.remove(&name);
                app.close_notice(&notice(&name)).await;
                tracing::info!(integration = name, "Told the service to send what happens to {}", one.url);
            }
            Err(error) if error.kind == Kind::NotConfigured => _ = failed.remove(&name),
            Err(error) => {
                raise(app, &one, &error).await;
                let pause = error.retry_after.unwrap_or(FIRST_PAUSE * 2_u32.pow(times.min(8))).min(LONGEST_PAUSE);
                failed.insert(name, Failed { mark: one.mark, times: times + 1, again: Instant::now() + pause });
            }
        }
    }
    failed.values().map(|failed| failed.again).min()
}

/// Without an address of its own the server says nothing: the service could not reach it.
fn wanted(app: &App) -> Vec<Wanted> {
    let Some(base) = app.config.base_url.as_ref().filter(|_| app.config.rehearse.is_none()) else { return Vec::new() };
    let catalog = app.catalog();
    let all = catalog.integrations.iter().flat_map(|(name, entry)| {
        entry.connections.iter().map(move |(connection, values)| (name, entry, connection, values))
    });
    let all = all.filter_map(|(name, entry, connection, values)| {
        let webhook = entry.integration.webhook.as_ref()?;
        let is_set = |key: &str| values.fields.get(key).is_some_and(|value| !value.trim().is_empty());
        if !entry.integration.fields.iter().filter(|field| field.required).all(|field| is_set(&field.key)) {
            return None;
        }
        let values = json!([entry.integration.version, *values.fields]).to_string();
        let path = match connection.as_str() {
            DEFAULT => webhook.path.clone(),
            other => format!("c/{other}/{}", webhook.path),
        };
        Some(Wanted {
            integration: name.clone(),
            connection: connection.clone(),
            register: webhook.register.clone()?,
            url: format!("{base}/integrations/{name}/{path}"),
            mark: app.sealer.marker(Uuid::new_v5(&Uuid::NAMESPACE_OID, values.as_bytes())),
        })
    });
    all.collect()
}

async fn tell(app: &Arc<App>, wanted: &Wanted) -> Result<()> {
    let place = (wanted.integration.as_str(), wanted.connection.as_str());
    let answer = call(app, place, &wanted.register, json!({"url": wanted.url})).await?;
    let told = Registered { url: wanted.url.clone(), at: now(), id: answer["id"].clone(), mark: wanted.mark.clone() };
    change(app, |all| _ = all.insert(wanted.name(), told)).await
}

/// Tells a service that nothing is to come any more. Answers whether it had been told anything.
///
/// # Errors
/// What it says no with: then it goes on sending.
pub async fn unregister(app: &Arc<App>, integration: &str, connection: &str) -> Result<bool> {
    let name = named(integration, connection);
    let Some(told) = kept(app).await.ok().and_then(|mut kept| kept.remove(&name)) else { return Ok(false) };
    let catalog = app.catalog();
    let webhook = catalog.integrations.get(integration).and_then(|entry| entry.integration.webhook.as_ref());
    if let Some(unregister) = webhook.and_then(|webhook| webhook.unregister.as_ref()) {
        call(app, (integration, connection), unregister, json!({"url": told.url, "id": told.id})).await?;
    }
    change(app, |all| _ = all.remove(&name)).await?;
    Ok(true)
}

/// What the service of a connection was told last.
pub async fn of(app: &App, integration: &str, connection: &str) -> tercel_store::Result<Option<Registered>> {
    Ok(kept(app).await?.remove(&named(integration, connection)))
}

impl Wanted {
    fn name(&self) -> String {
        named(&self.integration, &self.connection)
    }
}

/// What a connection is called where it is kept what was told.
fn named(integration: &str, connection: &str) -> String {
    match connection {
        DEFAULT => integration.to_owned(),
        other => format!("{integration}/{other}"),
    }
}

async fn call(
    app: &Arc<App>,
    (integration, connection): (&str, &str),
    handler: &Handler,
    given: Value,
) -> Result<Value> {
    let limit = app.config.limits.connector;
    let call = Call { timeout: Some(limit), cancel: app.stopping.clone(), ..Call::default() };
    let host = app.host(integration, connection, call);
    let host = host.ok_or_else(|| Error::not_configured(format!("There is no integration `{integration}`")))?;
    let handler = handler.clone();
    let told = async move { handler(host, given.into()).await };
    let what = format!("Telling the service of `{integration}` where to send what happens");
    let answer = within(limit, &what, Kind::Timeout, told).await;
    answer.map_err(|error| app.catalog().redactor.error(error))
}

async fn kept(app: &App) -> tercel_store::Result<BTreeMap<String, Registered>> {
    Ok(match app.store.server_setting(SETTING).await? {
        Some(text) => serde_json::from_str(&text)?,
        None => BTreeMap::new(),
    })
}

async fn change(app: &App, how: impl FnOnce(&mut BTreeMap<String, Registered>)) -> Result<()> {
    let _one = app.registering.changing.lock().await;
    let stored = async {
        let mut all = kept(app).await?;
        how(&mut all);
        app.store.put_server_setting(SETTING, Some(serde_json::to_string(&all)?)).await
    };
    stored.await.map_err(|error| Error::new(Kind::Error, format!("What the service was told cannot be kept: {error}")))
}

async fn raise(app: &App, wanted: &Wanted, error: &Error) {
    let (name, url) = (wanted.name(), &wanted.url);
    let key = notice(&name);
    let title = format!("The service of `{name}` could not be told where to send what happens");
    let repair = error.hint.clone().unwrap_or_else(|| format!("It is tried again. Else enter {url} at the service"));
    let detail = error.message.clone();
    app.raise(NewNotice { key, severity: "error", title, detail, repair: Some(repair) }).await;
}

fn notice(integration: &str) -> String {
    format!("registering:{integration}")
}
