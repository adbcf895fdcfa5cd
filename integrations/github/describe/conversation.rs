//! What happened in an issue, a pull request or a discussion.

use super::{
    Told, login, who,
    words::{TITLE, WORD, abbreviated, clean, count, line, tail, verb_of},
};
use crate::github::payload::{Comment, Payload, Place, Ticket};

const HUNK: usize = 4_000;

pub fn ticket(payload: &Payload) -> Option<Told> {
    let (ticket, place) = payload.ticket()?;
    let name = name(ticket, place);
    let who = who(payload);
    let sentence = match payload.action.as_str() {
        "opened" if ticket.draft => format!("{who} opened {name}, as a draft"),
        "closed" if ticket.merged => format!("{who} merged {name}"),
        "synchronize" => format!("{who} pushed commits to {name}"),
        "ready_for_review" => format!("{who} marked {name} as ready for review"),
        "converted_to_draft" => format!("{who} made a draft of {name}"),
        "labeled" => format!("{who} added the label `{}` to {name}", line(&payload.label.name, WORD)),
        "unlabeled" => format!("{who} removed the label `{}` from {name}", line(&payload.label.name, WORD)),
        "assigned" => format!("{who} assigned {} to {name}", login(&payload.assignee.login)),
        "unassigned" => format!("{who} unassigned {} from {name}", login(&payload.assignee.login)),
        "review_requested" => format!("{who} asked {} to review {name}", reviewer(payload)),
        "review_request_removed" => format!("{who} no longer asks {} to review {name}", reviewer(payload)),
        "milestoned" => format!("{who} added {name} to the milestone `{}`", line(&payload.milestone.title, WORD)),
        "answered" => format!("{who} marked an answer to {name}"),
        "unanswered" => format!("{who} took back the answer to {name}"),
        "category_changed" => format!("{who} moved {name} to another category"),
        "demilestoned" => format!("{who} removed {name} from its milestone"),
        _ => format!("{who} {} {name}", verb_of(&payload.action)),
    };
    let told = Told::new(sentence + ".", &ticket.html_url);
    match payload.action.as_str() {
        "opened" | "created" => Some(told.detail(facts(ticket, place)).body(&ticket.body)),
        "edited" => Some(told.body(&ticket.body)),
        _ => Some(told),
    }
}

fn facts(ticket: &Ticket, place: Place) -> String {
    let mut facts = Vec::new();
    if matches!(place, Place::PullRequest(_)) {
        let (head, base) = (line(&ticket.head.label, TITLE), line(&ticket.base.name, TITLE));
        let changes = format!("{}, +{} −{}", count(ticket.changed_files, "file"), ticket.additions, ticket.deletions);
        facts.push(format!("`{head}` into `{base}`: {}, {changes}.", count(ticket.commits, "commit")));
    }
    if !ticket.labels.is_empty() {
        let labels: Vec<_> = ticket.labels.iter().map(|label| format!("`{}`", line(&label.name, WORD))).collect();
        facts.push(format!("Labels: {}.", labels.join(", ")));
    }
    facts.join(" ")
}

pub fn comment(payload: &Payload) -> Option<Told> {
    let (ticket, place) = payload.ticket()?;
    let comment = payload.comment.as_ref()?;
    let (who, name) = (who(payload), name(ticket, place));
    let on = format!("{}{name}", position(comment));
    let sentence = match payload.action.as_str() {
        "created" => format!("{who} commented on {on}."),
        action => format!("{who} {} a comment on {on}.", verb_of(action)),
    };
    let told = Told::new(sentence, &comment.html_url);
    if payload.action == "deleted" {
        return Some(told);
    }
    // GitHub's hunks end at the line that the comment is about.
    let hunk = tail(&clean(&comment.diff_hunk), HUNK);
    let detail = if hunk.is_empty() { String::new() } else { format!("~~~diff\n{hunk}\n~~~") };
    Some(told.detail(detail).body(&comment.body))
}

fn position(comment: &Comment) -> String {
    if comment.path.is_empty() {
        return String::new();
    }
    let path = line(&comment.path, TITLE);
    match [comment.line, comment.original_line].into_iter().find(|&line| line > 0) {
        Some(number) => format!("`{path}` line {number} of "),
        None => format!("`{path}` of "),
    }
}

pub fn review(payload: &Payload) -> Option<Told> {
    let (ticket, place) = payload.ticket()?;
    let review = payload.review.as_ref()?;
    let (who, name) = (who(payload), name(ticket, place));
    let sentence = match (payload.action.as_str(), review.state.to_lowercase().as_str()) {
        ("submitted", "changes_requested") => format!("{who} requested changes to {name}."),
        ("submitted", "approved") => format!("{who} approved {name}."),
        ("submitted", _) => format!("{who} reviewed {name}."),
        (action, _) => format!("{who} {} a review of {name}.", verb_of(action)),
    };
    Some(Told::new(sentence, &review.html_url).body(&review.body))
}

pub fn review_thread(payload: &Payload) -> Option<Told> {
    let (ticket, place) = payload.ticket()?;
    let sentence = format!("{} {} a review thread of {}.", who(payload), verb_of(&payload.action), name(ticket, place));
    Some(Told::new(sentence, &ticket.html_url))
}

pub fn commit_comment(payload: &Payload) -> Option<Told> {
    let comment = payload.comment.as_ref()?;
    let commit = abbreviated(&comment.commit_id);
    let sentence = format!("{} commented on {}commit {commit}.", who(payload), position(comment));
    Some(Told::new(sentence, &comment.html_url).body(&comment.body))
}

fn name(ticket: &Ticket, place: Place) -> String {
    let kind = match place {
        Place::PullRequest(_) => "pull request",
        Place::Issue(_) => "issue",
        Place::Discussion(_) => "discussion",
    };
    format!("{kind} #{} “{}”", ticket.number, line(&ticket.title, TITLE))
}

fn reviewer(payload: &Payload) -> String {
    let team = line(&payload.requested_team.name, WORD);
    if team.is_empty() { login(&payload.requested_reviewer.login) } else { format!("the team {team}") }
}
