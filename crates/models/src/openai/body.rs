//! A request in OpenAI's words, less what a server turned out not to take.

use crate::{calls, failure::Refused};
use serde_json::{Map, Value, json};
use tercel_sdk::chat::{Choice, Format, Message, Request, Role, ToolSpec};

/// How one server differs from what is documented.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialect {
    usage_in_stream: bool,
    max_tokens: &'static str,
    temperature: bool,
    /// It was taken once as it is: a later refusal has another reason.
    pub is_proven: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { usage_in_stream: true, max_tokens: "max_tokens", temperature: true, is_proven: false }
    }
}

impl Dialect {
    /// What to try instead, when that may be what was refused.
    pub fn adapted(&self, sent: &Value, refused: &Refused) -> Option<Self> {
        if !matches!(refused.status, 400 | 422) {
            return None;
        }
        let was_refused = |name: &str| sent.get(name).is_some() && refused.said.contains(name);
        if was_refused("stream_options") {
            return Some(Self { usage_in_stream: false, ..self.clone() });
        }
        if self.max_tokens == "max_tokens"
            && was_refused("max_tokens")
            && refused.said.contains("max_completion_tokens")
        {
            return Some(Self { max_tokens: "max_completion_tokens", ..self.clone() });
        }
        if was_refused("temperature") && refused.said.to_lowercase().contains("support") {
            return Some(Self { temperature: false, ..self.clone() });
        }
        let may_be_usage = sent.get("stream_options").is_some() && !self.is_proven;
        may_be_usage.then(|| Self { usage_in_stream: false, ..self.clone() })
    }
}

pub fn of(request: &Request, dialect: &Dialect, stream: bool) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), request.model.clone().into());
    body.insert("messages".into(), request.messages.iter().map(message).collect());
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        match &request.shape.choice {
            Choice::Auto => {}
            Choice::Required => drop(body.insert("tool_choice".into(), "required".into())),
            Choice::Tool(name) => {
                body.insert("tool_choice".into(), json!({ "type": "function", "function": { "name": name } }));
            }
        }
    }
    if let Some(temperature) = request.temperature.filter(|_| dialect.temperature) {
        body.insert("temperature".into(), temperature.into());
    }
    if let Some(limit) = request.max_tokens {
        body.insert(dialect.max_tokens.into(), limit.into());
    }
    if !request.shape.stop.is_empty() {
        body.insert("stop".into(), request.shape.stop.clone().into());
    }
    match &request.shape.format {
        Format::Text => {}
        Format::Json => drop(body.insert("response_format".into(), json!({ "type": "json_object" }))),
        Format::Schema(schema) => {
            body.insert("response_format".into(), json!({ "type": "json_schema", "json_schema": schema }));
        }
    }
    body.insert("stream".into(), stream.into());
    if stream && dialect.usage_in_stream {
        body.insert("stream_options".into(), json!({ "include_usage": true }));
    }
    Value::Object(body)
}

fn message(message: &Message) -> Value {
    match message.role {
        Role::System => json!({ "role": "system", "content": message.content }),
        Role::User if message.images.is_empty() => json!({ "role": "user", "content": message.content }),
        Role::User => {
            let text = (!message.content.is_empty()).then(|| json!({ "type": "text", "text": message.content }));
            let images = message.images.iter().map(|image| {
                let url = format!("data:{};base64,{}", image.mime_type, image.base64);
                json!({ "type": "image_url", "image_url": { "url": url } })
            });
            json!({ "role": "user", "content": text.into_iter().chain(images).collect::<Vec<_>>() })
        }
        Role::Tool => {
            json!({ "role": "tool", "tool_call_id": message.tool_call_id, "content": message.content })
        }
        Role::Assistant if message.tool_calls.is_empty() => json!({ "role": "assistant", "content": message.content }),
        Role::Assistant => {
            let content = (!message.content.is_empty()).then_some(&message.content);
            let calls: Vec<_> = message
                .tool_calls
                .iter()
                .map(|call| {
                    let function = json!({ "name": call.name, "arguments": readable(&call.arguments) });
                    json!({ "id": call.id, "type": "function", "function": function })
                })
                .collect();
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
    }
}

/// Servers that read the arguments of earlier calls refuse the whole conversation over a malformed one.
fn readable(arguments: &str) -> String {
    if calls::is_object(arguments) { arguments.to_owned() } else { json!({ "malformed": arguments }).to_string() }
}

fn tool(tool: &ToolSpec) -> Value {
    let mut parameters = match &tool.parameters {
        Value::Object(schema) => schema.clone(),
        _ => Map::new(),
    };
    parameters.entry("type").or_insert_with(|| "object".into());
    parameters.entry("properties").or_insert_with(|| json!({}));
    let function = json!({ "name": tool.name, "description": tool.description, "parameters": parameters });
    json!({ "type": "function", "function": function })
}
