//! What OpenAI's clients send. What would change the answer and cannot be done is refused; what only hints is passed over.

use super::super::error::{Error, Result};
use crate::runner::stateless::Question;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_sdk::chat::{Message, Role, ToolCall, ToolSpec};
use tercel_store::Uuid;

const MOST_MESSAGES: usize = 10_000;

/// As OpenAI documents it; what is not named here is passed over.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Ask {
    /// A bot, or `<bot>:plain`.
    pub model: String,
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Said>,
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    tools: Option<Vec<Tool>>,
    /// `auto` or `none`.
    #[schema(value_type = Option<String>)]
    tool_choice: Option<Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub stream: bool,
    stream_options: Option<StreamOptions>,
    temperature: Option<f64>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    n: Option<u32>,
    #[schema(value_type = Option<Object>)]
    response_format: Option<Value>,
    #[schema(value_type = Option<Object>)]
    stop: Option<Value>,
    logprobs: Option<bool>,
    /// `session` (an id) or `client_id`: answer in that session instead.
    metadata: Option<Metadata>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct StreamOptions {
    #[serde(default, deserialize_with = "or_default")]
    include_usage: bool,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct Metadata {
    session: Option<String>,
    client_id: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    #[serde(default)]
    content: Value,
    tool_calls: Option<Vec<Call>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    function: Called,
}

#[derive(Deserialize)]
struct Called {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    description: Option<String>,
    parameters: Option<Value>,
}

/// Which session.
pub enum Place<'a> {
    Session(Uuid),
    ClientId(&'a str),
}

impl Ask {
    /// Refuses what cannot be done.
    pub fn check(&self) -> Result<()> {
        let cannot = |what: &str| Err(Error::bad_request(what.to_owned()));
        if self.messages.is_empty() || self.messages.len() > MOST_MESSAGES {
            return cannot("messages: between one and 10000 are taken");
        }
        if self.n.is_some_and(|n| n != 1) {
            return cannot("n: one answer is given; ask again for another");
        }
        if self.response_format.as_ref().is_some_and(|format| format["type"] != "text") {
            return cannot("response_format: only `text` can be had; say in the messages what shape you want");
        }
        if self.stop.as_ref().is_some_and(|stop| !stop.is_null() && *stop != json!([])) {
            return cannot("stop: it cannot be had");
        }
        if self.logprobs == Some(true) {
            return cannot("logprobs: they cannot be had");
        }
        if self
            .tool_choice
            .as_ref()
            .is_some_and(|choice| !["auto", "none"].iter().any(|known| choice == known) && !choice.is_null())
        {
            return cannot("tool_choice: only `auto` and `none` can be had");
        }
        if self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            return cannot("temperature: it lies between 0 and 2");
        }
        if self.max_tokens.or(self.max_completion_tokens) == Some(0) {
            return cannot("max_tokens: it is at least 1");
        }
        if let Some(Metadata { session: Some(id), .. }) = &self.metadata
            && id.parse::<Uuid>().is_err()
        {
            return cannot("metadata.session: it is the id of a session");
        }
        Ok(())
    }

    pub fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    pub fn place(&self) -> Option<Place<'_>> {
        let metadata = self.metadata.as_ref()?;
        let session = metadata.session.as_ref().and_then(|id| id.parse().ok()).map(Place::Session);
        session.or_else(|| metadata.client_id.as_deref().map(Place::ClientId))
    }

    pub fn has_tools(&self) -> bool {
        self.tools.as_ref().is_some_and(|tools| !tools.is_empty())
    }

    /// What goes into a session: the last message, which a person must have written.
    pub fn last(&self) -> Result<String> {
        let last = self.messages.last().filter(|said| said.role == "user");
        let last =
            last.ok_or_else(|| Error::bad_request("messages: in a session the last one is of the role `user`"))?;
        let text = text(&last.content, self.messages.len() - 1)?;
        match text.trim().is_empty() {
            true => Err(Error::bad_request("messages: the last one is empty")),
            false => Ok(text),
        }
    }

    /// The whole conversation; which bot is asked is said elsewhere.
    pub fn question(self) -> Result<Question> {
        let offers = self.tool_choice.as_ref().is_none_or(|choice| choice != "none");
        let tools = self.tools.unwrap_or_default().into_iter().filter(|_| offers).map(spec).collect::<Result<_>>()?;
        let messages =
            self.messages.into_iter().enumerate().map(|(at, said)| message(at, said)).collect::<Result<_>>()?;
        Ok(Question {
            bot: Arc::new(crate::bot::Bot::default_bot()),
            plain: false,
            messages,
            tools,
            temperature: self.temperature,
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
        })
    }
}

fn message(at: usize, said: Said) -> Result<Message> {
    let content = text(&said.content, at)?;
    let role = match said.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let known = "`system`, `developer`, `user`, `assistant`, `tool`";
            return Err(Error::bad_request(format!("messages[{at}].role: it is `{other}`; known are {known}")));
        }
    };
    if role == Role::Tool && said.tool_call_id.is_none() {
        return Err(Error::bad_request(format!("messages[{at}].tool_call_id: the call that it answers is missing")));
    }
    let calls = said.tool_calls.unwrap_or_default().into_iter();
    let tool_calls =
        calls.map(|Call { id, function }| ToolCall { id, name: function.name, arguments: function.arguments });
    Ok(Message { role, content, tool_calls: tool_calls.collect(), tool_call_id: said.tool_call_id })
}

/// Content is text, or parts that are text.
fn text(content: &Value, at: usize) -> Result<String> {
    let part = |part: &Value| match part["type"].as_str() {
        Some("text") => Ok(part["text"].as_str().unwrap_or_default().to_owned()),
        Some("refusal") => Ok(part["refusal"].as_str().unwrap_or_default().to_owned()),
        kind => {
            let kind = kind.unwrap_or("without a type");
            Err(Error::bad_request(format!("messages[{at}].content: a part is {kind}; only text is taken here")))
        }
    };
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => Ok(parts.iter().map(part).collect::<Result<Vec<_>>>()?.join("\n")),
        _ => Err(Error::bad_request(format!("messages[{at}].content: text or a list of parts is expected"))),
    }
}

fn spec(tool: Tool) -> Result<ToolSpec> {
    match tool.function {
        Some(function) if tool.kind == "function" => Ok(ToolSpec {
            name: function.name,
            description: function.description.unwrap_or_default(),
            parameters: function.parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} })),
        }),
        _ => Err(Error::bad_request(format!("tools: one is of the type `{}`; only `function` is taken", tool.kind))),
    }
}

/// Null is as good as absent.
fn or_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
