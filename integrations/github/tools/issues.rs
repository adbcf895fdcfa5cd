use super::{BODY, Created, Label, User, excerpt, login, put};
use crate::github::{client::GitHub, mark, repo::Repo};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tercel_sdk::Result;

const FOUND_BODY: usize = 500;

/// Reads an issue: title, description, state, labels, assignees. The comments are read with github_list_comments.
#[derive(Deserialize, JsonSchema)]
pub struct GetIssue {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// The number of the issue.
    number: u64,
}

pub async fn get_issue(github: GitHub, get: GetIssue) -> Result<Value> {
    let answer = github.for_tool(&get.repo)?.get(&["issues", &get.number.to_string()], &[]).await?;
    Ok(answer.json::<Issue>()?.told(BODY))
}

/// What to look for.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Sought {
    #[default]
    Issue,
    PullRequest,
}

/// Searches the issues or the pull requests of a repository, for instance for duplicates. Open and closed ones are found.
#[derive(Deserialize, JsonSchema)]
pub struct SearchIssues {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// Words to find, and qualifiers such as `is:open`, `label:bug` or `in:title`.
    query: String,
    /// Issues, unless pull requests are asked for.
    #[serde(default)]
    kind: Sought,
    /// How many to answer at the most, up to 50; 10 when absent.
    #[serde(default)]
    limit: Option<u32>,
}

pub async fn search_issues(github: GitHub, search: SearchIssues) -> Result<Value> {
    #[derive(Deserialize)]
    struct Found {
        items: Vec<Issue>,
    }
    github.for_tool(&search.repo)?;
    let kind = match search.kind {
        Sought::Issue => "is:issue",
        Sought::PullRequest => "is:pull-request",
    };
    let query = format!("{} repo:{} {kind}", search.query.trim(), search.repo);
    let limit = search.limit.unwrap_or(10).clamp(1, 50).to_string();
    let found: Found = github.get(&["search", "issues"], &[("q", &query), ("per_page", &limit)]).await?.json()?;
    // A `repo:` in the words would widen the search to what this conversation may not see.
    let items = found.items.iter().filter(|issue| issue.is_in(&search.repo));
    Ok(json!({"items": items.map(|issue| issue.told(FOUND_BODY)).collect::<Vec<_>>()}))
}

/// Opens an issue.
#[derive(Deserialize, JsonSchema)]
pub struct CreateIssue {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    title: String,
    /// The description, in Markdown.
    body: String,
    /// Names of labels that exist in the repository.
    #[serde(default)]
    labels: Vec<String>,
}

pub async fn create_issue(github: GitHub, create: CreateIssue) -> Result<Created> {
    let issue = json!({
        "title": create.title,
        "body": mark::mark(&create.body, mark::TOOL),
        "labels": create.labels,
    });
    let answer = github.for_tool(&create.repo)?.post(&["issues"], &issue).await?;
    Ok(answer.json().unwrap_or_default())
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    title: String,
    state: String,
    html_url: String,
    created_at: String,
    #[serde(default)]
    repository_url: String,
    #[serde(default)]
    state_reason: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    assignees: Vec<User>,
    #[serde(default)]
    comments: u64,
    #[serde(default)]
    pull_request: Option<Value>,
}

impl Issue {
    fn is_in(&self, repo: &Repo) -> bool {
        self.repository_url.rsplit_once("/repos/").is_some_and(|(_, full_name)| repo.is(full_name))
    }

    fn told(&self, limit: usize) -> Value {
        let (body, note) = excerpt(self.body.as_deref().unwrap_or_default(), limit);
        let mut told = json!({
            "number": self.number,
            "kind": if self.pull_request.is_some() { "pull_request" } else { "issue" },
            "title": self.title,
            "state": self.state,
            "author": login(&self.user),
            "labels": self.labels.iter().map(|label| &label.name).collect::<Vec<_>>(),
            "assignees": self.assignees.iter().map(|user| &user.login).collect::<Vec<_>>(),
            "comments": self.comments,
            "created_at": self.created_at,
            "url": self.html_url,
            "body": body,
        });
        put(&mut told, "state_reason", self.state_reason.clone());
        put(&mut told, "body_note", note);
        told
    }
}
