//! What happened, as a person would tell it: one or two sentences, the address, the words that were written.

mod conversation;
mod repository;
mod words;

use super::payload::Payload;
use words::{TITLE, WORD, line, shorten};

const STORED_BODY: usize = 1_000;
const RUN_BODY: usize = 16_000;

/// `None` when the payload lacks what the sentence is about.
pub fn event(event: &str, payload: &Payload, runs: bool) -> Option<String> {
    let told = match event {
        "pull_request" | "issues" | "discussion" => conversation::ticket(payload)?,
        "issue_comment" | "discussion_comment" | "pull_request_review_comment" => conversation::comment(payload)?,
        "pull_request_review" => conversation::review(payload)?,
        "pull_request_review_thread" => conversation::review_thread(payload)?,
        "commit_comment" => conversation::commit_comment(payload)?,
        "push" => repository::push(payload)?,
        "create" | "delete" => repository::reference(event, payload)?,
        "release" => repository::release(payload)?,
        "milestone" => repository::milestone(payload)?,
        "workflow_run" => repository::workflow_run(payload)?,
        "deployment_status" => repository::deployment(payload)?,
        "gollum" => repository::wiki(payload)?,
        "dependabot_alert" | "code_scanning_alert" => repository::alert(event, payload)?,
        "repository" => repository::change(payload),
        _ => return None,
    };
    Some(told.write(if runs { RUN_BODY } else { STORED_BODY }))
}

#[derive(Default)]
struct Told {
    sentence: String,
    url: String,
    /// Facts and quotes between the address and the words.
    detail: String,
    body: String,
}

impl Told {
    fn new(sentence: String, url: &str) -> Self {
        Self { sentence, url: line(url, TITLE * 2), ..Self::default() }
    }

    fn detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    fn body(self, body: &str) -> Self {
        Self { body: body.into(), ..self }
    }

    fn write(self, limit: usize) -> String {
        let body = shorten(&self.body, limit);
        let head: Vec<_> = [self.sentence, self.url].into_iter().filter(|part| !part.is_empty()).collect();
        let parts: Vec<_> = [head.join("\n"), self.detail, body].into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("\n\n")
    }
}

fn who(payload: &Payload) -> String {
    login(&payload.sender.login)
}

fn login(text: &str) -> String {
    if text.trim().is_empty() { "Somebody".into() } else { line(text, WORD) }
}
