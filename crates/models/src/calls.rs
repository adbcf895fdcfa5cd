//! Tool calls that a model wrote as text, and the mending of those it made properly.

use serde_json::Value;
use std::collections::HashSet;
use tercel_sdk::chat::{Request, ToolCall, ToolSpec};

/// Calls of one answer. A model that repeats itself writes thousands, and each takes its place in the run.
pub const MOST: usize = 128;

/// A call without its final id.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub id: Option<String>,
    pub name: String,
    pub arguments: String,
}

/// The calls that a JSON value stands for: all of it, and only of tools that are offered.
pub fn written_in(value: &Value, tools: &[ToolSpec]) -> Option<Vec<Draft>> {
    if let Value::Array(values) = value {
        let calls = values.iter().map(|value| written_in(value, tools)).collect::<Option<Vec<_>>>()?.concat();
        return (!calls.is_empty()).then_some(calls);
    }
    let object = value.as_object()?;
    if let Some(inner) = ["tool_calls", "tool_call", "function_call"].iter().find_map(|key| object.get(*key)) {
        return written_in(inner, tools);
    }
    let id = object.get("id").and_then(Value::as_str).map(str::to_owned);
    if let Some(function @ Value::Object(_)) = object.get("function") {
        let calls = written_in(function, tools)?;
        return Some(calls.into_iter().map(|call| Draft { id: id.clone(), ..call }).collect());
    }
    let name = ["name", "tool", "tool_name", "function"].iter().find_map(|key| object.get(*key)?.as_str())?;
    let arguments = ["arguments", "parameters", "args", "input"].iter().find_map(|key| object.get(*key))?;
    let arguments = match arguments {
        Value::Object(_) => arguments.to_string(),
        Value::String(text) if is_object(text) => text.clone(),
        _ => return None,
    };
    Some(vec![Draft { id, name: offered(name, tools)?.to_owned(), arguments }])
}

/// Gives every call a name that is offered where one is meant, arguments that are JSON where that is possible, and an
/// id of its own.
pub fn mend(drafts: Vec<Draft>, request: &Request, repairs: &mut Vec<String>) -> Vec<ToolCall> {
    let mut taken: HashSet<String> =
        request.messages.iter().flat_map(|message| &message.tool_calls).map(|call| call.id.clone()).collect();
    let mut calls = Vec::new();
    if drafts.len() > MOST {
        repairs.push(format!("left out the tool calls after the first {MOST}"));
    }
    for draft in drafts.into_iter().take(MOST) {
        if draft.name.is_empty() {
            repairs.push(format!("left out a tool call without a name ({} characters)", draft.arguments.len()));
            continue;
        }
        let name = match offered(&draft.name, &request.tools) {
            Some(name) if name != draft.name => {
                repairs.push(format!("took the tool `{}` as `{name}`", draft.name));
                name.to_owned()
            }
            _ => draft.name,
        };
        let arguments = mend_arguments(&name, draft.arguments, repairs);
        let id = match draft.id.filter(|id| !id.is_empty()) {
            Some(id) if taken.insert(id.clone()) => id,
            given => {
                let id = new_id(request, calls.len(), &mut taken);
                let why = if given.is_some() { "an id that was used before" } else { "no id" };
                repairs.push(format!("the call of `{name}` had {why}: it is now `{id}`"));
                id
            }
        };
        calls.push(ToolCall { id, name, arguments });
    }
    calls
}

/// Nine letters and digits, the one form that every provider takes back; the same for the same request.
pub fn new_id(request: &Request, index: usize, taken: &mut HashSet<String>) -> String {
    (index..)
        .map(|number| format!("c{:05}{number:03}", request.messages.len()))
        .find(|id| taken.insert(id.clone()))
        .expect("an endless row of numbers has one that is free")
}

pub fn is_object(text: &str) -> bool {
    matches!(serde_json::from_str(text), Ok(Value::Object(_)))
}

fn mend_arguments(name: &str, arguments: String, repairs: &mut Vec<String>) -> String {
    if arguments.trim().is_empty() {
        repairs.push(format!("the call of `{name}` had empty arguments: taken as {{}}"));
        return "{}".into();
    }
    if let Ok(Value::String(inner)) = serde_json::from_str(&arguments)
        && is_object(&inner)
    {
        repairs.push(format!("the arguments of `{name}` were encoded twice"));
        return inner;
    }
    if let Some(rest) = arguments.trim_start().strip_prefix("{}")
        && is_object(rest)
    {
        repairs.push(format!("the arguments of `{name}` began with an empty object"));
        return rest.trim().into();
    }
    arguments
}

/// The offered tool that a model means by `name`: some write `functions.name` or `functions.name:0`.
fn offered<'t>(name: &str, tools: &'t [ToolSpec]) -> Option<&'t str> {
    let find = |name: &str| tools.iter().map(|tool| tool.name.as_str()).find(|offered| *offered == name);
    let name = name.trim();
    find(name).or_else(|| {
        let bare = name.strip_prefix("functions.").unwrap_or(name);
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        find(bare.rsplit_once(':').filter(|(_, tail)| number(tail)).map_or(bare, |(head, _)| head))
    })
}
