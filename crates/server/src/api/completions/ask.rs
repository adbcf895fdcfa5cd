//! What OpenAI's clients send. What would change the answer and cannot be done is refused; what only hints is passed over.

use super::{
    super::error::{Error, Result},
    content,
    shape::{self, Stop},
};
use crate::{
    bot::Bot,
    runner::{Wanted, stateless::Question},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_agent::arguments::usable;
use tercel_sdk::chat::{Choice, Message, Role, Shape, ToolCall, ToolSpec};
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
    /// `auto`, `none`, `required`, or a function.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub stream: bool,
    stream_options: Option<StreamOptions>,
    temperature: Option<f64>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    n: Option<u32>,
    /// `text`, `json_object` or `json_schema`, where the model can.
    #[schema(value_type = Option<Object>)]
    response_format: Option<Value>,
    /// A text or up to four.
    #[schema(value_type = Option<Object>)]
    stop: Option<Stop>,
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
        if self.stream_options.is_some() && !self.stream {
            return cannot("stream_options: only with `stream`");
        }
        if self.logprobs == Some(true) {
            return cannot("logprobs: they cannot be had");
        }
        if self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            return cannot("temperature: it lies between 0 and 2");
        }
        for (name, limit) in [("max_completion_tokens", self.max_completion_tokens), ("max_tokens", self.max_tokens)] {
            if limit == Some(0) {
                return cannot(&format!("{name}: it is at least 1"));
            }
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
        let content = content::of(&last.content, self.messages.len() - 1)?;
        if !content.images.is_empty() {
            return Err(Error::bad_request("messages: pictures for a session are attachments of POST /chat"));
        }
        match content.text.trim().is_empty() {
            true => Err(Error::bad_request("messages: the last one is empty")),
            false => Ok(content.text),
        }
    }

    /// In a session its bot decides about tools.
    pub fn wanted_in_session(&self) -> Result<Wanted> {
        match shape::choice(self.tool_choice.as_ref(), &[])? {
            Some(Choice::Auto) => self.wanted(Choice::Auto),
            _ => Err(Error::bad_request("tool_choice: in a session the bot decides; leave it away")),
        }
    }

    /// The whole conversation, for this bot.
    pub fn question(self, bot: Arc<Bot>, plain: bool) -> Result<Question> {
        let tools = self.tools.iter().flatten().map(spec).collect::<Result<Vec<_>>>()?;
        let choice = shape::choice(self.tool_choice.as_ref(), &tools)?;
        let tools = if choice.is_some() { tools } else { Vec::new() };
        let wanted = self.wanted(choice.unwrap_or_default())?;
        let messages =
            self.messages.into_iter().enumerate().map(|(at, said)| message(at, said)).collect::<Result<_>>()?;
        Ok(Question { bot, plain, messages, tools, wanted })
    }

    fn wanted(&self, choice: Choice) -> Result<Wanted> {
        let stop = self.stop.as_ref().map(Stop::checked).transpose()?.unwrap_or_default();
        let format = shape::format(self.response_format.as_ref())?;
        Ok(Wanted {
            temperature: self.temperature,
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            shape: Shape { stop, format, choice },
        })
    }
}

fn message(at: usize, said: Said) -> Result<Message> {
    let content = content::of(&said.content, at)?;
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
    if role != Role::User && !content.images.is_empty() {
        return Err(Error::bad_request(format!(
            "messages[{at}].content: only messages of the role `user` have pictures"
        )));
    }
    let calls = said.tool_calls.unwrap_or_default().into_iter();
    let tool_calls =
        calls.map(|Call { id, function }| ToolCall { id, name: function.name, arguments: function.arguments });
    Ok(Message {
        role,
        content: content.text,
        tool_calls: tool_calls.collect(),
        tool_call_id: said.tool_call_id,
        images: content.images,
    })
}

fn spec(tool: &Tool) -> Result<ToolSpec> {
    match &tool.function {
        Some(function) if tool.kind == "function" => {
            let none = || json!({ "type": "object", "properties": {} });
            let parameters = function.parameters.clone().unwrap_or_else(none);
            usable(&parameters).map_err(|why| {
                Error::bad_request(format!("tools: the schema of `{}` cannot be used: {why}", function.name))
            })?;
            let description = function.description.clone().unwrap_or_default();
            Ok(ToolSpec { name: function.name.clone(), description, parameters })
        }
        _ => Err(Error::bad_request(format!("tools: one is of the type `{}`; only `function` is taken", tool.kind))),
    }
}

/// Null is as good as absent.
fn or_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
