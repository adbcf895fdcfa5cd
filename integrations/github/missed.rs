//! Deliveries that GitHub could not make while the server was down: found in its list, and asked for again.

use super::{
    client::{self, GitHub},
    repo::Repo,
};
use chrono::DateTime;
use serde::Deserialize;
use std::collections::BTreeMap;
use tercel_sdk::{Error, Gap, Kind, Missed, Result};

/// Pages of deliveries of one webhook that are read.
const PAGES: u32 = 20;
/// Clocks differ, and the end of a process is not known to the second.
const SLACK: i64 = 120;

#[derive(Deserialize)]
struct Hook {
    id: u64,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize, Default)]
struct Config {
    #[serde(default)]
    url: String,
}

#[derive(Deserialize)]
struct Delivery {
    id: u64,
    guid: String,
    delivered_at: String,
    #[serde(default)]
    status_code: u16,
}

/// What is delivered again has the id it had: what was taken after all is a duplicate.
pub async fn missed(github: GitHub, gap: Gap) -> Result<Missed> {
    github.host().field("token")?;
    let mut missed = Missed::default();
    let repos = gap.places.iter().filter_map(|place| place.strip_prefix("github:")?.parse::<Repo>().ok());
    for repo in repos {
        match redeliver(&github, &repo, &gap).await {
            Ok(count) => missed.asked_again += count,
            Err(error) if matches!(error.kind, Kind::Forbidden | Kind::NotFound) => {
                missed.unknown.push(refused(&repo, &error))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(missed)
}

fn refused(repo: &Repo, error: &Error) -> String {
    format!(
        "`{repo}`: {}. The token needs the permission Webhooks: read and write to have deliveries sent again",
        error.message
    )
}

async fn redeliver(github: &GitHub, repo: &Repo, gap: &Gap) -> Result<u64> {
    let repository = github.repository(repo);
    let hooks: Vec<Hook> = repository.get(&["hooks"], &[("per_page", "100")]).await?.json()?;
    let mut count = 0;
    for hook in hooks.iter().filter(|hook| hook.active && hook.config.url.ends_with(&gap.webhook)) {
        let id = hook.id.to_string();
        // Oldest first, as they happened.
        for delivery in failed(github, repo, &id, gap.since - SLACK).await?.into_iter().rev() {
            repository
                .post(&["hooks", &id, "deliveries", &delivery.to_string(), "attempts"], &serde_json::json!({}))
                .await?;
            count += 1;
        }
    }
    Ok(count)
}

/// One delivery of each event that never arrived, newest first.
async fn failed(github: &GitHub, repo: &Repo, hook: &str, since: i64) -> Result<Vec<u64>> {
    let mut arrived: BTreeMap<String, bool> = BTreeMap::new();
    let mut newest = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let mut query = vec![("per_page", "100")];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let answer = github.repository(repo).get(&["hooks", hook, "deliveries"], &query).await?;
        let next = client::link(&answer, "next", "cursor");
        let mut is_over = next.is_none();
        for delivery in answer.json::<Vec<Delivery>>()? {
            let at = DateTime::parse_from_rfc3339(&delivery.delivered_at).map_or(0, |time| time.timestamp());
            if at < since {
                is_over = true;
                continue;
            }
            let ok = (200..300).contains(&delivery.status_code);
            if !arrived.contains_key(&delivery.guid) {
                newest.push((delivery.guid.clone(), delivery.id));
            }
            *arrived.entry(delivery.guid).or_default() |= ok;
        }
        if is_over {
            break;
        }
        cursor = next;
    }
    Ok(newest.into_iter().filter(|(guid, _)| !arrived[guid]).map(|(_, id)| id).collect())
}
