//! What one place, one integration and the whole server may spend.

use crate::{app::App, config::Ceilings};
use tercel_store::{Ceiling, NewNotice, now};

const HOUR: i64 = 3_600_000_000;

/// The counters of a run, with their limits.
pub fn of_run(app: &App, origin: &str, client_id: &str) -> Vec<Ceiling> {
    let Ceilings { runs_per_integration_and_day, runs_per_channel_and_hour, tokens_per_day } = app.config.ceilings;
    let limit = |n: i64| (n > 0).then_some(n);
    let hour = now() / HOUR;
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
        Ceiling { scope: "server".into(), bucket: hour / 24, runs: None, tokens: limit(tokens_per_day) },
    ]
}

/// Where the tokens of a run are counted.
pub fn scopes(origin: &str, client_id: &str) -> Vec<(String, i64)> {
    let hour = now() / HOUR;
    vec![
        (format!("integration:{origin}"), hour / 24),
        (format!("channel:{client_id}"), hour),
        ("server".into(), hour / 24),
    ]
}

/// Says that a run was not made, and what lifts the ceiling.
pub async fn report(app: &App, scope: &str) {
    let (what, setting) = match scope.split_once(':') {
        Some(("integration", name)) => (format!("`{name}` has had its runs for today"), "TERCEL_RUNS_PER_DAY"),
        Some(("channel", id)) => (format!("`{id}` has had its runs for this hour"), "TERCEL_RUNS_PER_HOUR"),
        _ => ("The server has spent its tokens for today".to_owned(), "TERCEL_TOKENS_PER_DAY"),
    };
    let notice = NewNotice {
        key: format!("ceiling:{scope}"),
        severity: "warning",
        title: "A ceiling is reached".into(),
        detail: format!("{what}: messages are kept and not answered"),
        repair: Some(format!("Raise {setting} (0 lifts it) and restart, or wait")),
    };
    app.raise(notice).await;
}
