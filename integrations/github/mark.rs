//! The hidden line by which our own posts are known again.

use super::payload::Payload;
use tercel_sdk::Host;

const OPENING: &str = "<!-- tercel:";

/// What a tool puts at the end of its posts, where an answer has its outbox row's marker.
pub const TOOL: &str = "tool";

/// The text with its hidden line.
pub fn mark(text: &str, marker: &str) -> String {
    format!("{text}\n\n{}", line(marker))
}

pub fn carries(body: &str, marker: &str) -> bool {
    let line = line(marker);
    unquoted(body).any(|text| text.contains(&line))
}

/// Whether the event is that we wrote something, or changed what we wrote. A person who comments with the same token carries
/// no marker, and a foreign login that copies one is not us.
pub fn is_own(host: &Host, payload: &Payload) -> bool {
    let (author, body) = payload.written();
    let is_ours = match payload.action.as_str() {
        "created" | "opened" | "submitted" => true,
        // An answer that grows is edited again and again. What somebody else makes of it is theirs.
        "edited" => payload.comment.is_some() && payload.sender.login.eq_ignore_ascii_case(author),
        _ => false,
    };
    let mut own = own_logins(host).peekable();
    let by_us = own.peek().is_none() || own.any(|login| login.eq_ignore_ascii_case(author));
    is_ours && by_us && unquoted(body).any(|text| text.contains(OPENING))
}

/// The logins that our posts have, as far as they are known.
pub fn own_logins(host: &Host) -> impl Iterator<Item = &str> {
    [host.optional("bot_login"), host.account()].into_iter().flatten().map(|login| login.trim().trim_start_matches('@'))
}

fn line(marker: &str) -> String {
    format!("{OPENING}{marker} -->")
}

fn unquoted(body: &str) -> impl Iterator<Item = &str> {
    body.lines().filter(|line| !line.trim_start().starts_with('>'))
}
