//! The conversation that a run begins with.

use crate::fence;
use std::collections::HashSet;
use tercel_sdk::{
    Skill, Trust,
    chat::{Image, Message, Role},
};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts {
    /// The bot's own words. Empty: none.
    pub system_prompt: String,
    /// Their full content goes in, each once.
    pub skills: Vec<Skill>,
    /// Oldest first.
    pub history: Vec<Past>,
    /// `system_preamble`: stands just before the message.
    pub preamble: Option<String>,
    pub message: String,
    /// What is shown with it.
    pub images: Vec<Image>,
    pub trust: Trust,
    /// About how many tokens all of it may have.
    pub budget_tokens: usize,
}

/// An earlier message and whether its text can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub message: Message,
    pub trust: Trust,
}

/// Puts the messages together: what the bot is told, what was said before as far as it fits, the preamble, the message.
pub fn assemble(parts: &Parts) -> Vec<Message> {
    let mut told = Vec::new();
    if !parts.system_prompt.trim().is_empty() {
        told.push(Message::system(parts.system_prompt.clone()));
    }
    let mut seen = HashSet::new();
    for skill in parts.skills.iter().filter(|skill| seen.insert(&skill.id)) {
        told.push(Message::system(format!("# Skill: {}\n\n{}", skill.name, skill.content)));
    }
    if parts.trust == Trust::Untrusted || parts.history.iter().any(|past| past.trust == Trust::Untrusted) {
        told.push(Message::system(fence::RULE));
    }
    let preamble = parts.preamble.as_deref().filter(|text| !text.trim().is_empty()).map(Message::system);

    let fixed: usize = told.iter().chain(&preamble).map(tokens).sum();
    let room = parts.budget_tokens.saturating_sub(fixed);
    let message = own_message(parts, room.saturating_sub(parts.images.len() * PER_IMAGE));
    let (history, left_out) = newest(&parts.history, room.saturating_sub(tokens(&message)));

    let mut messages = told;
    if left_out > 0 {
        messages.push(Message::system(format!("Earlier messages of this conversation were left out: {left_out}.")));
    }
    messages.extend(history);
    messages.extend(preamble);
    messages.push(message);
    messages
}

/// The skills that a text asks for with `@skill:name`, each once, in order.
pub fn skill_tags(text: &str) -> Vec<String> {
    const TAG: &str = "@skill:";
    let mut names: Vec<String> = Vec::new();
    for (at, _) in text.match_indices(TAG) {
        let starts_a_word = !text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        let rest = &text[at + TAG.len()..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c))).unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches(['.', '/']);
        if starts_a_word && !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// About the tokens of a message: four characters are one.
pub(crate) fn tokens(message: &Message) -> usize {
    let calls = message.tool_calls.iter().map(|call| call.name.chars().count() + call.arguments.chars().count());
    (message.content.chars().count() + calls.sum::<usize>()).div_ceil(4)
        + PER_MESSAGE
        + message.images.len() * PER_IMAGE
}

/// What the role and the frame of a message cost.
const PER_MESSAGE: usize = 4;
/// What a picture costs, about.
const PER_IMAGE: usize = 1200;

/// However little room is left, this much of the message is shown.
const LEAST_SHOWN: usize = 400;

fn own_message(parts: &Parts, room: usize) -> Message {
    let count = parts.message.chars().count();
    let shown = (room.saturating_sub(2 * PER_MESSAGE) * 4).max(LEAST_SHOWN);
    let text: String = parts.message.chars().take(shown).collect();
    let mut text = fenced(text, parts.trust);
    if count > shown {
        text.push_str(&format!("\n[The message was cut: it has {count} characters, these are the first {shown}.]"));
    }
    Message { images: parts.images.clone(), ..Message::user(text) }
}

fn fenced(text: String, trust: Trust) -> String {
    match trust {
        Trust::Untrusted if !text.trim().is_empty() => fence::untrusted(&text),
        _ => text,
    }
}

/// The newest messages that fit, without a gap, and how many did not. A call and its results stay together.
fn newest(history: &[Past], mut room: usize) -> (Vec<Message>, usize) {
    let exchanges = exchanges(history);
    let total: usize = exchanges.iter().map(Vec::len).sum();
    let mut kept = exchanges.len();
    for exchange in exchanges.iter().rev() {
        let size: usize = exchange.iter().map(tokens).sum();
        if size > room {
            break;
        }
        room -= size;
        kept -= 1;
    }
    let messages: Vec<Message> = exchanges.into_iter().skip(kept).flatten().collect();
    let left_out = total - messages.len();
    (messages, left_out)
}

/// Single messages, and calls with their results. A call without its result and a result without its call, as a run that
/// died leaves them, are taken out: providers refuse them.
fn exchanges(history: &[Past]) -> Vec<Vec<Message>> {
    let mut exchanges = Vec::new();
    let mut rest = history;
    while let [first, after @ ..] = rest {
        let results = match first.message.tool_calls.len() {
            0 => 0,
            _ => after.iter().take_while(|past| past.message.role == Role::Tool).count(),
        };
        let (results, after) = after.split_at(results);
        rest = after;
        if first.message.role == Role::Tool {
            continue;
        }
        let mut opening = readable(first);
        let result_of = |id: &str| results.iter().find(|past| past.message.tool_call_id.as_deref() == Some(id));
        let answers: Vec<Message> =
            opening.tool_calls.iter().filter_map(|call| result_of(&call.id)).map(readable).collect();
        opening.tool_calls.retain(|call| result_of(&call.id).is_some());
        if opening.content.trim().is_empty() && opening.tool_calls.is_empty() && opening.images.is_empty() {
            continue;
        }
        exchanges.push(std::iter::once(opening).chain(answers).collect());
    }
    exchanges
}

fn readable(past: &Past) -> Message {
    Message { content: fenced(past.message.content.clone(), past.trust), ..past.message.clone() }
}
