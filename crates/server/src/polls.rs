//! Asking services what is new, where no webhook reaches. What a poll brings and how far it has read are one commit.

use crate::{
    app::{App, Call},
    ceilings, disk,
    part::within,
    succession, webhook,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_sdk::{Cursor, Error, Kind, Polled, Result, erased::Handler};
use tercel_store::{Accepted, NewNotice};
use tokio::task::JoinSet;

/// What one poll may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Failures one after the other until somebody is told.
const PATIENCE: u32 = 3;

/// Integration, connection, name of the poll.
type Key = (String, String, String);

#[derive(Default)]
struct State {
    /// Absent while it is at work, or switched off.
    due: Option<Instant>,
    failures: u32,
    at_work: bool,
    /// It has worked in this process: what was told of it before is over.
    has_worked: bool,
}

/// Polls until the server stops.
pub async fn run_all(app: Arc<App>) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    let mut states: BTreeMap<Key, State> = BTreeMap::new();
    let mut at_work = JoinSet::new();
    loop {
        succession::is_ours(&app).await;
        let all = parts(&app);
        let gone: Vec<Key> =
            states.extract_if(.., |key, state| !all.contains_key(key) && !state.at_work).map(|(key, _)| key).collect();
        for key in gone {
            app.close_notice(&notice(&key)).await;
        }
        let time = Instant::now();
        for (key, (handler, every)) in all {
            let state = states.entry(key.clone()).or_insert_with(|| State { due: Some(time), ..State::default() });
            if state.due.is_some_and(|due| due <= time) {
                *state = State { due: None, at_work: true, ..*state };
                let app = app.clone();
                at_work.spawn(async move {
                    let outcome = poll(&app, &key, handler).await;
                    (key, every, outcome)
                });
            }
        }
        let next = states.values().filter_map(|state| state.due).min();
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.polls.notified() => {
                // What is switched off may be on by now, and what failed may be mended.
                let time = Instant::now();
                for state in states.values_mut().filter(|state| !state.at_work && (state.due.is_none() || state.failures > 0)) {
                    state.due = Some(time);
                }
            }
            () = sleep_until(next) => {}
            Some(Ok((key, every, outcome))) = at_work.join_next() => {
                let before = states.remove(&key).unwrap_or_default();
                let state = after(&app, &key, every, before, outcome).await;
                states.insert(key, state);
            }
        }
    }
}

fn parts(app: &App) -> BTreeMap<Key, (Handler, Duration)> {
    let catalog = app.catalog();
    let mut all = BTreeMap::new();
    for (name, entry) in &catalog.integrations {
        for connection in entry.connections.keys() {
            for poll in &entry.integration.polls {
                let key = (name.clone(), connection.clone(), poll.name.clone());
                all.insert(key, (poll.handler.clone(), poll.every));
            }
        }
    }
    all
}

async fn poll(app: &Arc<App>, (integration, connection, name): &Key, handler: Handler) -> Result<()> {
    if disk::is_full(app) || app.runs.is_backed_up(app).await {
        return Err(
            Error::new(Kind::Network, "Nothing more is taken in for now").retry_after(Some(Duration::from_secs(10)))
        );
    }
    let broken =
        |error: tercel_store::Error| Error::new(Kind::Error, format!("What it brought cannot be stored: {error}"));
    let stored = app.store.polls().await.map_err(broken)?;
    let key = (integration.as_str(), connection.as_str(), name.as_str());
    let bookmark =
        stored.into_iter().find(|row| (row.integration.as_str(), row.connection.as_str(), row.name.as_str()) == key);
    let bookmark = bookmark.and_then(|row| serde_json::from_str::<Cursor>(&row.bookmark).ok()).unwrap_or_default();
    let call = Call { timeout: Some(LIMIT), cancel: app.stopping.clone(), ..Call::default() };
    let host = app
        .host(integration, connection, call)
        .ok_or_else(|| Error::not_configured(format!("There is no connection `{integration}/{connection}`")))?;
    let given = serde_json::to_value(&bookmark)?;
    let asked = async move { handler(host, given.into()).await };
    let catalog = app.catalog();
    let what = format!("The poll `{name}` of `{integration}`");
    let answer = within(LIMIT, &what, Kind::Timeout, asked).await.map_err(|error| catalog.redactor.error(error))?;
    let polled: Polled = serde_json::from_value(catalog.redactor.json(answer))?;
    if polled.news.is_empty() && polled.cursor == bookmark {
        return Ok(());
    }
    let row = tercel_store::Polled {
        integration: integration.clone(),
        connection: connection.clone(),
        name: name.clone(),
        bookmark: serde_json::to_string(&polled.cursor)?,
        accepts: polled.news.into_iter().map(|news| webhook::polled(app, integration, connection, news)).collect(),
    };
    let accepted = app.store.polled(row).await.map_err(broken)?;
    note(app, integration, &accepted).await;
    Ok(())
}

