//! GitHub's webhook requests, as GitHub makes and signs them.

use crate::{Answer, Client};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// The secret that the server and GitHub share.
pub const SECRET: &str = "hush-the-webhook-secret-of-the-tests";
pub const REPOSITORY: &str = "octo/hello";
pub const PATH: &str = "/integrations/github/webhook";

#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub delivery: String,
    pub body: Value,
}

/// `pull_request`: this one runs the agent when it is `opened`.
pub fn pull_request(action: &str, number: u64) -> Event {
    let body = json!({
        "action": action,
        "number": number,
        "pull_request": pull(number),
        "repository": repository(REPOSITORY),
        "sender": user("alice"),
    });
    Event::new("pull_request", body)
}

/// `issues`: this one runs the agent when it is `opened`.
pub fn issues(action: &str, number: u64) -> Event {
    let body = json!({
        "action": action,
        "issue": issue(number),
        "repository": repository(REPOSITORY),
        "sender": user("alice"),
    });
    Event::new("issues", body)
}

/// A comment on an issue, which runs the agent.
pub fn comment(number: u64, login: &str, text: &str) -> Event {
    let id = unique();
    let body = json!({
        "action": "created",
        "issue": issue(number),
        "comment": {
            "id": id, "node_id": format!("IC_{id}"), "body": text, "user": user(login),
            "html_url": format!("https://github.com/{REPOSITORY}/issues/{number}#issuecomment-{id}"),
            "created_at": "2026-01-05T10:00:00Z", "updated_at": "2026-01-05T10:00:00Z", "author_association": "NONE",
        },
        "repository": repository(REPOSITORY),
        "sender": user(login),
    });
    Event::new("issue_comment", body)
}

/// A push, which is only stored.
pub fn push() -> Event {
    let commit = json!({
        "id": format!("{:040x}", unique()), "message": "Say hello twice", "timestamp": "2026-01-05T10:00:00Z",
        "url": "https://github.com/octo/hello/commit/1", "author": {"name": "Alice", "email": "alice@example.com"},
        "added": [], "removed": [], "modified": ["README.md"], "distinct": true,
    });
    let body = json!({
        "ref": "refs/heads/main", "before": "0".repeat(40), "after": commit["id"], "created": false, "deleted": false,
        "forced": false, "compare": "https://github.com/octo/hello/compare/a...b", "commits": [commit], "head_commit": commit,
        "pusher": {"name": "alice", "email": "alice@example.com"}, "repository": repository(REPOSITORY), "sender": user("alice"),
    });
    Event::new("push", body)
}

pub fn ping() -> Event {
    let body = json!({"zen": "Keep it logically awesome.", "hook_id": unique(), "repository": repository(REPOSITORY)});
    Event::new("ping", body)
}

impl Event {
    /// Any event, under a new delivery id.
    pub fn new(name: &str, body: Value) -> Self {
        Self { name: name.into(), delivery: Uuid::new_v4().to_string(), body }
    }

    /// The same body under a new delivery id, as a replay would have.
    pub fn under_a_new_id(&self) -> Self {
        Self { delivery: Uuid::new_v4().to_string(), ..self.clone() }
    }

    pub fn in_repository(mut self, full_name: &str) -> Self {
        self.body["repository"] = repository(full_name);
        self
    }

    pub fn bytes(&self) -> Bytes {
        self.body.to_string().into()
    }
}

impl Client {
    /// Sends an event as GitHub does. GitHub has no key of ours.
    #[track_caller]
    pub fn github(&self, event: &Event) -> Answer {
        self.try_github(event).unwrap_or_else(|error| panic!("the webhook got no answer: {error:?}"))
    }

    /// The same to a server that may die on the way.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub fn try_github(&self, event: &Event) -> Result<Answer, reqwest::Error> {
        let signature = sign(SECRET, &event.bytes());
        self.try_webhook(event, &[("x-hub-signature-256", &signature)], event.bytes())
    }

    /// Sends any bytes as the body of an event, with these headers and no signature but the one among them.
    #[track_caller]
    pub fn webhook(&self, event: &Event, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.try_webhook(event, headers, body).unwrap_or_else(|error| panic!("the webhook got no answer: {error:?}"))
    }

    fn try_webhook(
        &self,
        event: &Event,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, reqwest::Error> {
        let mut all = vec![
            ("content-type", "application/json"),
            ("user-agent", "GitHub-Hookshot/044aadd"),
            ("x-github-event", &event.name),
            ("x-github-delivery", &event.delivery),
        ];
        for header in headers {
            all.retain(|(name, _)| name != &header.0);
            all.push(*header);
        }
        Client { key: None, ..self.clone() }.try_call("POST", PATH, &all, body)
    }

    /// Sends an event that shall make one task; the task's id.
    #[track_caller]
    pub fn github_task(&self, event: &Event) -> String {
        let answer = self.github(event);
        let body = answer.accepted();
        assert_eq!(body["tasks"].as_array().map(Vec::len), Some(1), "{answer}");
        body["tasks"][0].as_str().unwrap().to_owned()
    }
}

/// `X-Hub-Signature-256`, written from GitHub's documentation and not with our own code.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Grows with every call, so that no two bodies are equal by chance.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1_000_001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn user(login: &str) -> Value {
    let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
    json!({
        "login": login, "id": 583_231, "type": kind, "site_admin": false,
        "html_url": format!("https://github.com/{login}"), "avatar_url": "https://avatars.githubusercontent.com/u/583231",
    })
}

pub fn pull(number: u64) -> Value {
    let url = format!("https://github.com/{REPOSITORY}/pull/{number}");
    let side = |branch: &str| json!({"ref": branch, "sha": format!("{number:040x}"), "label": format!("octo:{branch}"), "repo": repository(REPOSITORY)});
    json!({
        "id": unique(), "number": number, "state": "open", "locked": false, "draft": false, "merged": false,
        "title": format!("Say hello {number} times"), "body": "Greets everybody in the room.", "html_url": url,
        "diff_url": format!("{url}.diff"), "user": user("alice"), "head": side("greetings"), "base": side("main"),
        "labels": [], "assignees": [], "requested_reviewers": [], "commits": 1, "additions": 2, "deletions": 1,
        "changed_files": 1, "comments": 0, "review_comments": 0, "mergeable": true,
        "created_at": "2026-01-05T10:00:00Z", "updated_at": "2026-01-05T10:00:00Z",
    })
}

pub fn issue(number: u64) -> Value {
    json!({
        "id": unique(), "number": number, "state": "open", "title": format!("Hello {number} is too quiet"),
        "body": "Nobody hears it.", "html_url": format!("https://github.com/{REPOSITORY}/issues/{number}"),
        "user": user("alice"), "labels": [], "assignees": [], "comments": 0, "locked": false,
        "created_at": "2026-01-05T10:00:00Z", "updated_at": "2026-01-05T10:00:00Z",
    })
}

pub fn repository(full_name: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap();
    json!({
        "id": 1_296_269, "name": name, "full_name": full_name, "private": false, "owner": user(owner),
        "html_url": format!("https://github.com/{full_name}"), "description": "Says hello", "fork": false, "default_branch": "main",
    })
}
