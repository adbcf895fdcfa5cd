//! A stand-in for Anthropic's Messages API, with its events, its errors and its rules about conversations. That it answers
//! as the real one does is checked by Anthropic's own client, in `tests/clients.rs`.

use crate::{
    loopback::{Loopback, Reply, Request},
    model::Turn,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

pub const NAME: &str = "claude-scripted-1";
pub const KEY: &str = "sk-ant-of-the-tests-0123456789";

type Script = Box<dyn Fn(&Value) -> Turn + Send>;

struct State {
    queue: VecDeque<Turn>,
    script: Script,
    asked: Vec<Value>,
}

pub struct FakeAnthropic {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
}

impl FakeAnthropic {
    /// Answers `Understood.` until told otherwise.
    pub fn start() -> Self {
        let script: Script = Box::new(|_| Turn::text("Understood."));
        let state = Arc::new(Mutex::new(State { queue: VecDeque::new(), script, asked: Vec::new() }));
        let shared = state.clone();
        let loopback = Loopback::start(move |request| {
            let reply = answer(&shared, &request);
            async move { reply }
        });
        Self { loopback, state }
    }

    pub fn url(&self) -> String {
        self.loopback.url()
    }

    pub fn queue(&self, turns: impl IntoIterator<Item = Turn>) {
        self.state.lock().unwrap().queue.extend(turns);
    }

    pub fn script(&self, script: impl Fn(&Value) -> Turn + Send + 'static) {
        self.state.lock().unwrap().script = Box::new(script);
    }

    /// Bodies of the requests.
    pub fn asked(&self) -> Vec<Value> {
        self.state.lock().unwrap().asked.clone()
    }

    pub fn shut(&mut self) {
        self.loopback.shut();
    }

    pub fn open(&mut self) {
        self.loopback.open();
    }
}

fn answer(state: &Mutex<State>, request: &Request) -> Reply {
    if request.header("anthropic-version") != "2023-06-01" {
        return error(400, "invalid_request_error", "anthropic-version: header is required");
    }
    if request.header("x-api-key") != KEY {
        return error(401, "authentication_error", "invalid x-api-key");
    }
    if request.method == "GET" && request.path == "/v1/models" {
        let model = json!({
            "type": "model", "id": NAME, "display_name": "Scripted", "created_at": "2026-01-05T00:00:00Z",
            "max_input_tokens": 200_000, "max_tokens": 8192, "capabilities": null,
        });
        return Reply::json(200, &json!({"data": [model], "has_more": false, "first_id": NAME, "last_id": NAME}));
    }
    if request.method != "POST" || request.path != "/v1/messages" {
        return error(404, "not_found_error", "Not found");
    }
    let asked = request.json();
    let turn = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked.clone());
        let queued = state.queue.pop_front();
        queued.unwrap_or_else(|| (state.script)(&asked))
    };
    if let Some(problem) = problem(&asked) {
        return error(400, "invalid_request_error", &problem);
    }
    let blocks = match turn {
        Turn::Text(text) => vec![json!({"type": "text", "text": text, "citations": null})],
        Turn::Pieces(pieces, _) | Turn::Paced(pieces, _) => {
            vec![json!({"type": "text", "text": pieces.concat(), "citations": null})]
        }
        Turn::Calls(calls) => calls.into_iter().enumerate().map(call).collect(),
        Turn::TextAndCalls(text, calls) => {
            let text = json!({"type": "text", "text": text, "citations": null});
            std::iter::once(text).chain(calls.into_iter().enumerate().map(call)).collect()
        }
        Turn::Status(status, headers, body) => {
            let mut all = vec![("content-type", "application/json")];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            return Reply::text(status, &all, body.to_string());
        }
        Turn::Never => return Reply::Never,
        Turn::Close | Turn::Slow(..) => return Reply::Close,
        Turn::Empty => Vec::new(),
        Turn::Garbage | Turn::Nothing => return Reply::text(200, &[("content-type", "text/html")], "<html>"),
    };
    if asked["stream"] == true {
        in_pieces(&blocks)
    } else {
        Reply::json(200, &message(&blocks, &stop_reason(&blocks)))
    }
}

