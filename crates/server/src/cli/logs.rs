//! `tercel logs`: what an integration did lately and what its code printed, a line each.

use super::{
    client::{self, Client},
    terminal::{harmless, say},
};
use crate::config::Config;
use anyhow::{Result, bail};
use serde_json::Value;
use std::{collections::HashSet, process::ExitCode, time::Duration};
use tercel_sdk::text::cut;

const PAUSE: Duration = Duration::from_secs(1);
/// As many as one answer of the API holds.
const MOST: usize = 500;

#[derive(clap::Args)]
pub struct Arguments {
    /// Its name
    integration: String,
    /// How many lines
    #[arg(short = 'n', default_value_t = 50, value_name = "LINES")]
    lines: usize,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let client = match client::connect(&config).await {
        Some(client) => client,
        None if arguments.follow => {
            bail!("No server runs on {}: there is nothing to follow", config.data_dir.display())
        }
        None => client::open_with_folders(config).await?,
    };
    let outcome = tokio::select! {
        outcome = show(&client, &arguments) => outcome,
        _ = tokio::signal::ctrl_c(), if arguments.follow => Ok(()),
    };
    client.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn show(client: &Client, arguments: &Arguments) -> Result<()> {
    let name = arguments.integration.as_str();
    known(client, name).await?;
    let lines = lately(client, name, arguments.lines).await?;
    if lines.is_empty() && !arguments.follow {
        return Ok(say(&format!("`{name}` has done nothing yet."))?);
    }
    let mut shown = HashSet::new();
    for line in lines {
        say(&line.to_string())?;
        shown.insert(line);
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        // More than a second brings: what came between two looks is shown, too.
        for line in lately(client, name, MOST.min(arguments.lines.max(100))).await? {
            if newer(&shown, &line) {
                say(&line.to_string())?;
                shown.insert(line);
            }
        }
    }
}

/// Whether a line is new, rather than older than all that was asked for.
fn newer(shown: &HashSet<Line>, line: &Line) -> bool {
    !shown.contains(line) && shown.iter().map(|shown| &shown.time).min().is_none_or(|oldest| line.time >= *oldest)
}

async fn known(client: &Client, name: &str) -> Result<()> {
    let all = client.get("/api/v1/admin/integrations").await?;
    let ids: Vec<&str> =
        all["integrations"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    if ids.contains(&name) {
        return Ok(());
    }
    bail!("There is no integration `{name}`; there are: {}", ids.join(", "))
}

/// The newest `most` lines, oldest first.
async fn lately(client: &Client, name: &str, most: usize) -> Result<Vec<Line>> {
    let limit = most.clamp(1, MOST);
    let deliveries = client.get(&format!("/api/v1/deliveries?integration={name}&limit={limit}")).await?;
    let tasks = client.get(&format!("/api/v1/tasks?limit={MOST}")).await?;
    let outbox = client.get(&format!("/api/v1/outbox?limit={MOST}")).await?;
    let rows = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let mut lines: Vec<Line> = rows(&deliveries).iter().map(Line::of_delivery).collect();
    lines.extend(rows(&tasks).iter().filter(|task| task["origin"] == name).map(Line::of_task));
    lines.extend(rows(&outbox).iter().filter(|row| row["dispatch_type"] == name).map(Line::of_outbox));
    let printed = client.get(&format!("/api/v1/admin/integrations/{name}/logs")).await?;
    lines.extend(rows(&printed["lines"]).iter().map(Line::of_print));
    lines.sort();
    Ok(lines.split_off(lines.len().saturating_sub(most)))
}

/// A new state of the same thing is a new line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Line {
    time: String,
    kind: &'static str,
    what: String,
    outcome: String,
    reason: String,
    id: String,
}

impl Line {
    fn of_delivery(row: &Value) -> Self {
        let outcome = row["outcome"].as_str().or(row["state"].as_str()).unwrap_or_default();
        Self::new(&row["received_at"], "delivery", text(&row["event"]), outcome, text(&row["reason"]), &row["id"])
    }

