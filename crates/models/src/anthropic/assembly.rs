//! Reads an answer off the wire: events as they come, or a whole message.

use crate::{
    Sink,
    calls::{self, Draft},
    openai::{failure, not_understood, reply},
    usage,
};
use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource};
use futures::{StreamExt, stream::BoxStream};
use serde::Deserialize;
use serde_json::Value;
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Answer, Request, Usage},
    http::Streaming,
};

pub async fn read(
    reply: Streaming,
    request: &Request,
    sink: &dyn Sink,
    redact: impl Fn(&str) -> String,
) -> Result<Answer> {
    let content_type = reply.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.contains("event-stream") {
        return pieces(reply.body, request, sink, redact).await;
    }
    let body = reply::collect(reply.body).await?;
    let text = redact(&String::from_utf8_lossy(&body));
    let value: Value = serde_json::from_str(&text).map_err(|_| not_json(&text))?;
    if value["type"] == "error" {
        return Err(within(&value));
    }
    if !value["content"].is_array() {
        return Err(not_understood("The model provider's answer has no content", &text));
    }
    let mut building = Building::new(request, sink);
    building.take_head(&value);
    for block in value["content"].as_array().into_iter().flatten() {
        building.open(block);
    }
    building.stop_reason = value["stop_reason"].as_str().map(str::to_owned);
    building.finish()
}

async fn pieces(
    body: BoxStream<'static, Result<Bytes>>,
    request: &Request,
    sink: &dyn Sink,
    redact: impl Fn(&str) -> String,
) -> Result<Answer> {
    let mut building = Building::new(request, sink);
    // A server that ends without a blank line has still sent its last event.
    let end = futures::stream::once(async { Ok(Bytes::from_static(b"\n\n")) });
    let mut events = reply::limited(body).chain(end).boxed().eventsource();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(_) if building.stop_reason.is_some() => break,
            Err(EventStreamError::Transport(error)) => return Err(error),
            Err(error) => {
                return Err(not_understood("The model provider's stream is not readable", &error.to_string()));
            }
        };
        let data = redact(&event.data);
        let value: Value = match serde_json::from_str(&data) {
            Ok(value) => value,
            Err(error) if error.is_eof() && !data.trim().is_empty() => return Err(broken_off()),
            Err(_) => return Err(not_json(&data)),
        };
        match value["type"].as_str().unwrap_or(&event.event) {
            "message_start" => building.take_head(&value["message"]),
            "content_block_start" => building.open(&value["content_block"]),
            "content_block_delta" => building.take(&value["delta"]),
            "message_delta" => {
                building.count(&value["usage"]);
                building.stop_reason = value["delta"]["stop_reason"].as_str().map(str::to_owned);
            }
            "message_stop" => return building.finish(),
            "error" => return Err(within(&value)),
            // `ping`, `content_block_stop`, and what is new.
            _ => {}
        }
    }
    if building.stop_reason.is_some() { building.finish() } else { Err(broken_off()) }
}

struct Building<'a> {
    request: &'a Request,
    sink: &'a dyn Sink,
    text: String,
    calls: Vec<Call>,
    /// Whether the block that comes now is a call.
    in_call: bool,
    model: Option<String>,
    counts: Counts,
    stop_reason: Option<String>,
}