/// A failure as Anthropic words it: 529 is its own.
pub fn fails(status: u16, kind: &str, message: &str, headers: Vec<(&'static str, String)>) -> Turn {
    Turn::Status(status, headers, body_of(kind, message))
}

fn body_of(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"})
}

fn error(status: u16, kind: &str, message: &str) -> Reply {
    Reply::json(status, &body_of(kind, message))
}

fn call((index, (name, input)): (usize, (String, Value))) -> Value {
    json!({"type": "tool_use", "id": format!("toolu_0{index}"), "name": name, "input": input, "caller": {"type": "direct"}})
}

/// What the real one refuses.
fn problem(asked: &Value) -> Option<String> {
    if asked["max_tokens"].as_u64().is_none_or(|most| most == 0) {
        return Some("max_tokens: Field required".into());
    }
    let messages = asked["messages"].as_array().filter(|messages| !messages.is_empty())?;
    if messages[0]["role"] != "user" {
        return Some("messages: first message must use the \"user\" role".into());
    }
    let mut open: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if !["user", "assistant"].iter().any(|role| message["role"] == *role) {
            return Some(format!("messages.{at}: Unexpected role {}", message["role"]));
        }
        let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        if message["content"] == "" || (message["content"].is_array() && blocks.is_empty()) {
            return Some(format!("messages.{at}: content must not be empty"));
        }
        if blocks
            .iter()
            .any(|block| block["type"] == "text" && block["text"].as_str().is_none_or(|t| t.trim().is_empty()))
        {
            return Some("messages: text content blocks must be non-empty".into());
        }
        let ids = |kind: &str, key: &str| -> Vec<String> {
            let of_kind = blocks.iter().filter(|block| block["type"] == kind);
            of_kind.map(|block| block[key].as_str().unwrap_or_default().to_owned()).collect()
        };
        let results = ids("tool_result", "tool_use_id");
        if let Some(lost) = open.iter().find(|id| !results.contains(id)) {
            return Some(format!(
                "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {lost}"
            ));
        }
        if let Some(lost) = results.iter().find(|id| !open.contains(id)) {
            return Some(format!("messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {lost}"));
        }
        open = ids("tool_use", "id");
        if !open.is_empty() && asked["tools"].as_array().is_none_or(Vec::is_empty) {
            return Some("Requests which include `tool_use` blocks must define tools".into());
        }
    }
    (!open.is_empty()).then(|| format!("`tool_use` ids were found without `tool_result` blocks: {}", open.join(", ")))
}

fn stop_reason(blocks: &[Value]) -> Value {
    if blocks.iter().any(|block| block["type"] == "tool_use") { "tool_use".into() } else { "end_turn".into() }
}

fn message(blocks: &[Value], stop_reason: &Value) -> Value {
    json!({
        "id": "msg_01", "type": "message", "role": "assistant", "model": NAME, "content": blocks, "container": null,
        "stop_reason": stop_reason, "stop_sequence": null, "stop_details": null, "context_management": null,
        "usage": {
            "input_tokens": 3, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 6, "output_tokens": 7,
            "cache_creation": null, "server_tool_use": null, "service_tier": "standard", "inference_geo": null,
        },
    })
}

fn in_pieces(blocks: &[Value]) -> Reply {
    let event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        Bytes::from(format!("event: {kind}\ndata: {data}\n\n"))
    };
    let mut pieces =
        vec![event("message_start", json!({"message": message(&[], &Value::Null)})), event("ping", json!({}))];
    for (index, block) in blocks.iter().enumerate() {
        let is_call = block["type"] == "tool_use";
        let mut head = block.clone();
        let whole =
            if is_call { block["input"].to_string() } else { block["text"].as_str().unwrap_or_default().to_owned() };
        head[if is_call { "input" } else { "text" }] = if is_call { json!({}) } else { "".into() };
        pieces.push(event("content_block_start", json!({"index": index, "content_block": head})));
        let (first, second) = whole.split_at(whole.floor_char_boundary(whole.len() / 2));
        for piece in [first, second] {
            let delta = match is_call {
                true => json!({"type": "input_json_delta", "partial_json": piece}),
                false => json!({"type": "text_delta", "text": piece}),
            };
            pieces.push(event("content_block_delta", json!({"index": index, "delta": delta})));
        }
        pieces.push(event("content_block_stop", json!({"index": index})));
    }
    let delta =
        json!({"stop_reason": stop_reason(blocks), "stop_sequence": null, "stop_details": null, "container": null});
    let usage = json!({
        "output_tokens": 7, "input_tokens": 3, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 6,
        "server_tool_use": null,
    });
    pieces.push(event("message_delta", json!({"delta": delta, "usage": usage, "context_management": null})));
    pieces.push(event("message_stop", json!({})));
    Reply::stream("text/event-stream; charset=utf-8", futures::stream::iter(pieces.into_iter().map(Ok)))
}
