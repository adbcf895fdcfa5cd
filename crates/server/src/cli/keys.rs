//! `tercel keys`: making, listing and revoking API keys.

use super::{
    client::{self, Client},
    terminal::say,
};
use crate::config::Config;
use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::process::ExitCode;

const ALL: &str = "/api/v1/keys?limit=500";

#[derive(Subcommand)]
pub enum Command {
    /// Make a key; it is shown once
    Create {
        /// What tells this key from others
        name: String,
        /// What it may do: `admin`, or `<resource>:<read|write>` such as `tasks:read`; can be given several times
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the keys
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key worthless
    Revoke {
        /// Its id, or the first characters that `list` shows
        key: String,
    },
    /// Replace the key that secrets are sealed with, and seal everything anew
    RotateSeal,
}

pub async fn run(config: Config, command: Command) -> Result<ExitCode> {
    let client = client::open(config).await?;
    let outcome = match command {
        Command::Create { name, scopes, json } => create(&client, &name, &scopes, json).await,
        Command::List { json } => list(&client, json).await,
        Command::Revoke { key } => revoke(&client, &key).await,
        Command::RotateSeal => rotate_seal(&client).await,
    };
    client.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn create(client: &Client, name: &str, scopes: &[String], json: bool) -> Result<()> {
    let made = client.post("/api/v1/keys", &json!({"name": name, "scopes": scopes})).await?;
    if json {
        return Ok(say(&format!("{made:#}"))?);
    }
    say(&format!("The key `{name}` may: {}. Keep it: it is not shown again.", scopes.join(", ")))?;
    Ok(say(made["key"].as_str().unwrap_or_default())?)
}

async fn list(client: &Client, json: bool) -> Result<()> {
    let keys = client.list(ALL).await?;
    if json {
        return Ok(say(&format!("{:#}", Value::Array(keys)))?);
    }
    if keys.is_empty() {
        return Ok(say("There are no keys. `tercel keys create me --scope admin` makes one.")?);
    }
    Ok(say(&table(&keys))?)
}

async fn revoke(client: &Client, named: &str) -> Result<()> {
    let keys = client.list(ALL).await?;
    let key = find(&keys, named)?;
    let id = key["id"].as_str().unwrap_or_default();
    client.delete(&format!("/api/v1/keys/{id}")).await?;
    Ok(say(&format!("The key `{}` ({id}) is worth nothing any more.", key["name"].as_str().unwrap_or_default()))?)
}

async fn rotate_seal(client: &Client) -> Result<()> {
    let done = client.post("/api/v1/keys/rotate-seal", &json!({})).await?;
    let (count, key) = (&done["renewed"], done["key"].as_str().unwrap_or_default());
    let left = "The key before it is removed at the next start of the server. Backups that were made before do not need it: \
                each has its own, sealed to its passphrase.";
    Ok(say(&format!("{count} values are sealed with the new key {key}. {left}"))?)
}

/// The one key that an id or a prefix means. Of keys with the same beginning, those that still count are meant.
fn find<'k>(keys: &'k [Value], named: &str) -> Result<&'k Value> {
    let text = |key: &Value, field: &str| key[field].as_str().unwrap_or_default().to_owned();
    if let Some(key) = keys.iter().find(|key| text(key, "id") == named) {
        return Ok(key);
    }
    let begins = |key: &&Value| {
        !named.is_empty() && (text(key, "prefix").starts_with(named) || text(key, "id").starts_with(named))
    };
    match &keys.iter().filter(|key| key["revoked_at"].is_null()).filter(begins).collect::<Vec<_>>()[..] {
        [key] => Ok(key),
        [] => bail!("There is no key `{named}`; `tercel keys list` shows them"),
        several => bail!("{} keys begin with `{named}`; give more of it, or the id", several.len()),
    }
}

fn table(keys: &[Value]) -> String {
    let row = |key: &Value| {
        let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
        let scopes =
            key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        let revoked = key["revoked_at"].as_str().map(|at| format!("revoked {}", day(at))).unwrap_or_default();
        [text("id"), format!("{}…", text("prefix")), text("name"), scopes, day(&text("created_at")), revoked]
    };
    let head = ["ID", "BEGINS", "NAME", "MAY", "MADE", ""].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(keys.iter().map(row)).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn day(time: &str) -> String {
    time.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Value> {
        let key = |id: &str, prefix: &str, revoked: Value| {
            json!({"id": id, "prefix": prefix, "name": "ci", "scopes": ["tasks:read", "bots:read"],
                   "created_at": "2026-01-02T03:04:05.000000Z", "revoked_at": revoked})
        };
        vec![
            key("0190-1", "tk_ab", Value::Null),
            key("0190-2", "tk_ac", Value::Null),
            key("0190-3", "tk_ad", json!("2026-02-03T00:00:00.000000Z")),
        ]
    }

    #[test]
    fn a_key_is_meant_by_its_id_or_by_enough_of_its_beginning() {
        let keys = keys();
        let found = |named: &str| find(&keys, named).map(|key| key["id"].clone()).map_err(|error| error.to_string());
        assert_eq!(found("tk_ab"), Ok(json!("0190-1")));
        assert_eq!(found("0190-3"), Ok(json!("0190-3")), "a revoked one has only its id");
        assert!(found("tk_a").unwrap_err().starts_with("2 keys"));
        assert!(found("tk_ad").unwrap_err().contains("tercel keys list"));
        assert!(found("").is_err());
    }

    #[test]
    fn keys_are_listed_in_columns() {
        let expected = "\
ID      BEGINS  NAME  MAY                   MADE
0190-1  tk_ab…  ci    tasks:read bots:read  2026-01-02
0190-2  tk_ac…  ci    tasks:read bots:read  2026-01-02
0190-3  tk_ad…  ci    tasks:read bots:read  2026-01-02  revoked 2026-02-03";
        assert_eq!(table(&keys()), expected);
    }
}
