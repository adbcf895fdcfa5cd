//! Wording, and what strangers wrote made fit to stand in it.

use tercel_sdk::text;

/// Characters that a title may have.
pub const TITLE: usize = 300;
/// Characters that a name, a label or a state may have.
pub const WORD: usize = 100;

/// GitHub's actions are past participles.
pub fn verb_of(action: &str) -> String {
    if action.is_empty() { "changed".into() } else { line(action, WORD).replace('_', " ") }
}

/// The first characters of a commit's id, as Git shows them.
pub fn abbreviated(id: &str) -> String {
    id.chars().filter(char::is_ascii_hexdigit).take(7).collect()
}

pub fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// One line: what somebody wrote must not look like a sentence of ours.
pub fn line(text: &str, limit: usize) -> String {
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    text::cut(&words.join(" "), limit)
}

pub fn clean(text: &str) -> String {
    text.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

pub fn shorten(body: &str, limit: usize) -> String {
    let body = clean(body);
    let body = body.trim();
    let characters = body.chars().count();
    if characters <= limit {
        return body.into();
    }
    format!("{}\n\n[cut: {limit} of {characters} characters]", text::cut(body, limit))
}

pub fn tail(text: &str, limit: usize) -> String {
    let skip = text.chars().count().saturating_sub(limit);
    text.chars().skip(skip).collect()
}
