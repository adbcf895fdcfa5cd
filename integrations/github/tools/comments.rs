use super::{Created, User, excerpt, login, put};
use crate::github::{
    client::{GitHub, page},
    mark,
    repo::Repo,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tercel_sdk::Result;

const BODY: usize = 4_000;

/// Lists the comments of an issue or of a pull request's conversation, 30 at a time, oldest first.
#[derive(Deserialize, JsonSchema)]
pub struct ListComments {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// The number of the issue or pull request.
    number: u64,
    /// The page to read, from 1. The last one, with the newest comments, when absent.
    #[serde(default)]
    page: Option<u32>,
}

pub async fn list_comments(github: GitHub, list: ListComments) -> Result<Value> {
    let repository = github.for_tool(&list.repo)?;
    let number = list.number.to_string();
    let path = ["issues", &number, "comments"];
    let mut current = list.page.unwrap_or(1).max(1);
    let mut answer = repository.get(&path, &[("per_page", "30"), ("page", &current.to_string())]).await?;
    if let (None, Some(last)) = (list.page, page(&answer, "last")) {
        current = last;
        answer = repository.get(&path, &[("per_page", "30"), ("page", &current.to_string())]).await?;
    }
    let comments: Vec<Comment> = answer.json()?;
    Ok(json!({
        "comments": comments.iter().map(Comment::told).collect::<Vec<_>>(),
        "page": current,
        "previous_page": page(&answer, "prev"),
        "next_page": page(&answer, "next"),
    }))
}

/// Lists the comments on lines of code of a pull request, 30 at a time, newest first.
#[derive(Deserialize, JsonSchema)]
pub struct ListReviewComments {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// The number of the pull request.
    number: u64,
    /// The page to read, from 1.
    #[serde(default)]
    page: Option<u32>,
}

pub async fn list_review_comments(github: GitHub, list: ListReviewComments) -> Result<Value> {
    let (number, current) = (list.number.to_string(), list.page.unwrap_or(1).max(1).to_string());
    let query = [("per_page", "30"), ("page", &*current), ("sort", "created"), ("direction", "desc")];
    let answer = github.for_tool(&list.repo)?.get(&["pulls", &number, "comments"], &query).await?;
    let comments: Vec<Comment> = answer.json()?;
    Ok(json!({
        "comments": comments.iter().map(Comment::told).collect::<Vec<_>>(),
        "next_page": page(&answer, "next"),
    }))
}

/// Comments on an issue or pull request. The answer of a run is posted without it.
#[derive(Deserialize, JsonSchema)]
pub struct CreateComment {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// The number of the issue or pull request.
    number: u64,
    /// The comment, in Markdown.
    body: String,
}

pub async fn create_comment(github: GitHub, create: CreateComment) -> Result<Created> {
    let body = json!({"body": mark::mark(&create.body, mark::TOOL)});
    let number = create.number.to_string();
    let answer = github.for_tool(&create.repo)?.post(&["issues", &number, "comments"], &body).await?;
    Ok(answer.json().unwrap_or_default())
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    html_url: String,
    created_at: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    line: Option<u64>,
    #[serde(default)]
    in_reply_to_id: Option<u64>,
}

impl Comment {
    fn told(&self) -> Value {
        let (body, note) = excerpt(self.body.as_deref().unwrap_or_default(), BODY);
        let mut told = json!({
            "id": self.id,
            "author": login(&self.user),
            "created_at": self.created_at,
            "url": self.html_url,
            "body": body,
        });
        put(&mut told, "body_note", note);
        if let Some(path) = &self.path {
            told["path"] = json!(path);
            told["line"] = json!(self.line);
            told["in_reply_to"] = json!(self.in_reply_to_id);
        }
        told
    }
}
