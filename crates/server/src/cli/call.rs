//! `tercel call`: one tool, once, by hand.

use super::{
    client::{self, Client},
    terminal::say,
};
use crate::config::Config;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    /// Its name
    tool: String,
    /// Its arguments, a JSON object
    #[arg(default_value = "{}")]
    arguments: String,
    /// Which of several connections is used; the usual one when absent
    #[arg(long)]
    connection: Option<String>,
    /// Say yes to a tool that changes something
    #[arg(long)]
    yes: bool,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let given = tercel_agent::arguments::parse(&arguments.arguments).map_err(anyhow::Error::msg)?;
    let client = client::open_with_folders(config).await?;
    let outcome = call(&client, &arguments, given).await;
    client.close().await;
    let result = outcome?;
    let shown = result.as_str().map_or_else(|| format!("{result:#}"), |text| json!(text).to_string());
    say(&shown)?;
    Ok(ExitCode::SUCCESS)
}

async fn call(client: &Client, arguments: &Arguments, given: Value) -> Result<Value> {
    let name = &arguments.tool;
    let tools = client.list("/api/v1/tools?limit=500").await?;
    // A name that is not there is left to the server: it names the nearest.
    if let Some(tool) = tools.iter().find(|tool| tool["name"] == name.as_str()) {
        consent(name, tool["effect"].as_str().unwrap_or("write"), arguments.yes)?;
    }
    let segment: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let body = json!({"arguments": given, "connection": arguments.connection});
    let answer = client.post(&format!("/api/v1/tools/{segment}/call"), &body).await?;
    outcome(&answer)
}

/// What changes something needs a word from the person.
fn consent(name: &str, effect: &str, yes: bool) -> Result<()> {
    match effect {
        "read" => Ok(()),
        _ if yes => Ok(()),
        "destroy" => bail!("`{name}` removes something for good: add --yes if that is meant"),
        _ => bail!("`{name}` changes something: add --yes if that is meant"),
    }
}

/// The result, or what the tool said instead.
fn outcome(answer: &Value) -> Result<Value> {
    if answer["ok"] == true {
        return Ok(answer["result"].clone());
    }
    let error = &answer["error"];
    let message = error["message"].as_str().unwrap_or("The tool failed and did not say why");
    let code = error["code"].as_str().unwrap_or("error");
    match error["hint"].as_str() {
        Some(hint) => bail!("{message} ({code})\n{hint}"),
        None => bail!("{message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_needs_no_word() {
        assert!(consent("look", "read", false).is_ok() && consent("post", "write", true).is_ok());
        assert!(consent("post", "write", false).unwrap_err().to_string().contains("--yes"));
        assert!(consent("wipe", "destroy", false).unwrap_err().to_string().contains("for good"));
    }

    #[test]
    fn a_failed_call_says_why_and_what_to_do() {
        let failed = json!({"ok": false, "error": {"code": "auth", "message": "No", "hint": "Make a new token"}});
        assert_eq!(outcome(&failed).unwrap_err().to_string(), "No (auth)\nMake a new token");
        assert_eq!(outcome(&json!({"ok": true, "result": {"a": 1}})).unwrap(), json!({"a": 1}));
    }
}
