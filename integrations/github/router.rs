//! The webhook: what GitHub reports, and which conversation hears of it.

use super::{
    brief::Occasion,
    describe, mark,
    payload::{Payload, Place},
    repo::Repo,
};
use serde_json::{Value, json};
use tercel_sdk::{Dedupe, Event, Host, Inbound, Outcome, Received, Refusal, Reply, Scheme, Signed, Target};

pub fn receive(host: Host, request: Inbound) -> Result<Received, Refusal> {
    let request = request.signed(&Scheme::github(host.field("webhook_secret")?))?;
    let event = event_name(&request)?;
    let payload = payload(&request)?;
    let dedupe = match request.header("x-github-delivery") {
        Some(id) if !id.is_empty() => Dedupe::UnsignedId(id.into()),
        _ => Dedupe::Body,
    };
    Ok(Received { dedupe, name: full_name(event, &payload), outcome: outcome(&host, event, &payload) })
}

/// What the webhook would make of a payload that was put together from answers of the API.
pub fn tell(host: &Host, event: &str, payload: Value) -> Option<Event> {
    match outcome(host, event, &serde_json::from_str(&payload.to_string()).ok()?) {
        Outcome::Events(events) => events.into_iter().next(),
        _ => None,
    }
}

/// What becomes of an event.
enum Fate {
    /// The agent is asked.
    Runs(Occasion),
    /// The conversation remembers it.
    Stored,
    Ignored(&'static str),
}

/// The one table of what is done about what.
fn fate(event: &str, payload: &Payload) -> Fate {
    use Fate::{Ignored, Runs, Stored};
    let by_bot = payload.is_written_by_bot();
    let review = payload.review.as_ref();
    let review_state = review.map_or_else(String::new, |review| review.state.to_lowercase());
    let review_is_empty = review.is_some_and(|review| review.body.trim().is_empty());

    match (event, payload.action.as_str()) {
        ("pull_request", "opened") => Runs(Occasion::PullRequest),
        ("issues", "opened") => Runs(Occasion::Issue),
        ("issue_comment", "created") => Runs(Occasion::Comment),
        ("pull_request_review", "submitted") if review_state == "changes_requested" => Runs(Occasion::ChangesRequested),
        ("pull_request_review_comment", "created") => Runs(Occasion::ReviewComment),

        ("issue_comment" | "pull_request_review_comment", "edited") if by_bot => {
            Ignored("a bot edited its own comment")
        }
        ("pull_request_review", "submitted") if review_state == "commented" && review_is_empty => {
            Ignored("an empty review: its comments are events of their own")
        }
        ("pull_request", "auto_merge_enabled" | "auto_merge_disabled" | "enqueued" | "dequeued") => {
            Ignored("only the merge queue changed")
        }

        ("pull_request" | "pull_request_review" | "pull_request_review_comment" | "pull_request_review_thread", _)
        | ("issues" | "issue_comment" | "discussion" | "discussion_comment" | "commit_comment", _)
        | ("push" | "create" | "delete" | "gollum", _)
        | ("release", "published")
        | ("milestone", "created" | "closed" | "opened")
        | ("workflow_run", "completed")
        | ("deployment_status", _)
        | (
            "dependabot_alert" | "code_scanning_alert",
            "created" | "fixed" | "reopened" | "dismissed" | "closed_by_user",
        )
        | ("repository", "archived" | "unarchived" | "renamed" | "transferred" | "publicized" | "privatized") => Stored,

        ("release", _) => Ignored("only a published release is kept"),
        ("milestone" | "repository" | "dependabot_alert" | "code_scanning_alert", _) => {
            Ignored("this change says nothing to a conversation")
        }
        ("workflow_run" | "workflow_job" | "check_run" | "check_suite" | "status" | "merge_group", _) => {
            Ignored("a step on the way of a build; only completed workflow runs are kept")
        }
        ("star" | "watch" | "fork" | "sponsorship", _) => Ignored("applause, not conversation"),
        _ => Ignored("events of this kind are not kept"),
    }
}

fn outcome(host: &Host, event: &str, payload: &Payload) -> Outcome {
    let ignored = |reason: &str| Outcome::Ignored(reason.into());
    if event == "ping" {
        return Outcome::Reply(Reply::json(&json!({"status": "pong"})));
    }
    let Ok(repo) = payload.repository.full_name.parse::<Repo>() else {
        return ignored("not about a repository");
    };
    let occasion = match fate(event, payload) {
        Fate::Ignored(reason) => return ignored(reason),
        _ if mark::is_own(host, payload) => return ignored("own comment"),
        Fate::Runs(occasion) => Some(occasion),
        Fate::Stored => None,
    };
    let Some(text) = describe::event(event, payload, occasion.is_some()) else {
        return ignored("the payload does not say what it is about");
    };

    let mut stored =
        Event::stored(format!("github:{repo}"), text).bot(host.optional("bot").unwrap_or("default").trim());
    // What bots open is treated like any other: they do not open things in answer to what we say.
    stored = stored.by_bot(payload.is_written_by_bot() && !matches!(event, "pull_request" | "issues"));
    stored.id = natural_id(event, payload, &repo);
    let place = payload.ticket().map(|(_, place)| place);
    if let Some(place) = place {
        stored = stored.thread(thread(place));
        stored.reply_to = reply_to(&repo, place, payload);
    }
    Outcome::Events(vec![match (occasion, place) {
        (Some(occasion), Some(place)) => stored.run(occasion.brief(&repo, place)),
        _ => stored,
    }])
}

/// What a poll finds, too, is one event whichever way it comes. Numbers count through the issues and pull requests of a
/// repository; their ids differ by the list they are in.
fn natural_id(event: &str, payload: &Payload, repo: &Repo) -> Option<String> {
    let number = match (event, payload.action.as_str()) {
        ("issues" | "pull_request", "opened") => payload.ticket()?.0.number,
        ("issue_comment" | "pull_request_review_comment", "created") => payload.comment.as_ref()?.id,
        _ => return None,
    };
    (number > 0).then(|| format!("{}/{event}/{}/{number}", repo.to_string().to_lowercase(), payload.action))
}

fn thread(place: Place) -> String {
    match place {
        Place::PullRequest(number) => format!("pr/{number}"),
        Place::Issue(number) => format!("issue/{number}"),
        Place::Discussion(number) => format!("discussion/{number}"),
    }
}

fn reply_to(repo: &Repo, place: Place, payload: &Payload) -> Option<Target> {
    let (Place::PullRequest(number) | Place::Issue(number)) = place else { return None };
    let mut config = json!({"repo": repo, "number": number});
    // Only comments on code have a line; GitHub takes answers to the first comment of a thread alone.
    if let Some(comment) = payload.comment.as_ref().filter(|comment| !comment.path.is_empty() && comment.id > 0) {
        config["in_reply_to"] = if comment.in_reply_to_id > 0 { comment.in_reply_to_id } else { comment.id }.into();
    }
    Some(Target::new("github", config))
}

fn event_name(request: &Signed) -> Result<&str, Refusal> {
    let name = request.header("x-github-event").unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Refusal::malformed("Header `X-GitHub-Event` names no event: is this a webhook of GitHub?"));
    }
    Ok(name)
}

fn payload(request: &Signed) -> Result<Payload, Refusal> {
    let content_type = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if content_type.starts_with("application/x-www-form-urlencoded") {
        let field =
            request.form_field("payload").ok_or_else(|| Refusal::malformed("The form has no field `payload`"))?;
        return read(field.as_bytes())
            .map_err(|e| Refusal::malformed(format!("The form's field `payload` is not a JSON object: {e}")));
    }
    read(request.body()).map_err(|e| Refusal::malformed(format!("The body is not a JSON object: {e}")))
}

/// A list is refused here: as a struct it could be read too.
fn read(json: &[u8]) -> serde_json::Result<Payload> {
    match json.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(json),
        _ => serde_json::from_slice::<serde_json::Map<String, Value>>(json).map(|_| Payload::default()),
    }
}

/// `issues.opened`; senders of `repository_dispatch` choose the action freely, so it is cut to plain characters.
fn full_name(event: &str, payload: &Payload) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let action: String = payload.action.chars().filter(plain).take(100).collect();
    if action.is_empty() { event.into() } else { format!("{event}.{action}") }
}
