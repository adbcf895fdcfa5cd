//! Which tool a rehearsal calls, and with what: values found in what was written, by the names and types of a schema.

use serde_json::{Map, Value};
use tercel_sdk::chat::{Request, Role, ToolSpec};

const READING: [&str; 6] = ["get", "read", "fetch", "show", "view", "lookup"];

/// The first tool that reads and whose required arguments are all found; at least one must be.
pub fn first_call(request: &Request, user: usize) -> Option<(String, String)> {
    let told = told(request, user);
    request.tools.iter().filter(|tool| is_reading(tool)).find_map(|tool| {
        let arguments = fill(&tool.parameters, &told)?;
        Some((tool.name.clone(), Value::Object(arguments).to_string()))
    })
}

/// What the user wrote, then what stands before it, nearest first.
fn told(request: &Request, user: usize) -> Vec<&str> {
    let before = request.messages[..user.min(request.messages.len())].iter().rev();
    let nearest = request.messages.get(user).into_iter();
    let systems = before.filter(|message| message.role == Role::System);
    nearest.chain(systems).map(|message| message.content.as_str()).collect()
}

fn is_reading(tool: &ToolSpec) -> bool {
    tool.name.split(['_', '-', '.']).any(|word| READING.contains(&word))
}

fn fill(schema: &Value, told: &[&str]) -> Option<Map<String, Value>> {
    let required: Vec<_> = schema.get("required")?.as_array()?.iter().filter_map(Value::as_str).collect();
    if required.is_empty() {
        return None;
    }
    let has_owner = required.contains(&"owner");
    let mut arguments = Map::new();
    for name in required {
        let property = schema.get("properties")?.get(name)?;
        arguments.insert(name.to_owned(), value(name, property, has_owner, told)?);
    }
    Some(arguments)
}

fn value(name: &str, property: &Value, has_owner: bool, told: &[&str]) -> Option<Value> {
    if let Some(default) = property.get("default").filter(|default| !default.is_null()) {
        return Some(default.clone());
    }
    let first = |find: fn(&str) -> Option<String>| told.iter().find_map(|text| find(text));
    let half = |at: usize| first(repository)?.split('/').nth(at).map(str::to_owned);
    let kind = property.get("type")?;
    let is = |name: &str| kind == name || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == name));
    if is("integer") || is("number") {
        return told.iter().find_map(|text| number(text)).filter(|_| is_reference(name)).map(Value::from);
    }
    if !is("string") {
        return None;
    }
    let found = match name {
        "owner" => half(0),
        "repo" | "repository" | "name" if has_owner => half(1),
        "repo" | "repository" | "project" | "full_name" => first(repository),
        "url" | "link" => first(address),
        _ => told.iter().find_map(|text| named(text, name)),
    };
    found.map(Value::from)
}

/// A number that names something, not one that limits or counts.
fn is_reference(name: &str) -> bool {
    let names = ["number", "id", "iid", "pr", "issue", "pull", "mr", "ticket"];
    name.split('_').any(|word| names.contains(&word))
}

/// `owner/name`: from an address, else from any word that has just that form.
fn repository(text: &str) -> Option<String> {
    let in_address = words(text).filter(|word| word.contains("://")).find_map(|word| {
        let mut segments = word.split_once("://")?.1.split('/').skip(1);
        pair(segments.next()?, segments.next()?)
    });
    in_address.or_else(|| {
        words(text).filter(|word| !word.contains("://")).flat_map(|word| word.split([':', '#', '='])).find_map(|word| {
            let (owner, name) = word.trim_end_matches('.').split_once('/')?;
            pair(owner, name)
        })
    })
}

fn pair(owner: &str, name: &str) -> Option<String> {
    let is_name = |text: &str| {
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        is_plain && text.chars().any(|c| c.is_ascii_alphabetic())
    };
    // Words that people put a slash between, and types of media.
    let prose = ["and", "or", "he", "she", "his", "her", "yes", "either", "input", "text", "application", "image"];
    (is_name(owner) && is_name(name) && !prose.contains(&owner.to_lowercase().as_str()))
        .then(|| format!("{owner}/{name}"))
}

/// `#12`, or the first number that is a segment of an address or of a thread such as `pr/12`.
fn number(text: &str) -> Option<u64> {
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse::<u64>().ok().filter(|_| !text[end..].starts_with(char::is_alphanumeric))
    };
    let marked = text.match_indices('#').find_map(|(at, _)| digits(&text[at + 1..]));
    marked.or_else(|| words(text).find_map(|word| word.match_indices('/').find_map(|(at, _)| digits(&word[at + 1..]))))
}

fn address(text: &str) -> Option<String> {
    words(text).find(|word| word.starts_with("https://") || word.starts_with("http://")).map(str::to_owned)
}

/// What stands in backticks or quotes after the name: room `general`.
fn named(text: &str, name: &str) -> Option<String> {
    text.match_indices(name).find_map(|(at, _)| {
        let is_word = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = text[at + name.len()..].strip_prefix([' ', ':', '='])?.trim_start();
        let quote = rest.chars().next().filter(|c| is_word && "`\"'".contains(*c))?;
        let (value, _) = rest[1..].split_once(quote)?;
        (!value.is_empty() && !value.contains(char::is_whitespace)).then(|| value.to_owned())
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "()[]<>{}\"'`,;!|".contains(c))
        .map(|word| word.trim_end_matches(['.', ':', '?']))
        .filter(|word| !word.is_empty())
}
