//! New issues, pull requests and comments of repositories whose webhook does not reach this server.

use super::{
    client::{self, GitHub},
    repo::Repo,
    router,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tercel_sdk::{Cursor, Error, News, Polled, Result, http::Response};

pub const EVERY: Duration = Duration::from_secs(60);
/// Pages of one list that are read at once; the next poll goes on behind them.
const PAGES: u32 = 5;

/// How far each list of a repository was read: the newest `updated_at` seen there, by GitHub's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Read {
    issues: String,
    comments: String,
    review_comments: String,
}

pub async fn poll(github: GitHub, cursor: Cursor) -> Result<Polled> {
    let repos = repositories(github.host().field("poll")?)?;
    let mut read: BTreeMap<String, Read> = cursor.read()?.unwrap_or_default();
    read.retain(|name, _| repos.iter().any(|repo| repo.is(name)));
    let mut news = Vec::new();
    for repo in &repos {
        let name = repo.to_string().to_lowercase();
        match read.get_mut(&name) {
            Some(read) => news.extend(look(&github, repo, read).await?),
            // What is there at the first time is old.
            None => {
                let now = time_there(&github, repo).await?;
                read.insert(name, Read { issues: now.clone(), comments: now.clone(), review_comments: now });
            }
        }
    }
    news.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Polled { news: news.into_iter().map(|(_, news)| news).collect(), cursor: Cursor::of(&read)? })
}

/// The repositories of a list `owner/repo, owner/other`.
pub fn repositories(list: &str) -> Result<Vec<Repo>> {
    let names = list.split([',', ' ', '\n']).map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(|why| Error::schema(format!("GITHUB_POLL: `{name}`: {why}")))).collect()
}

async fn time_there(github: &GitHub, repo: &Repo) -> Result<String> {
    let answer = github.repository(repo).get(&["issues"], &[("per_page", "1"), ("state", "all")]).await?;
    let date = answer.header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let now = date.map_or_else(Utc::now, |date| date.to_utc());
    Ok(now.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// What was made since, with when.
async fn look(github: &GitHub, repo: &Repo, read: &mut Read) -> Result<Vec<(String, News)>> {
    let mut news = Vec::new();
    for (item, is_new) in list(github, repo, &["issues"], &mut read.issues).await? {
        let number = number_in(&item["number"]);
        if !is_new || number.is_empty() {
            continue;
        }
        let (event, body) = if item["pull_request"].is_object() {
            let pull = get(github, repo, &["pulls", &number]).await?;
            ("pull_request", json!({"action": "opened", "pull_request": pull, "sender": item["user"]}))
        } else {
            ("issues", json!({"action": "opened", "issue": item, "sender": item["user"]}))
        };
        news.extend(tell(github, repo, event, "opened", &item, body));
    }
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for (kind, since) in [("issues", &mut read.comments), ("pulls", &mut read.review_comments)] {
        for (comment, is_new) in list(github, repo, &[kind, "comments"], since).await? {
            let (url, event, subject) = match kind {
                "issues" => ("issue_url", "issue_comment", "issue"),
                _ => ("pull_request_url", "pull_request_review_comment", "pull_request"),
            };
            let number = comment[url].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default().to_owned();
            if !is_new || !number.bytes().all(|b| b.is_ascii_digit()) || number.is_empty() {
                continue;
            }
            let key = format!("{kind}/{number}");
            if !known.contains_key(&key) {
                known.insert(key.clone(), get(github, repo, &[kind, &number]).await?);
            }
            let body =
                json!({"action": "created", "comment": comment, subject: known[&key], "sender": comment["user"]});
            news.extend(tell(github, repo, event, "created", &comment, body));
        }
    }
    Ok(news)
}

/// What changed in a list, and whether it is new; moves on how far it was read.
async fn list(github: &GitHub, repo: &Repo, path: &[&str], since: &mut String) -> Result<Vec<(Value, bool)>> {
    let begin = since.clone();
    let mut found = Vec::new();
    let mut page = 1;
    loop {
        let number = page.to_string();
        let query = [
            ("state", "all"),
            ("sort", "updated"),
            ("direction", "asc"),
            ("since", begin.as_str()),
            ("per_page", "100"),
            ("page", number.as_str()),
        ];
        let answer: Response = github.repository(repo).get(path, &query).await?;
        for item in answer.json::<Vec<Value>>()? {
            let time = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            // Times of GitHub all have the same form, so that they sort as texts.
            *since = since.clone().max(time("updated_at"));
            let is_new = time("created_at") >= begin;
            found.push((item, is_new));
        }
        match client::page(&answer, "next") {
            Some(next) if page < PAGES => page = next,
            _ => return Ok(found),
        }
    }
}

async fn get(github: &GitHub, repo: &Repo, path: &[&str]) -> Result<Value> {
    github.repository(repo).get(path, &[]).await?.json()
}

/// The same as the webhook would make of it.
fn tell(
    github: &GitHub,
    repo: &Repo,
    event: &str,
    action: &str,
    item: &Value,
    mut body: Value,
) -> Option<(String, News)> {
    body["repository"] = json!({"full_name": repo, "html_url": ""});
    let told = router::tell(github.host(), event, body)?;
    let id = format!("{}/{event}/{action}/{}", repo.to_string().to_lowercase(), number_in(&item["id"]));
    let at = item["created_at"].as_str().unwrap_or_default().to_owned();
    Some((at, News { id, name: format!("{event}.{action}"), event: told }))
}

fn number_in(value: &Value) -> String {
    value.as_u64().map(|number| number.to_string()).unwrap_or_default()
}
