//! Answers as OpenAI writes them.

use crate::runner::stateless::Reply;
use serde_json::{Value, json};
use tercel_sdk::chat::ToolCall;
use tercel_store::{Uuid, now};

/// What all pieces of one answer have in common.
#[derive(Clone)]
pub struct Frame {
    id: String,
    created: i64,
    model: String,
}

impl Frame {
    pub fn new(model: &str) -> Self {
        Self { id: format!("chatcmpl-{}", Uuid::now_v7().simple()), created: now() / 1_000_000, model: model.into() }
    }

    pub fn whole(&self, reply: &Reply) -> Value {
        let content =
            if reply.text.is_empty() && !reply.tool_calls.is_empty() { Value::Null } else { reply.text.clone().into() };
        let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
        if !reply.tool_calls.is_empty() {
            message["tool_calls"] = reply.tool_calls.iter().map(call).collect();
        }
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(reply) }],
            "usage": usage(reply),
        })
    }

    /// Without a text there are only calls to come.
    pub fn beginning(&self, has_text: bool) -> Value {
        self.piece(json!({ "role": "assistant", "content": has_text.then_some("") }), Value::Null)
    }

    pub fn text(&self, text: &str) -> Value {
        self.piece(json!({ "content": text }), Value::Null)
    }

    /// The calls, the reason of the end, and the usage when it is asked for.
    pub fn ending(&self, reply: &Reply, with_usage: bool) -> Vec<Value> {
        let mut pieces = Vec::new();
        if !reply.tool_calls.is_empty() {
            let numbered = reply.tool_calls.iter().enumerate().map(|(index, made)| {
                let mut piece = call(made);
                piece["index"] = index.into();
                piece
            });
            pieces.push(self.piece(json!({ "tool_calls": numbered.collect::<Vec<_>>() }), Value::Null));
        }
        pieces.push(self.piece(json!({}), finish_reason(reply).into()));
        if with_usage {
            let mut last = self.chunk(json!([]));
            last["usage"] = usage(reply);
            pieces.push(last);
        }
        pieces
    }

    fn piece(&self, delta: Value, finish_reason: Value) -> Value {
        self.chunk(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }]))
    }

    fn chunk(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        })
    }
}

fn call(call: &ToolCall) -> Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply.truncated {
        _ if !reply.tool_calls.is_empty() => "tool_calls",
        true => "length",
        false => "stop",
    }
}

fn usage(reply: &Reply) -> Value {
    let usage = reply.usage;
    json!({
        "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens, "total_tokens": usage.total(),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
    })
}
