//! A reaction on what is being worked on, for as long as a run is at work.

use super::{client::GitHub, dispatcher::Thread};
use serde::Deserialize;
use serde_json::{Value, json};
use tercel_sdk::{Error, Mode, Result, hook};

/// What GitHub takes.
const REACTIONS: [&str; 8] = ["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];
/// What the field says when there shall be none.
const NONE: &str = "none";

/// A run begins, or goes on: the reaction is there once, however often it is made.
pub async fn begins(github: GitHub, _: hook::BeforeContextAssembly) -> Result<()> {
    match wanted(&github)? {
        Some((thread, content)) => react(&github, &thread, content).await.map(drop),
        None => Ok(()),
    }
}

/// A run has ended. Making the reaction again tells which one it is.
pub async fn has_ended(github: GitHub, _: hook::AfterTaskComplete) -> Result<()> {
    let Some((thread, content)) = wanted(&github)? else { return Ok(()) };
    let Some(id) = react(&github, &thread, content).await? else { return Ok(()) };
    let (path, id) = (path(&thread), id.to_string());
    let path: Vec<&str> = path.iter().map(String::as_str).chain([id.as_str()]).collect();
    github.repository(&thread.repo).delete(&path).await.map(drop)
}

/// Where and what. Nothing for runs whose answers do not go to GitHub, without a token, and in a rehearsal.
fn wanted(github: &GitHub) -> Result<Option<(Thread, &str)>> {
    let host = github.host();
    let content = host.optional("reaction").unwrap_or(NONE).trim();
    let Some(target) = &host.ids().target else { return Ok(None) };
    if content == NONE || host.mode() == Mode::Rehearse || host.optional("token").is_none() {
        return Ok(None);
    }
    if !REACTIONS.contains(&content) {
        return Err(Error::schema(format!("GITHUB_REACTION is `{content}`"))
            .hint(format!("It is {NONE}, or one of {}", REACTIONS.join(", "))));
    }
    Ok(Some((serde_json::from_value(Value::Object(target.config.clone()))?, content)))
}

async fn react(github: &GitHub, thread: &Thread, content: &str) -> Result<Option<u64>> {
    #[derive(Deserialize)]
    struct Reaction {
        id: u64,
    }
    let path = path(thread);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let answer = github.repository(&thread.repo).post(&path, &json!({"content": content})).await?;
    Ok(answer.json::<Reaction>().ok().map(|reaction| reaction.id))
}

/// The comment that a review thread began with, else the issue or pull request.
fn path(thread: &Thread) -> Vec<String> {
    match thread.in_reply_to {
        Some(comment) => vec!["pulls".into(), "comments".into(), comment.to_string(), "reactions".into()],
        None => vec!["issues".into(), thread.number.to_string(), "reactions".into()],
    }
}
