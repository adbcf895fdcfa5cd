//! Answers, as comments on issues and pull requests.

use super::{
    client::{GitHub, page},
    connection, mark,
    repo::Repo,
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;
use tercel_sdk::{Error, Kind, Outbound, Receipt, Result, http::Response};

/// GitHub takes 65,536 characters; the hidden line needs its share.
pub const LIMIT: usize = 65_536 - 256;

const PER_PAGE: &str = "100";
const MAX_PAGES: u32 = 10;

/// Where an answer goes: the `dispatch_config` of the type `github`.
#[derive(Debug, Deserialize)]
pub struct Thread {
    pub repo: Repo,
    /// Of the issue or the pull request.
    pub number: u64,
    /// The first comment of a review thread.
    #[serde(default)]
    pub in_reply_to: Option<u64>,
}

pub async fn comment(github: GitHub, thread: Thread, outbound: Outbound) -> Result<Receipt> {
    let repository = github.repository(&thread.repo);
    let number = thread.number.to_string();
    let body = json!({"body": mark::mark(&outbound.text, &outbound.marker)});
    if let Some(comment) = thread.in_reply_to {
        let path = ["pulls", &number, "comments", &comment.to_string(), "replies"];
        match repository.post(&path, &body).await {
            // The comment is gone, the conversation is not.
            Err(error) if error.kind == Kind::NotFound => {}
            answer => return Ok(receipt(&answer?)),
        }
    }
    Ok(receipt(&repository.post(&["issues", &number, "comments"], &body).await?))
}

/// Gives a comment of ours another text.
pub async fn update(github: GitHub, thread: Thread, outbound: Outbound, receipt: Receipt) -> Result<()> {
    let id = receipt.id.as_deref().unwrap_or_default();
    // A comment in a review has an id among those; the address tells which it is.
    let is_review = receipt.url.as_deref().is_some_and(|url| url.contains("#discussion_r"));
    let body = json!({"body": mark::mark(&outbound.text, &outbound.marker)});
    let path = [if is_review { "pulls" } else { "issues" }, "comments", id];
    github.repository(&thread.repo).patch(&path, &body).await.map(drop)
}

/// Looks for an answer whose acknowledgement was lost.
pub async fn find(github: GitHub, thread: Thread, outbound: Outbound) -> Result<Option<Receipt>> {
    let own = connection::own_logins(&github).await?;
    let number = thread.number.to_string();
    let wanted = Wanted { marker: &outbound.marker, own: &own, since: since(&outbound.created_at) };
    if thread.in_reply_to.is_some() {
        let found = wanted.look(&github, &thread.repo, &["pulls", &number, "comments"]).await;
        match found {
            Ok(None) => {}
            Err(error) if error.kind == Kind::NotFound => {}
            answer => return answer,
        }
    }
    wanted.look(&github, &thread.repo, &["issues", &number, "comments"]).await
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    html_url: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

struct Wanted<'a> {
    marker: &'a str,
    own: &'a [String],
    since: Option<String>,
}

impl Wanted<'_> {
    async fn look(&self, github: &GitHub, repo: &Repo, path: &[&str]) -> Result<Option<Receipt>> {
        for number in 1..=MAX_PAGES {
            let number = number.to_string();
            let mut query = vec![("per_page", PER_PAGE), ("page", &number)];
            query.extend(self.since.as_deref().map(|since| ("since", since)));
            let answer = github.repository(repo).get(path, &query).await?;
            let comments: Vec<Comment> = answer.json()?;
            if let Some(found) = comments.into_iter().find(|comment| self.is(comment)) {
                return Ok(Some(Receipt { id: Some(found.id.to_string()), url: found.html_url }));
            }
            if page(&answer, "next").is_none() {
                return Ok(None);
            }
        }
        Err(Error::new(Kind::Error, "There are too many new comments to tell whether the answer is among them")
            .hint("Look at the conversation, then send the answer again or drop it"))
    }

    fn is(&self, comment: &Comment) -> bool {
        let author = comment.user.as_ref().map_or("", |user| user.login.as_str());
        // The marker is made with a key of ours, so that it proves the post where our login is not known.
        let by_us = self.own.is_empty() || self.own.iter().any(|login| login.eq_ignore_ascii_case(author));
        by_us && mark::carries(comment.body.as_deref().unwrap_or_default(), self.marker)
    }
}

/// A little before the time, because GitHub's clock is not ours.
fn since(created_at: &str) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(created_at).ok()?.with_timezone(&Utc);
    Some((time - TimeDelta::minutes(5)).to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The comment exists whatever the answer looks like: an answer that cannot be read is no failure.
fn receipt(answer: &Response) -> Receipt {
    match answer.json::<Comment>() {
        Ok(comment) => Receipt { id: Some(comment.id.to_string()), url: comment.html_url },
        Err(_) => Receipt::default(),
    }
}
