//! What the server counts, as Prometheus reads it.

use super::error::Result;
use crate::{app::App, backup, budgets::Period, ceilings, disk, telemetry};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use std::{collections::BTreeSet, fmt::Write, sync::Arc};
use tercel_store::now;

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn scrape(State(app): State<Arc<App>>) -> Result<Response> {
    let mut text = telemetry::recorder().render();
    let (tasks, oldest_task) = app.store.queue().await?;
    let (outbox, oldest_row) = app.store.outbox_backlog().await?;
    let (database, wal) = app.store.size();
    let left = budgets(&app).await?;
    // A task that is due later is no queue.
    let age = |at: Option<i64>| at.map_or(0.0, |at| (now() - at).max(0) as f64 / 1e6);
    let mut gauge = |name: &str, help: &str, values: &[(&str, f64)]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP tercel_{name} {help}\n# TYPE tercel_{name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "tercel_{name}{labels} {value}");
        }
    };
    let by = |label: &str, known: &[&str], counts: &[(String, i64)]| -> Vec<(String, f64)> {
        let count = |name: &str| counts.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        known.iter().map(|name| (format!("{{{label}=\"{name}\"}}"), count(name) as f64)).collect()
    };
    let tasks = by("status", &["pending", "running", "waiting"], &tasks);
    let outbox = by("state", &["pending", "held", "parked", "dead"], &outbox);
    fn borrowed(values: &[(String, f64)]) -> Vec<(&str, f64)> {
        values.iter().map(|(labels, value)| (labels.as_str(), *value)).collect()
    }
    gauge("tasks", "Tasks that are not over, by status", &borrowed(&tasks));
    gauge("queue_age_seconds", "How long the oldest task that is due has waited", &[("", age(oldest_task))]);
    gauge("runs_open", "Runs that this process has open", &[("", app.runs.open() as f64)]);
    gauge("outbox", "Parts of answers that are not delivered, by state", &borrowed(&outbox));
    gauge("outbox_oldest_seconds", "How long the oldest pending part has waited", &[("", age(oldest_row))]);
    gauge("database_bytes", "Size of the database", &[("", database as f64)]);
    gauge("wal_bytes", "Size of the write-ahead log", &[("", wal as f64)]);
    gauge("writer_lag_seconds", "How long the oldest write has waited", &[("", app.store.writer_lag().as_secs_f64())]);
    gauge(
        "worker",
        "Number of this process among all that ever wrote to the database",
        &[("", app.store.worker() as f64)],
    );
    gauge("stopping", "1 while the server stops", &[("", f64::from(u8::from(app.stopping.is_cancelled())))]);
    gauge(
        "held",
        "1 while runs and answers wait for `tercel resume`",
        &[("", f64::from(u8::from(app.hold.held().is_some())))],
    );
    gauge("budget_left", "What may still be spent today (UTC), where there is a ceiling", &borrowed(&left));
    let free = disk::room(&app.config.data_dir).map_or(f64::NAN, |room| room.free as f64);
    gauge("disk_free_bytes", "What is left on the disk of the data", &[("", free)]);
    let backed_up = backup::last(&app.config.data_dir).map_or(0.0, |last| (last.at / 1_000_000) as f64);
    gauge("last_backup_timestamp_seconds", "When the last backup was made; 0: never", &[("", backed_up)]);
    let open = |state: &str| if state == "closed" { 0.0 } else { 1.0 };
    let providers: Vec<(String, f64)> =
        app.providers.all().iter().map(|one| (format!("{{provider=\"{}\"}}", one.id), open(one.health().0))).collect();
    gauge("provider_open", "Whether a model provider is left alone for now", &borrowed(&providers));
    gauge("uptime_seconds", "Time since the start", &[("", app.started.elapsed().as_secs_f64())]);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// What today's ceilings leave: of the server, of each integration, and of whatever has a budget of its own.
async fn budgets(app: &App) -> Result<Vec<(String, f64)>> {
    let (rules, hour) = (app.ceilings.rules(), ceilings::this_hour());
    let mut scopes: BTreeSet<String> =
        app.catalog().integrations.keys().map(|name| format!("integration:{name}")).collect();
    scopes.extend(rules.all().iter().filter(|limit| !limit.scope.ends_with(":*")).map(|limit| limit.scope.clone()));
    let mut left = Vec::new();
    for scope in scopes {
        for limit in rules.of(&scope, true).filter(|limit| limit.period == Period::Day) {
            let spent = app.store.spent(&scope, limit.period.since(hour)).await?;
            let dollars = |cost: i64| cost as f64 / 1e6;
            let all = [
                ("runs", limit.runs.map(|n| (n - spent.runs) as f64)),
                ("tokens", limit.tokens.map(|n| (n - spent.tokens()) as f64)),
                ("usd", limit.cost.map(|n| dollars(n - spent.cost))),
            ];
            for (unit, rest) in all {
                left.extend(rest.map(|rest| (format!("{{scope={scope:?},unit=\"{unit}\"}}"), rest.max(0.0))));
            }
        }
    }
    Ok(left)
}