struct Call {
    draft: Draft,
    /// What stood at the beginning of the block; counts when no pieces follow.
    whole: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl<'a> Building<'a> {
    fn new(request: &'a Request, sink: &'a dyn Sink) -> Self {
        Self {
            request,
            sink,
            text: String::new(),
            calls: Vec::new(),
            in_call: false,
            model: None,
            counts: Counts::default(),
            stop_reason: None,
        }
    }

    fn take_head(&mut self, message: &Value) {
        self.model = message["model"].as_str().filter(|model| !model.is_empty()).map(str::to_owned);
        self.count(&message["usage"]);
    }

    /// Later counts replace earlier ones: they are sums.
    fn count(&mut self, usage: &Value) {
        let Ok(new) = Counts::deserialize(usage) else { return };
        let counts = &mut self.counts;
        counts.input_tokens = new.input_tokens.or(counts.input_tokens);
        counts.cache_creation_input_tokens = new.cache_creation_input_tokens.or(counts.cache_creation_input_tokens);
        counts.cache_read_input_tokens = new.cache_read_input_tokens.or(counts.cache_read_input_tokens);
        counts.output_tokens = new.output_tokens.or(counts.output_tokens);
        let usage = self.usage();
        if usage.total() > 0 {
            self.sink.spent(usage);
        }
    }

    fn usage(&self) -> Usage {
        let counts = &self.counts;
        let prompt = [counts.input_tokens, counts.cache_creation_input_tokens, counts.cache_read_input_tokens];
        Usage { prompt_tokens: prompt.iter().flatten().sum(), completion_tokens: counts.output_tokens.unwrap_or(0) }
    }

    fn open(&mut self, block: &Value) {
        self.in_call = block["type"] == "tool_use";
        match block["type"].as_str() {
            Some("text") => self.write(block["text"].as_str().unwrap_or_default()),
            Some("thinking") => self.think(block["thinking"].as_str().unwrap_or_default()),
            Some("tool_use") => {
                let of = |key: &str| block[key].as_str().map(str::to_owned);
                let draft = Draft { id: of("id"), name: of("name").unwrap_or_default(), arguments: String::new() };
                self.calls.push(Call { draft, whole: block["input"].clone() });
            }
            _ => {}
        }
    }

    fn take(&mut self, delta: &Value) {
        let of = |key: &str| delta[key].as_str().unwrap_or_default();
        match delta["type"].as_str() {
            Some("text_delta") => self.write(of("text")),
            Some("thinking_delta") => self.think(of("thinking")),
            Some("input_json_delta") if self.in_call => {
                if let Some(call) = self.calls.last_mut() {
                    call.draft.arguments.push_str(of("partial_json"));
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, text: &str) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.sink.text(text);
        }
    }

    fn think(&self, text: &str) {
        if !text.is_empty() {
            self.sink.thinking(text);
        }
    }

    fn finish(self) -> Result<Answer> {
        let mut usage = self.usage();
        let mut repairs = Vec::new();
        let drafts = self.calls.into_iter().map(|Call { mut draft, whole }| {
            if draft.arguments.is_empty() {
                draft.arguments = if whole.is_object() { whole.to_string() } else { "{}".into() };
            }
            draft
        });
        let tool_calls = calls::mend(drafts.collect(), self.request, &mut repairs);
        let reason = self.stop_reason.as_deref().unwrap_or_default();
        let is_empty = self.text.is_empty() && tool_calls.is_empty();
        if is_empty && reason == "refusal" {
            let error = Error::new(Kind::Error, "The model refused to answer");
            return Err(error.hint("Say it differently, or use another model"));
        }
        if is_empty {
            repairs.push("the answer is empty".into());
        }
        if usage.total() == 0 {
            repairs.push("the provider did not count tokens: estimated from the number of characters".into());
            usage = usage::estimate(self.request, &self.text, &tool_calls);
        }
        Ok(Answer {
            text: self.text,
            tool_calls,
            usage,
            model: self.model.unwrap_or_else(|| self.request.model.clone()),
            truncated: matches!(reason, "max_tokens" | "model_context_window_exceeded"),
            repairs,
        })
    }
}

/// An error that came after the status had said that all is well.
fn within(value: &Value) -> Error {
    let status = match value["error"]["type"].as_str().unwrap_or_default() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    };
    let mut value = value.clone();
    value["error"]["code"] = status.into();
    failure::within(&value)
}

fn not_json(text: &str) -> Error {
    not_understood("The model provider's answer is not JSON", text)
        .hint("Is LLM_BASE_URL the address of Anthropic's Messages API, such as https://api.anthropic.com?")
}

fn broken_off() -> Error {
    Error::new(Kind::Network, "The model provider's stream broke off before the answer was complete")
}
