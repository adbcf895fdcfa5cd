//! Puts an answer together from its pieces.

use super::shape::{Call, Chunk, Function, Turn, texts};
use crate::{
    Sink, adapter,
    calls::{self, Draft},
    content::Content,
    failure,
    reading::not_understood,
    usage,
};
use serde_json::Value;
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Answer, Request, Usage},
};

pub struct Assembly<'a> {
    request: &'a Request,
    sink: &'a dyn Sink,
    content: Content<'a>,
    refusal: String,
    calls: Vec<Building>,
    model: Option<String>,
    usage: Option<Usage>,
    finish_reason: Option<String>,
    has_choice: bool,
    repairs: Vec<String>,
}

struct Building {
    index: Option<u64>,
    draft: Draft,
}

impl<'a> Assembly<'a> {
    pub fn new(request: &'a Request, sink: &'a dyn Sink) -> Self {
        Self {
            request,
            sink,
            content: Content::new(&request.tools, sink),
            refusal: String::new(),
            calls: Vec::new(),
            model: None,
            usage: None,
            finish_reason: None,
            has_choice: false,
            repairs: Vec::new(),
        }
    }

    fn push(&mut self, chunk: Chunk) {
        self.model = chunk.model.filter(|model| !model.is_empty()).or(self.model.take());
        if let Some(usage) = chunk.usage.and_then(|counts| counts.usage()) {
            self.sink.spent(usage);
            self.usage = Some(usage);
        }
        for mut choice in chunk.choices.unwrap_or_default() {
            if choice.index.unwrap_or(0) != 0 {
                continue;
            }
            self.has_choice = true;
            self.take(choice.turn());
            self.finish_reason = choice.finish_reason.filter(|reason| !reason.is_empty()).or(self.finish_reason.take());
        }
    }

    fn take(&mut self, turn: Turn) {
        let reasoning = turn.reasoning_content.or(turn.reasoning).map(|value| texts(&value)).unwrap_or_default();
        let content = turn.content.map(|value| texts(&value)).unwrap_or_default();
        for thought in [&reasoning.text, &reasoning.thinking, &content.thinking] {
            if !thought.is_empty() {
                self.sink.thinking(thought);
            }
        }
        if !content.text.is_empty() {
            self.content.push(&content.text);
        }
        self.refusal.push_str(turn.refusal.as_deref().unwrap_or_default());
        for call in turn.tool_calls.into_iter().flatten() {
            self.take_call(call);
        }
        if let Some(function) = turn.function_call {
            self.take_call(Call { index: Some(0), id: None, function: Some(function) });
        }
    }

    fn take_call(&mut self, call: Call) {
        let function = call.function.unwrap_or_default();
        let id = call.id.filter(|id| !id.is_empty());
        let at = match self.building(call.index, id.as_deref(), &function) {
            Some(at) => at,
            None => {
                let draft = Draft { id: None, name: String::new(), arguments: String::new() };
                // Those that are left out in the end all take the place of one.
                self.calls.truncate(calls::MOST);
                self.calls.push(Building { index: call.index, draft });
                self.calls.len() - 1
            }
        };
        let draft = &mut self.calls[at].draft;
        draft.id = id.or(draft.id.take());
        match function.name {
            // Some servers repeat the name in every piece.
            Some(name) if draft.name != name => draft.name.push_str(&name),
            _ => {}
        }
        match function.arguments {
            Some(Value::String(piece)) => draft.arguments.push_str(&piece),
            Some(Value::Null) | None => {}
            Some(value) => {
                draft.arguments = value.to_string();
                self.repairs.push(format!("the arguments of `{}` came as {}", draft.name, shape(&value)));
            }
        }
    }

    /// The call that a piece continues. Some servers count all calls as number 0, some count none.
    fn building(&self, index: Option<u64>, id: Option<&str>, function: &Function) -> Option<usize> {
        let has_name = function.name.as_deref().is_some_and(|name| !name.is_empty());
        let at = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index)?,
            None => self.calls.len().checked_sub(1)?,
        };
        let draft = &self.calls[at].draft;
        let is_other_id = matches!((id, &draft.id), (Some(new), Some(old)) if new != old);
        // Looked at last: the arguments may be long, and a piece with a name is rare.
        let is_anonymous_next = || index.is_none() && id.is_none() && calls::is_object(&draft.arguments);
        let is_next = has_name && (is_other_id || is_anonymous_next());
        (!is_next).then_some(at)
    }
}