/// Counts what came, and tells of ceilings that refused its runs.
pub async fn note(app: &Arc<App>, integration: &str, accepted: &[Accepted]) {
    let mut full = BTreeMap::new();
    for answer in accepted {
        let outcome = match answer {
            Accepted::New(placed) => {
                let ceilings = placed.iter().filter_map(|row| row.full.as_ref());
                full.extend(ceilings.map(|ceiling| (ceiling.scope.as_str(), ceiling)));
                "new"
            }
            Accepted::Duplicate(_) => "duplicate",
        };
        metrics::counter!("tercel_news_total", "integration" => integration.to_owned(), "outcome" => outcome)
            .increment(1);
    }
    for ceiling in full.into_values() {
        ceilings::report(app, ceiling).await;
    }
}

/// When to poll again, and whom to tell.
async fn after(app: &Arc<App>, key: &Key, every: Duration, before: State, outcome: Result<()>) -> State {
    let (integration, _, _) = key;
    let notice = notice(key);
    let counted = outcome.as_ref().map_or_else(|error| error.kind.as_str(), |()| "ok");
    metrics::counter!("tercel_polls_total", "integration" => integration.clone(), "outcome" => counted).increment(1);
    let error = match outcome {
        Ok(()) => {
            if before.failures > 0 || !before.has_worked {
                app.close_notice(&notice).await;
            }
            return State { due: Some(Instant::now() + every), has_worked: true, ..State::default() };
        }
        Err(error) if error.kind == Kind::NotConfigured => {
            app.close_notice(&notice).await;
            return State::default();
        }
        Err(error) => error,
    };
    let failures = before.failures + 1;
    tracing::warn!(poll = notice, "The poll failed for the {failures}. time: {error}");
    let is_final = matches!(error.kind, Kind::Auth | Kind::Forbidden | Kind::NotFound | Kind::Schema);
    if failures == PATIENCE || (is_final && failures == 1) {
        let repair = error.hint.clone();
        let title = format!("`{integration}` cannot be asked what is new");
        app.raise(NewNotice { key: notice, severity: "error", title, detail: error.message.clone(), repair }).await;
    }
    let pause = pause(every, failures, error.retry_after);
    State { due: Some(Instant::now() + pause), failures, ..before }
}

/// Twice as long after each failure, up to an hour; or what the service asked for.
fn pause(every: Duration, failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = every.saturating_mul(2_u32.saturating_pow(failures.min(10))).min(LONGEST.max(every));
    asked.unwrap_or(doubled).max(Duration::from_secs(1))
}

fn notice((integration, connection, name): &Key) -> String {
    format!("poll:{integration}:{connection}:{name}")
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_the_pauses_double_up_to_an_hour_and_obey_the_service() {
        let seconds = |every, failures, asked: Option<u64>| {
            pause(Duration::from_secs(every), failures, asked.map(Duration::from_secs)).as_secs()
        };
        assert_eq!([1, 2, 3, 4].map(|failures| seconds(60, failures, None)), [120, 240, 480, 960]);
        assert_eq!((seconds(60, 9, None), seconds(60, 4_000_000_000, None)), (3_600, 3_600));
        assert_eq!(seconds(86_400, 1, None), 86_400, "never more often than it is asked when it works");
        assert_eq!((seconds(60, 5, Some(7)), seconds(0, 1, None), seconds(60, 1, Some(0))), (7, 1, 1));
    }
}
