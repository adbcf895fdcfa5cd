//! Puts an answer together, from events or from a whole message.

use crate::{
    Sink,
    adapter::Assembly,
    calls::{self, Draft},
    failure,
    reading::not_understood,
    usage,
};
use serde::Deserialize;
use serde_json::Value;
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Answer, Request, Usage},
};

pub struct Building<'a> {
    request: &'a Request,
    sink: &'a dyn Sink,
    text: String,
    calls: Vec<Call>,
    /// Whether the block that comes now is a call.
    in_call: bool,
    model: Option<String>,
    counts: Counts,
    stop_reason: Option<String>,
    repairs: Vec<String>,
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
    pub fn new(request: &'a Request, sink: &'a dyn Sink) -> Self {
        Self {
            request,
            sink,
            text: String::new(),
            calls: Vec::new(),
            in_call: false,
            model: None,
            counts: Counts::default(),
            stop_reason: None,
            repairs: Vec::new(),
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
        Usage {
            prompt_tokens: prompt.iter().flatten().sum(),
            completion_tokens: counts.output_tokens.unwrap_or(0),
            cached_tokens: counts.cache_read_input_tokens.unwrap_or(0),
            cache_written_tokens: counts.cache_creation_input_tokens.unwrap_or(0),
        }
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
}

impl Assembly for Building<'_> {
    fn whole(&mut self, value: Value, said: &str) -> Result<()> {
        if value["type"] == "error" {
            return Err(within(&value));
        }
        let Some(blocks) = value["content"].as_array() else {
            return Err(not_understood("The model provider's answer has no content", said));
        };
        self.take_head(&value);
        blocks.iter().for_each(|block| self.open(block));
        self.stop_reason = value["stop_reason"].as_str().map(str::to_owned);
        Ok(())
    }

    fn event(&mut self, name: &str, value: Value, _: &str) -> Result<bool> {
        match value["type"].as_str().unwrap_or(name) {
            "message_start" => self.take_head(&value["message"]),
            "content_block_start" => self.open(&value["content_block"]),
            "content_block_delta" => self.take(&value["delta"]),
            "message_delta" => {
                self.count(&value["usage"]);
                self.stop_reason = value["delta"]["stop_reason"].as_str().map(str::to_owned);
            }
            "message_stop" => return Ok(true),
            "error" => return Err(within(&value)),
            // `ping`, `content_block_stop`, and what is new.
            _ => {}
        }
        Ok(false)
    }

    fn is_over(&self) -> bool {
        self.stop_reason.is_some()
    }

    fn note(&mut self, repair: &str) {
        self.repairs.push(repair.into());
    }

    fn finish(self) -> Result<Answer> {
        let mut usage = self.usage();
        let mut repairs = self.repairs;
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
