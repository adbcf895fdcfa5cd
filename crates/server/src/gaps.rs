//! Down time: how long nobody was there, and what services sent meanwhile.

use crate::{
    api::time::rfc3339,
    app::{App, Call},
    catalog::DEFAULT,
    part::within,
    polls, webhook,
};
use std::{sync::Arc, time::Duration};
use tercel_sdk::{Error, Kind, Missed, Result, erased::Handler};
use tercel_store::{DownTime, Gap, NewNotice};

/// What one look for missed events may take.
const LIMIT: Duration = Duration::from_secs(120);
/// A down time that is shorter is bridged by the tries of most services, so that nobody is told.
const TOLD: i64 = 60_000_000;
const PAUSES: [u64; 5] = [5, 30, 120, 600, 3_600];
/// Places that are looked at.
const PLACES: i64 = 1_000;
/// Those of which a notice says what is not known.
const SHOWN: usize = 10;

/// Notes what may have been missed before the start and fetches it, until the server stops.
pub async fn watch(app: Arc<App>) {
    let down = app.store.down_time();
    after(app, down).await;
}

/// The same after a time in which nobody listened.
pub async fn after(app: Arc<App>, down: Option<DownTime>) {
    let fetch = async {
        if let Err(error) = note(&app, down).await {
            tracing::error!("The down time cannot be noted: {error}");
        }
        // To ask for what was missed is to have it sent: there, somebody may have it by now.
        app.hold.released().await;
        fetch_all(&app).await;
    };
    tokio::select! {
        () = app.stopping.cancelled() => {}
        () = fetch => {}
    }
}

/// Writes down, for every service that sends webhooks here, that it could not.
async fn note(app: &Arc<App>, down: Option<DownTime>) -> tercel_store::Result<()> {
    let Some(DownTime { from: since, to: up_to, .. }) = down else { return Ok(()) };
    let catalog = app.catalog();
    for (name, entry) in &catalog.integrations {
        if entry.integration.webhook.is_none() || entry.status() == "not_configured" {
            continue;
        }
        for connection in entry.connections.keys() {
            let gap = Gap { integration: name.clone(), connection: connection.clone(), since, up_to };
            match entry.integration.missed {
                Some(_) => app.store.open_gap(gap).await?,
                None => tell(app, &gap, &[], None).await,
            }
        }
    }
    Ok(())
}

async fn fetch_all(app: &Arc<App>) {
    for pause in PAUSES.into_iter().chain(std::iter::repeat(3_600)) {
        let gaps = match app.store.gaps().await {
            Ok(gaps) => gaps,
            Err(error) => {
                tracing::error!("What was missed cannot be read: {error}");
                tokio::time::sleep(Duration::from_secs(pause)).await;
                continue;
            }
        };
        let mut left = false;
        for gap in gaps {
            left |= !fetch(app, &gap, pause).await;
        }
        if !left {
            return;
        }
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

/// Answers whether that is done with, one way or the other.
async fn fetch(app: &Arc<App>, gap: &Gap, pause: u64) -> bool {
    let catalog = app.catalog();
    let part = catalog.integrations.get(&gap.integration).and_then(|entry| entry.integration.missed.clone());
    let Some(part) = part else { return close(app, gap).await };
    match ask(app, gap, part).await {
        Ok(missed) => {
            if missed.asked_again > 0 || !missed.news.is_empty() {
                let (again, news) = (missed.asked_again, missed.news.len());
                tracing::info!(
                    integration = gap.integration,
                    "Missed while down: {again} are sent again, {news} were fetched"
                );
            }
            if !take(app, gap, missed.news).await {
                return false;
            }
            if missed.unknown.is_empty() {
                app.close_notice(&key(gap)).await;
            } else {
                tell(app, gap, &missed.unknown, None).await;
            }
            close(app, gap).await
        }
        Err(error) if matches!(error.kind, Kind::NotConfigured | Kind::Unsupported) => {
            tell(app, gap, &[error.message], error.hint).await;
            close(app, gap).await
        }
        Err(error) => {
            tracing::warn!(integration = gap.integration, "What was missed cannot be fetched: {error}");
            // At the third failure.
            if pause == PAUSES[2] {
                tell(app, gap, &[format!("It is tried again. {}", error.message)], error.hint).await;
            }
            false
        }
    }
}

async fn ask(app: &Arc<App>, gap: &Gap, part: Handler) -> Result<Missed> {
    let broken = |error: tercel_store::Error| Error::new(Kind::Error, format!("The database does not answer: {error}"));
    let path = match gap.connection.as_str() {
        DEFAULT => format!("/integrations/{}/webhook", gap.integration),
        other => format!("/integrations/{}/c/{other}/webhook", gap.integration),
    };
    let question = tercel_sdk::Gap {
        since: gap.since / 1_000_000,
        until: gap.up_to / 1_000_000,
        webhook: format!("{}{path}", app.config.base_url.as_deref().unwrap_or_default().trim_end_matches('/')),
        places: app.store.places(&gap.integration, PLACES).await.map_err(broken)?,
    };
    let call = Call { timeout: Some(LIMIT), cancel: app.stopping.clone(), ..Call::default() };
    let host = app.host(&gap.integration, &gap.connection, call);
    let host = host.ok_or_else(|| Error::not_configured("The connection is gone"))?;
    let given = serde_json::to_value(question)?;
    let asked = async move { part(host, given.into()).await };
    let catalog = app.catalog();
    let what = format!("The look for what `{}` sent meanwhile", gap.integration);
    let answer = within(LIMIT, &what, Kind::Timeout, asked).await;
    Ok(serde_json::from_value(catalog.redactor.json(answer.map_err(|error| catalog.redactor.error(error))?))?)
}

async fn take(app: &Arc<App>, gap: &Gap, news: Vec<tercel_sdk::News>) -> bool {
    for news in news {
        match app.store.accept(webhook::polled(app, &gap.integration, &gap.connection, news)).await {
            Ok(accepted) => polls::note(app, &gap.integration, &[accepted]).await,
            Err(error) => {
                tracing::error!("What was missed cannot be stored: {error}");
                return false;
            }
        }
    }
    true
}

async fn close(app: &Arc<App>, gap: &Gap) -> bool {
    let closed = app.store.close_gap(gap.clone()).await;
    closed.inspect_err(|error| tracing::error!("A down time cannot be closed: {error}")).is_ok()
}

fn key(gap: &Gap) -> String {
    format!("gap:{}:{}", gap.integration, gap.connection)
}

async fn tell(app: &Arc<App>, gap: &Gap, reasons: &[String], hint: Option<String>) {
    if gap.up_to - gap.since < TOLD {
        return;
    }
    let name = &gap.integration;
    let mut detail = format!("The server was down from {} to {}", rfc3339(gap.since), rfc3339(gap.up_to));
    for reason in reasons.iter().take(SHOWN) {
        detail.push_str(". ");
        detail.push_str(reason);
    }
    if let Some(more) = reasons.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        detail.push_str(&format!(". And {more} more places"));
    }
    let repair = hint
        .unwrap_or_else(|| "Look there for what was not delivered and have it sent again; dismiss this notice".into());
    app.raise(NewNotice {
        key: key(gap),
        severity: "warning",
        title: format!("What `{name}` sent while the server was down may be missing"),
        detail,
        repair: Some(repair),
    })
    .await;
}
