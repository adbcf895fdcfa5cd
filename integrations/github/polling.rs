//! New issues, pull requests and comments of repositories whose webhook does not reach this server.

use super::{
    client::{self, GitHub},
    repo::Repo,
    router,
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tercel_sdk::{Cursor, Error, News, Polled, Result, http::Response};

pub const EVERY: Duration = Duration::from_secs(60);
/// Pages of one list that are read at once; the next poll goes on there.
const PAGES: u32 = 5;

/// How far back of what was read is looked at again: GitHub does not list everything at once.
const OVERLAP: TimeDelta = TimeDelta::seconds(60);

/// How far each list of a repository was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Read {
    issues: Mark,
    comments: Mark,
    review_comments: Mark,
}

/// How far one list was read, by GitHub's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// What was made before is old.
    begun: String,
    /// The newest `updated_at` seen.
    since: String,
    /// What was made before is known. It stays behind while there is more to read: an item changes its place in the list
    /// whenever it is changed.
    known: String,
    /// Ids of what was made since and was told, with when.
    told: BTreeMap<u64, String>,
}

impl Mark {
    fn at(time: String) -> Self {
        Self { begun: time.clone(), since: time.clone(), known: time, told: BTreeMap::new() }
    }

    /// What was made since then may be new.
    fn horizon(&self) -> String {
        before(&self.known).max(self.begun.clone())
    }
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
                let now = Mark::at(time_there(&github, repo).await?);
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
    for item in list(github, repo, &["issues"], &mut read.issues).await? {
        let number = number_in(&item["number"]);
        if number.is_empty() {
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
    for (kind, mark) in [("issues", &mut read.comments), ("pulls", &mut read.review_comments)] {
        for comment in list(github, repo, &[kind, "comments"], mark).await? {
            let (url, event, subject) = match kind {
                "issues" => ("issue_url", "issue_comment", "issue"),
                _ => ("pull_request_url", "pull_request_review_comment", "pull_request"),
            };
            let number = comment[url].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default().to_owned();
            if !number.bytes().all(|b| b.is_ascii_digit()) || number.is_empty() {
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

/// What is new in a list; moves on how far it was read. Each question begins where the answer before ended, and not at a
/// number of a page: what is changed meanwhile moves to the end and would shift the pages.
async fn list(github: &GitHub, repo: &Repo, path: &[&str], mark: &mut Mark) -> Result<Vec<Value>> {
    let horizon = mark.horizon();
    let mut since = before(&mark.since);
    let mut page = 1;
    let mut new = Vec::new();
    for _ in 0..PAGES {
        let number = page.to_string();
        let query = [
            ("state", "all"),
            ("sort", "updated"),
            ("direction", "asc"),
            ("since", since.as_str()),
            ("per_page", "100"),
            ("page", number.as_str()),
        ];
        let answer: Response = github.repository(repo).get(path, &query).await?;
        // Times of GitHub all have the same form, so that they sort as texts.
        let mut newest = String::new();
        for item in answer.json::<Vec<Value>>()? {
            let time = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            newest = newest.max(time("updated_at"));
            let Some(id) = item["id"].as_u64().filter(|_| time("created_at") >= horizon) else { continue };
            if mark.told.insert(id, time("created_at")).is_none() {
                new.push(item);
            }
        }
        mark.since = mark.since.clone().max(newest.clone());
        if client::page(&answer, "next").is_none() {
            mark.known.clone_from(&mark.since);
            let horizon = mark.horizon();
            mark.told.retain(|_, made| *made >= horizon);
            break;
        }
        (since, page) = match newest > since {
            true => (newest, 1),
            // More than a page of one second.
            false => (since, page + 1),
        };
    }
    Ok(new)
}

/// A little earlier.
fn before(time: &str) -> String {
    let earlier = DateTime::parse_from_rfc3339(time).map(|time| time.to_utc() - OVERLAP);
    earlier.map_or_else(|_| time.to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
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
    let id = told.id.clone()?;
    let at = item["created_at"].as_str().unwrap_or_default().to_owned();
    Some((at, News { id, name: format!("{event}.{action}"), event: told }))
}

fn number_in(value: &Value) -> String {
    value.as_u64().map(|number| number.to_string()).unwrap_or_default()
}
