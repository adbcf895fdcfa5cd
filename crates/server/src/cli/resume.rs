//! `tercel resume`: what would leave a server that is held, and letting it go on.

use super::{
    client,
    terminal::{harmless, say},
};
use crate::config::Config;
use anyhow::Result;
use serde_json::{Value, json};
use std::{
    io::{IsTerminal, Write, stdin, stdout},
    process::ExitCode,
};

/// What is listed of each kind.
const LISTED: usize = 20;

#[derive(clap::Args)]
pub struct Arguments {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let client = client::open(config).await?;
    let outcome = ask(&client, arguments.yes).await;
    client.close().await;
    outcome
}

async fn ask(client: &client::Client, yes: bool) -> Result<ExitCode> {
    let held = client.get("/api/v1/held").await?;
    if held["held"] != true {
        say("The server is not held")?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&harmless(&describe(&held)))?;
    if !yes && !agrees()? {
        say("Nothing was changed. `tercel resume --yes` goes on without asking")?;
        return Ok(ExitCode::FAILURE);
    }
    client.post("/api/v1/held/resume", &json!({})).await?;
    say("The server goes on")?;
    Ok(ExitCode::SUCCESS)
}

fn agrees() -> Result<bool> {
    if !stdin().is_terminal() {
        return Ok(false);
    }
    print!("Go on? [y/N] ");
    stdout().flush()?;
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn describe(held: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("Held since {}: {}.", text(&held["since"]), text(&held["reason"])), String::new()];
    lines.push(format!("Answers that would be sent: {}", held["answers"]));
    let list = |key: &str| held[key].as_array().cloned().unwrap_or_default().into_iter().take(LISTED);
    for row in list("next_answers") {
        let mark = if row["rehearse"] == true { " (a rehearsal's: shown, not sent)" } else { "" };
        let first = text(&row["text"]).lines().next().unwrap_or_default().chars().take(70).collect::<String>();
        lines.push(format!("  {}  by {}{mark}: {first}", text(&row["created_at"]), text(&row["dispatch_type"])));
    }
    lines.push(format!("Runs that would go on: {}", held["runs"]));
    for row in list("next_runs") {
        lines.push(format!("  {}  {} for {}", text(&row["created_at"]), text(&row["bot_id"]), text(&row["origin"])));
    }
    let syncs: Vec<Value> = list("next_syncs").collect();
    if !syncs.is_empty() {
        lines.push(format!("Syncs of records that would go on: {}", syncs.len()));
    }
    for row in syncs {
        let place = format!("{}/{}", text(&row["integration"]), text(&row["connection"]));
        lines.push(format!("  {}  {} to {place}", text(&row["created_at"]), text(&row["collection"])));
    }
    lines.push(String::new());
    lines.push(
        "What left after the backup was made may be among them. Answers are looked for first where that can be done; runs \
         are not. `POST /api/v1/outbox/{id}/drop` and `POST /api/v1/tasks/{id}/cancel` take single ones out, syncs too."
            .into(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_sent_is_told() {
        let told = describe(&json!({
            "held": true, "since": "2026-01-01T00:00:00Z", "reason": "It was restored", "runs": 1, "answers": 2,
            "next_runs": [{"created_at": "T1", "bot_id": "default", "origin": "api"}],
            "next_answers": [{"created_at": "T2", "dispatch_type": "webhook", "text": "Hello\nthere", "rehearse": false}],
            "next_syncs": [{"created_at": "T3", "integration": "shelf", "connection": "work", "collection": "jobs"}],
        }));
        assert!(told.contains("Answers that would be sent: 2\n  T2  by webhook: Hello\nRuns that would go on: 1\n  T1  default for api"), "{told}");
        assert!(told.contains("Syncs of records that would go on: 1\n  T3  jobs to shelf/work"), "{told}");
    }
}