impl adapter::Assembly for Assembly<'_> {
    fn whole(&mut self, value: Value, said: &str) -> Result<()> {
        let chunk = chunk(value, said)?;
        let is_none = chunk.choices.as_ref().is_none_or(Vec::is_empty);
        self.push(chunk);
        if is_none { Err(not_understood(NO_CHOICES, said)) } else { Ok(()) }
    }

    fn event(&mut self, name: &str, value: Value, said: &str) -> Result<bool> {
        if name == "error" {
            return Err(failure::within(&value));
        }
        self.push(chunk(value, said)?);
        Ok(false)
    }

    fn is_over(&self) -> bool {
        self.finish_reason.is_some()
    }

    fn note(&mut self, repair: &str) {
        self.repairs.push(repair.into());
    }

    fn finish(self) -> Result<Answer> {
        if !self.has_choice {
            return Err(Error::new(Kind::Error, "The model provider answered without a choice: there is no answer"));
        }
        let mut repairs = self.repairs;
        let mut found = self.content.finish();
        found.calls.truncate(calls::MOST + 1);
        let mut drafts: Vec<_> = self.calls.into_iter().map(|call| call.draft).collect();
        if drafts.is_empty() {
            drafts = std::mem::take(&mut found.calls);
        } else if !found.calls.is_empty() {
            let is_repetition = found.calls.iter().all(|written| drafts.iter().any(|made| is_same(made, written)));
            found.repairs.pop();
            if is_repetition {
                repairs.push("left out tool calls that were repeated as text".into());
            } else {
                found.text = [found.raw.concat(), found.text].concat();
                repairs.push("left what looks like a tool call as text: the answer has tool calls besides".into());
            }
        }
        repairs.append(&mut found.repairs);
        let has_drafts = !drafts.is_empty();
        let tool_calls = calls::mend(drafts, self.request, &mut repairs);
        let mut text = found.text;
        let reason = self.finish_reason.as_deref().unwrap_or_default();
        if text.is_empty() && !self.refusal.is_empty() {
            text = self.refusal;
            repairs.push("the model refused: its refusal is the answer".into());
        }
        let is_empty = text.is_empty() && tool_calls.is_empty();
        match reason {
            "content_filter" if is_empty => {
                let message = "The provider's content filter withheld the answer";
                return Err(Error::new(Kind::Error, message).hint("Say it differently, or use another model"));
            }
            "content_filter" => repairs.push("the provider's content filter cut the answer".into()),
            "error" => return Err(Error::new(Kind::Error, "The model provider broke off its answer with an error")),
            _ if is_empty && has_drafts => {
                return Err(not_understood("The tool calls have no names", &repairs.join("; ")));
            }
            _ if is_empty => repairs.push("the answer is empty".into()),
            _ => {}
        }
        let usage = self.usage.unwrap_or_else(|| {
            repairs.push("the provider did not count tokens: estimated from the number of characters".into());
            usage::estimate(self.request, &text, &tool_calls)
        });
        Ok(Answer {
            text,
            tool_calls,
            usage,
            model: self.model.unwrap_or_else(|| self.request.model.clone()),
            truncated: matches!(reason, "length" | "max_tokens" | "MAX_TOKENS"),
            repairs,
        })
    }
}

const NO_CHOICES: &str = "The model provider's answer has no choices";

fn chunk(value: Value, said: &str) -> Result<Chunk> {
    let is_error = value.get("error").is_some_and(|error| !error.is_null())
        || value.get("object").and_then(Value::as_str) == Some("error");
    if is_error {
        return Err(failure::within(&value));
    }
    if !value.is_object() {
        return Err(not_understood(NO_CHOICES, said));
    }
    serde_json::from_value(value)
        .map_err(|error| not_understood(&format!("The model provider's answer has an unknown shape ({error})"), said))
}

fn is_same(one: &Draft, other: &Draft) -> bool {
    let value = |draft: &Draft| serde_json::from_str::<Value>(&draft.arguments).ok();
    one.name == other.name && value(one) == value(other)
}

fn shape(value: &Value) -> &'static str {
    if value.is_object() { "an object instead of text" } else { "something else than text" }
}
