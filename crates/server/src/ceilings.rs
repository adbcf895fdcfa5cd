//! What one place, one integration and the whole server may spend.

use crate::{app::App, config::Ceilings, queue::patiently};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tercel_sdk::{Error, Kind};
use tercel_store::{Ceiling, NewNotice, Task, now};

const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;
/// The scope that counts everything.
pub const SERVER: &str = "server";

/// Scopes whose notice is open.
#[derive(Default)]
pub struct Reached(Mutex<HashSet<String>>);

/// The counters of a run, with their limits.
pub fn of_run(app: &App, origin: &str, client_id: &str) -> Vec<Ceiling> {
    let Ceilings { runs_per_integration_and_day, runs_per_channel_and_hour, tokens_per_day } = app.config.ceilings;
    let limit = |n: i64| (n > 0).then_some(n);
    let hour = now() / HOUR;
    // Strangers come through integrations; who holds an API key is the operator.
    let runs_per_integration_and_day = match app.catalog().integrations.contains_key(origin) {
        true => runs_per_integration_and_day,
        false => 0,
    };
    vec![
        Ceiling {
            scope: format!("integration:{origin}"),
            bucket: hour / 24,
            runs: limit(runs_per_integration_and_day),
            tokens: None,
        },
        Ceiling {
            scope: format!("channel:{client_id}"),
            bucket: hour,
            runs: limit(runs_per_channel_and_hour),
            tokens: None,
        },
        Ceiling { scope: SERVER.into(), bucket: hour / 24, runs: None, tokens: limit(tokens_per_day) },
    ]
}

/// Where the tokens of a run are counted.
pub fn scopes(origin: &str, client_id: &str) -> Vec<(String, i64)> {
    let hour = now() / HOUR;
    vec![
        (format!("integration:{origin}"), hour / 24),
        (format!("channel:{client_id}"), hour),
        (SERVER.into(), hour / 24),
    ]
}

/// Why a run has to wait for the next day: what was accepted before the ceiling was reached must not go far beyond it.
pub async fn out_of_tokens(app: &App, task: &Task) -> tercel_store::Result<Option<Error>> {
    if task.rehearse { Ok(None) } else { spent(app).await }
}

/// Why nothing may be spent any more today.
pub async fn spent(app: &App) -> tercel_store::Result<Option<Error>> {
    let limit = app.config.ceilings.tokens_per_day;
    if limit <= 0 {
        return Ok(None);
    }
    let (_, spent) = patiently("Reading what was spent", || app.store.usage(SERVER, now() / DAY)).await?;
    Ok((spent >= limit).then(|| {
        Error::new(Kind::RateLimited, format!("The server has spent {spent} tokens today; {limit} are allowed"))
            .hint("The run goes on tomorrow (UTC). TERCEL_TOKENS_PER_DAY sets the ceiling, 0 lifts it")
            .retry_after(Some(left(DAY)))
    }))
}

/// What is left of the window of that length.
fn left(window: i64) -> Duration {
    Duration::from_micros((window - now() % window).unsigned_abs())
}

/// Says once in a window that runs are not made, and what lifts the ceiling; takes it back when the window ends.
pub async fn report(app: &Arc<App>, scope: &str) {
    if !app.ceilings.0.lock().expect("no holder of this lock panics").insert(scope.to_owned()) {
        return;
    }
    let (what, setting, window) = match scope.split_once(':') {
        Some(("integration", name)) => (format!("`{name}` has had its runs for today"), "TERCEL_RUNS_PER_DAY", DAY),
        Some(("channel", id)) => (format!("`{id}` has had its runs for this hour"), "TERCEL_RUNS_PER_HOUR", HOUR),
        _ => ("The server has spent its tokens for today".to_owned(), "TERCEL_TOKENS_PER_DAY", DAY),
    };
    let key = format!("ceiling:{scope}");
    let notice = NewNotice {
        key: key.clone(),
        severity: "warning",
        title: "A ceiling is reached".into(),
        detail: format!("{what}: messages are kept and not answered"),
        repair: Some(format!("Raise {setting} (0 lifts it) and restart, or wait")),
    };
    app.raise(notice).await;
    let (app, scope) = (app.clone(), scope.to_owned());
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(left(window)) => {}
            () = app.stopping.cancelled() => return,
        }
        app.ceilings.0.lock().expect("no holder of this lock panics").remove(&scope);
        app.close_notice(&key).await;
    });
}
