//! Answers without a model: the path from event to answer can be seen and tested before there is a key.

mod arguments;
mod script;

use crate::{Model, Sink, calls, usage};
use futures::future::BoxFuture;
use serde_json::Value;
use std::{collections::HashSet, time::Duration};
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Answer, Message, Request, Role, Shape, ToolCall},
    http, text,
};

/// Every answer that is not scripted begins with it.
pub const NOTE: &str = "(rehearsal: no model is configured)";
const ADVICE: &str = "A real model answers once LLM_BASE_URL and LLM_MODEL are set.";

/// What is answered is a pure function of the request.
pub struct Rehearsal {
    scripts: bool,
}

/// What a rehearsal does next.
#[derive(Default)]
struct Line {
    wait: Duration,
    text: String,
    calls: Vec<(String, String)>,
}

impl Rehearsal {
    pub fn new() -> Self {
        Self { scripts: false }
    }

    /// Lines `rehearse: …` of the user's message say what to answer.
    pub fn scripted() -> Self {
        Self { scripts: true }
    }

    fn line(&self, request: &Request) -> Result<Line> {
        let start = request.messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
        let turn = request.messages.get(start..).unwrap_or_default();
        let user = turn.first().map_or("", |message| message.content.as_str());
        if self.scripts
            && let Some(line) = script::line(user, assistant_messages(turn))?
        {
            return Ok(line);
        }
        let results: Vec<_> = turn.iter().filter(|message| message.role == Role::Tool).collect();
        if !results.is_empty() {
            return Ok(Line { text: report(turn, &results), ..Line::default() });
        }
        if let Some(call) = arguments::first_call(request, start) {
            return Ok(Line { calls: vec![call], ..Line::default() });
        }
        Ok(Line { text: format!("{NOTE}\n\nI received: {}\n\n{ADVICE}", quote(user)), ..Line::default() })
    }
}

impl Default for Rehearsal {
    fn default() -> Self {
        Self::new()
    }
}

impl Model for Rehearsal {
    fn id(&self) -> &str {
        "rehearsal"
    }

    fn answer<'a>(
        &'a self,
        _: &'a http::Client,
        request: &'a Request,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            if request.shape != Shape::default() {
                let message = "The rehearsal answers as it does: stop, response_format and tool_choice need a model";
                return Err(Error::new(Kind::Unsupported, message).hint("Set LLM_BASE_URL and LLM_MODEL"));
            }
            let line = self.line(request)?;
            if !line.wait.is_zero() {
                tokio::time::sleep(line.wait).await;
            }
            line.text.split_inclusive(' ').for_each(|word| sink.text(word));
            Ok(answer(request, line))
        })
    }
}

fn answer(request: &Request, line: Line) -> Answer {
    let mut taken: HashSet<_> =
        request.messages.iter().flat_map(|message| &message.tool_calls).map(|call| call.id.clone()).collect();
    let tool_calls: Vec<_> = line
        .calls
        .into_iter()
        .enumerate()
        .map(|(at, (name, arguments))| ToolCall { id: calls::new_id(request, at, &mut taken), name, arguments })
        .collect();
    Answer {
        usage: usage::estimate(request, &line.text, &tool_calls),
        text: line.text,
        tool_calls,
        model: "rehearsal".into(),
        truncated: false,
        repairs: Vec::new(),
    }
}

fn assistant_messages(turn: &[Message]) -> usize {
    turn.iter().filter(|message| message.role == Role::Assistant).count()
}

fn report(turn: &[Message], results: &[&Message]) -> String {
    let calls: Vec<_> = turn.iter().flat_map(|message| &message.tool_calls).collect();
    let mut lines = vec![NOTE.to_owned(), String::new()];
    for result in results {
        let call = calls.iter().find(|call| Some(&call.id) == result.tool_call_id.as_ref());
        match call {
            Some(call) => {
                lines.push(format!("I called `{}` with `{}` and read:", call.name, text::cut(&call.arguments, 200)))
            }
            None => lines.push("I read:".to_owned()),
        }
        lines.extend(summary(&result.content).into_iter().map(|line| format!("> {line}")));
        lines.push(String::new());
    }
    lines.push(ADVICE.to_owned());
    lines.join("\n")
}

/// The first things that a tool's result says.
fn summary(result: &str) -> Vec<String> {
    let json = result.find('{').zip(result.rfind('}')).and_then(|(from, to)| result.get(from..=to));
    let lines: Vec<_> = match json.and_then(|json| serde_json::from_str(json).ok()) {
        Some(Value::Object(fields)) => fields.iter().filter_map(|(name, value)| fact(name, value)).take(5).collect(),
        _ => result
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take(3)
            .map(|line| text::cut(line, 120))
            .collect(),
    };
    if lines.is_empty() { vec!["(nothing)".to_owned()] } else { lines }
}

fn fact(name: &str, value: &Value) -> Option<String> {
    let said = match value {
        Value::String(said) => text::cut(said.lines().next().unwrap_or_default().trim(), 100),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(entries) => format!("{} entries", entries.len()),
        Value::Null | Value::Object(_) => return None,
    };
    (!said.is_empty()).then(|| format!("{name}: {said}"))
}

fn quote(user: &str) -> String {
    match user.trim() {
        "" => "nothing".to_owned(),
        said => format!("“{}”", text::cut(said, 200)),
    }
}