    fn of_task(row: &Value) -> Self {
        let time = [&row["completed_at"], &row["started_at"], &row["created_at"]].into_iter().find(|at| !at.is_null());
        let status = row["status"].as_str().unwrap_or_default();
        let rehearsed = if row["rehearsal"] == true { " (rehearsal)" } else { "" };
        let what = format!("bot {}{rehearsed}", text(&row["bot_id"]));
        Self::new(time.unwrap_or(&Value::Null), "task", what, status, failure(&row["error"]), &row["id"])
    }

    fn of_outbox(row: &Value) -> Self {
        let time = [&row["ended_at"], &row["created_at"]].into_iter().find(|at| !at.is_null()).unwrap_or(&Value::Null);
        let what = format!("part {} of {}", row["part"], row["parts"]);
        Self::new(time, "outbox", what, row["state"].as_str().unwrap_or_default(), failure(&row["error"]), &row["id"])
    }

    fn of_print(row: &Value) -> Self {
        Self::new(&row["at"], "print", text(&row["text"]), "", String::new(), &Value::Null)
    }

    fn new(time: &Value, kind: &'static str, what: String, outcome: &str, reason: String, id: &Value) -> Self {
        Self { time: text(time), kind, what, outcome: outcome.into(), reason, id: text(id) }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { time, kind, what, outcome, reason, id } = self;
        // Without the microseconds.
        let time = time.split('.').next().unwrap_or_default().replace('T', " ");
        let line = format!("{time}  {kind:8}  {what:32}  {outcome:10}  {id}  {reason}");
        f.write_str(harmless(&line.replace('\n', " ")).trim_end())
    }
}

fn failure(error: &Value) -> String {
    cut(error["message"].as_str().or(error.as_str()).unwrap_or_default(), 200)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(status: &str, completed_at: Value) -> Value {
        json!({"id": "t1", "origin": "x", "bot_id": "default", "status": status, "rehearsal": true,
               "created_at": "2026-01-01T00:00:01.000000Z", "started_at": null, "completed_at": completed_at,
               "error": if status == "failed" { json!({"code": "auth", "message": "No\nkey"}) } else { Value::Null }})
    }

    #[test]
    fn a_line_says_when_what_how_and_why() {
        let delivery = json!({"id": "d1", "event": "push", "state": "processed", "outcome": "ignored",
                              "reason": "nothing to do", "received_at": "2026-01-01T00:00:00.123456Z"});
        let outbox = json!({"id": "o1", "part": 1, "parts": 2, "state": "dead", "created_at": "2026-01-01T00:00:03.000000Z",
                            "ended_at": null, "error": {"message": "Gone"}});
        let lines = [
            Line::of_delivery(&delivery),
            Line::of_task(&task("failed", json!("2026-01-01T00:00:02.000000Z"))),
            Line::of_outbox(&outbox),
            Line::of_print(&json!({"at": "2026-01-01T00:00:04.000000Z", "text": "hello"})),
        ];
        let shown: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "2026-01-01 00:00:00  delivery  push                              ignored     d1  nothing to do",
                "2026-01-01 00:00:02  task      bot default (rehearsal)           failed      t1  No key",
                "2026-01-01 00:00:03  outbox    part 1 of 2                       dead        o1  Gone",
                "2026-01-01 00:00:04  print     hello",
            ]
        );
    }

    #[test]
    fn a_new_state_is_a_new_line_and_old_ones_stay_away() {
        let shown = HashSet::from([Line::of_task(&task("pending", Value::Null))]);
        assert!(!newer(&shown, &Line::of_task(&task("pending", Value::Null))));
        assert!(newer(&shown, &Line::of_task(&task("complete", json!("2026-01-01T00:00:02.000000Z")))));
        assert!(!newer(&shown, &Line::of_task(&task("complete", json!("2025-01-01T00:00:00.000000Z")))));
    }
}
