//! A request in Anthropic's words.
//!
//! System messages stand anywhere in our conversations; here all of them go, in their order, into `system`: what the
//! operator says keeps its weight, and nobody who writes a message can pass for it.

use crate::{calls, failure::Refused};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tercel_sdk::chat::{Choice, Format, Image, Message, Request, Role, ToolSpec};

/// The interface demands a limit; this one is taken where the request has none.
const MAX_TOKENS: u64 = 8192;

/// How one model differs from others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dialect {
    most_tokens: Option<u64>,
    without_temperature: bool,
    without_cache: bool,
}

impl Dialect {
    /// What to try instead, when that may be what was refused.
    pub fn adapted(&self, sent: &Value, refused: &Refused) -> Option<Self> {
        if refused.status != 400 {
            return None;
        }
        if refused.said.contains("cache_control") {
            return (!self.without_cache).then(|| Self { without_cache: true, ..self.clone() });
        }
        // "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for …"
        if let Some((_, rest)) = refused.said.split_once("max_tokens: ").and_then(|(_, rest)| rest.split_once(" > ")) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let most = digits.parse().ok().filter(|most| Some(*most) < sent["max_tokens"].as_u64())?;
            return Some(Self { most_tokens: Some(most), ..self.clone() });
        }
        let is_temperature = sent.get("temperature").is_some() && refused.said.contains("temperature");
        is_temperature.then(|| Self { without_temperature: true, ..self.clone() })
    }
}

pub fn of(request: &Request, dialect: &Dialect, stream: bool) -> Value {
    let limit = request.max_tokens.map_or(MAX_TOKENS, u64::from);
    let mut body = Map::new();
    body.insert("model".into(), request.model.clone().into());
    body.insert("max_tokens".into(), dialect.most_tokens.map_or(limit, |most| limit.min(most)).into());
    let system = request.messages.iter().filter(|message| message.role == Role::System).map(|said| &said.content);
    let mut system: Vec<Value> = system.filter(|text| !text.trim().is_empty()).map(|text| text_block(text)).collect();
    if !dialect.without_cache {
        // The bot's own words come first and are the same in all its conversations; all of it is the same in one run.
        mark(system.first_mut());
        mark(system.last_mut());
    }
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), conversation(&request.messages));
    let mut tools: Vec<Value> = request.tools.iter().map(tool).collect();
    if !dialect.without_cache {
        mark(tools.last_mut());
    }
    if tools.is_empty() {
        // A conversation with calls in it is refused when no tools are named.
        let used: BTreeSet<&str> =
            request.messages.iter().flat_map(|message| &message.tool_calls).map(|call| call.name.as_str()).collect();
        if !used.is_empty() {
            let named = |name: &&str| json!({ "name": name, "input_schema": { "type": "object" } });
            body.insert("tools".into(), used.iter().map(named).collect());
            body.insert("tool_choice".into(), json!({ "type": "none" }));
        }
    } else {
        body.insert("tools".into(), tools.into());
        match &request.shape.choice {
            Choice::Auto => {}
            Choice::Required => drop(body.insert("tool_choice".into(), json!({ "type": "any" }))),
            Choice::Tool(name) => drop(body.insert("tool_choice".into(), json!({ "type": "tool", "name": name }))),
        }
    }
    if !request.shape.stop.is_empty() {
        body.insert("stop_sequences".into(), request.shape.stop.clone().into());
    }
    if let Format::Schema(schema) = &request.shape.format {
        let format = json!({ "type": "json_schema", "schema": schema["schema"] });
        body.insert("output_config".into(), json!({ "format": format }));
    }
    if let Some(temperature) = request.temperature.filter(|_| !dialect.without_temperature) {
        body.insert("temperature".into(), temperature.clamp(0.0, 1.0).into());
    }
    body.insert("stream".into(), stream.into());
    Value::Object(body)
}

/// Turns of user and assistant in alternation, each call followed at once by its result.
fn conversation(messages: &[Message]) -> Value {
    let mut turns = Turns::default();
    for message in messages {
        match message.role {
            Role::System => {}
            Role::User => turns.ask(&message.content, &message.images),
            Role::Tool => turns.result(message.tool_call_id.as_deref().unwrap_or_default(), &message.content),
            Role::Assistant => {
                turns.say("assistant", &message.content);
                for call in &message.tool_calls {
                    let input: Value = match calls::is_object(&call.arguments) {
                        true => serde_json::from_str(&call.arguments).unwrap_or_default(),
                        false => json!({ "malformed": call.arguments }),
                    };
                    let id = permitted(&call.id);
                    let block = json!({ "type": "tool_use", "id": id, "name": call.name, "input": input });
                    turns.add("assistant", block);
                    turns.open.push(id);
                }
            }
        }
    }
    turns.close();
    turns.done()
}

#[derive(Default)]
struct Turns {
    all: Vec<(&'static str, Vec<Value>)>,
    /// Calls of the last turn that have no result yet.
    open: Vec<String>,
}

impl Turns {
    fn say(&mut self, role: &'static str, text: &str) {
        if !text.trim().is_empty() {
            self.close();
            // Refused at the end of an assistant's turn.
            self.add(role, text_block(if role == "assistant" { text.trim_end() } else { text }));
        }
    }

    fn ask(&mut self, text: &str, images: &[Image]) {
        self.say("user", text);
        if !images.is_empty() {
            self.close();
        }
        for Image { mime_type, base64 } in images {
            let source = json!({ "type": "base64", "media_type": mime_type, "data": **base64 });
            self.add("user", json!({ "type": "image", "source": source }));
        }
    }

    fn result(&mut self, id: &str, content: &str) {
        let id = permitted(id);
        match self.open.iter().position(|open| *open == id) {
            Some(at) => {
                self.open.remove(at);
                let content = if content.is_empty() { "(nothing)" } else { content };
                self.add("user", json!({ "type": "tool_result", "tool_use_id": id, "content": content }));
            }
            None => self.say("user", &format!("Result of an earlier call: {content}")),
        }
    }

    /// A call without a result makes the whole conversation invalid.
    fn close(&mut self) {
        for id in std::mem::take(&mut self.open) {
            let content = "No result of this call was recorded.";
            self.add("user", json!({ "type": "tool_result", "tool_use_id": id, "content": content }));
        }
    }

    fn add(&mut self, role: &'static str, block: Value) {
        match self.all.last_mut() {
            Some((last, blocks)) if *last == role => blocks.push(block),
            _ => self.all.push((role, vec![block])),
        }
    }

    fn done(mut self) -> Value {
        if self.all.first().is_none_or(|(role, _)| *role == "assistant") {
            self.all.insert(0, ("user", vec![text_block("(The conversation began earlier.)")]));
        }
        self.all.into_iter().map(|(role, blocks)| json!({ "role": role, "content": blocks })).collect()
    }
}

/// What stands up to here is the same the next time: the provider may keep it.
fn mark(block: Option<&mut Value>) {
    if let Some(block) = block {
        block["cache_control"] = json!({ "type": "ephemeral" });
    }
}

fn text_block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// Ids of other providers may have characters that this one does not take.
fn permitted(id: &str) -> String {
    let id: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect();
    if id.is_empty() { "call".into() } else { id }
}

fn tool(tool: &ToolSpec) -> Value {
    let mut schema = match &tool.parameters {
        Value::Object(schema) => schema.clone(),
        _ => Map::new(),
    };
    schema.entry("type").or_insert_with(|| "object".into());
    json!({ "name": tool.name, "description": tool.description, "input_schema": schema })
}
