//! `tercel integrations`: what is connected, and what is done about it.

use super::{
    client::{self, Client},
    terminal::say,
};
use crate::config::Config;
use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum Command {
    /// List the integrations and how they stand
    List,
    /// Store what an integration sends and run nothing of it
    Pause {
        /// As `list` shows it
        name: String,
    },
    /// Let an integration go on with what was stored meanwhile
    Resume {
        /// As `list` shows it
        name: String,
    },
    /// Switch an integration on again
    Enable {
        /// As `list` shows it
        name: String,
    },
    /// Switch an integration off: nothing of it is used, its settings stay
    Disable {
        /// As `list` shows it
        name: String,
    },
    /// Let what lies in the workspace now run
    Approve {
        /// As `list` shows it
        name: String,
    },
    /// Show the process of an integration, or do something about it
    Process {
        /// As `list` shows it
        name: String,
        #[arg(value_enum, default_value = "show")]
        what: What,
    },
    /// Forget the settings of an integration whose folder is gone
    Remove {
        /// As `list` shows it
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// How it is
    Show,
    Start,
    /// Until it is started, or the server is
    Stop,
    Restart,
    /// What it printed lately
    Logs,
    /// Start it by itself, from now on
    Auto,
    /// Start it by hand only, from now on
    Manual,
}

pub async fn run(config: Config, command: Command) -> Result<ExitCode> {
    let client = client::open_with_folders(config).await?;
    let outcome = match command {
        Command::List => list(&client).await,
        Command::Pause { name } => {
            let words = "is paused: what it sends is stored. `tercel integrations resume` runs it";
            change(&client, &name, "pause", words).await
        }
        Command::Resume { name } => change(&client, &name, "resume", "goes on with what was stored").await,
        Command::Enable { name } => change(&client, &name, "enable", "is switched on").await,
        Command::Disable { name } => {
            let words = "is switched off: its settings stay, and what leaves by it waits";
            change(&client, &name, "disable", words).await
        }
        Command::Approve { name } => change(&client, &name, "approve", "is approved as it is now").await,
        Command::Process { name, what } => process(&client, &name, what).await,
        Command::Remove { name } => remove(&client, &name).await,
    };
    client.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn list(client: &Client) -> Result<()> {
    let answer = client.get("/api/v1/admin/integrations").await?;
    Ok(say(&lines(answer["integrations"].as_array().map(Vec::as_slice).unwrap_or_default()))?)
}

async fn change(client: &Client, name: &str, what: &str, words: &str) -> Result<()> {
    client.post(&format!("/api/v1/admin/integrations/{name}/{what}"), &json!({})).await?;
    Ok(say(&format!("`{name}` {words}."))?)
}

async fn remove(client: &Client, name: &str) -> Result<()> {
    let answer = client.delete(&format!("/api/v1/admin/integrations/{name}")).await?;
    let gone = answer["removed"].as_object().into_iter().flatten();
    let gone: Vec<String> = gone.map(|(what, count)| format!("{count} of {what}")).collect();
    let kept = "Conversations, deliveries and documents stay.";
    Ok(say(&format!("`{name}` is forgotten: {}. {kept}", gone.join(", ")))?)
}

async fn process(client: &Client, name: &str, what: What) -> Result<()> {
    let path = format!("/api/v1/admin/integrations/{name}/process");
    let answer = match what {
        What::Show => client.get(&path).await?,
        What::Start => client.post(&format!("{path}/start"), &json!({})).await?,
        What::Stop => client.post(&format!("{path}/stop"), &json!({})).await?,
        What::Restart => client.post(&format!("{path}/restart"), &json!({})).await?,
        What::Auto | What::Manual => {
            client.put(&format!("{path}/auto-start"), &json!({"auto_start": what == What::Auto})).await?
        }
        What::Logs => {
            let log = client.get(&format!("{path}/logs")).await?;
            let lines = log["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
            let line = |line: &Value| {
                let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                format!("{}  {}", text("at"), text("text"))
            };
            return Ok(say(&lines.iter().map(line).collect::<Vec<_>>().join("\n"))?);
        }
    };
    Ok(say(&standing(name, &answer))?)
}

fn standing(name: &str, process: &Value) -> String {
    let pid = process["pid"].as_u64().map(|pid| format!(" ({pid})")).unwrap_or_default();
    let why = process["reason"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    let by_hand = if process["auto_start"] == false { ". It is started by hand only" } else { "" };
    format!("The process of `{name}` is {}{pid}{why}{by_hand}", process["status"].as_str().unwrap_or_default())
}

fn lines(all: &[Value]) -> String {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let width = all.iter().map(|one| text(one, "id").chars().count()).max().unwrap_or_default();
    let line = |one: &Value| {
        let why = one["error"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        let lacks: Vec<&str> = one["lacks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let lacks = if lacks.is_empty() { String::new() } else { format!(", lacks {}", lacks.join("; ")) };
        format!("{:width$}  {}{why}{lacks}", text(one, "id"), text(one, "status"))
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_an_integration_stands_and_why() {
        let all = [
            json!({"id": "forge", "status": "paused", "error": null}),
            json!({"id": "a", "status": "error", "error": "Its name is taken"}),
        ];
        assert_eq!(lines(&all), "forge  paused\na      error: Its name is taken");
    }

    #[test]
    fn a_process_is_told_in_one_line() {
        let running = json!({"status": "running", "pid": 7, "reason": null, "auto_start": true});
        assert_eq!(standing("forge", &running), "The process of `forge` is running (7)");
        let failing = json!({"status": "failing", "pid": null, "reason": "It ended with code 3", "auto_start": false});
        let told = "The process of `forge` is failing: It ended with code 3. It is started by hand only";
        assert_eq!(standing("forge", &failing), told);
    }
}
