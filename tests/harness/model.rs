//! A model that says what the test wants, over the OpenAI protocol, whole or in pieces.

use crate::loopback::{Loopback, Reply, Request};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Semaphore;

/// What the server is told to ask for.
pub const NAME: &str = "scripted-1";

/// One answer.
#[derive(Debug, Clone)]
pub enum Turn {
    Text(String),
    /// Tools to run: names and arguments. A string as arguments is sent as it is, well-formed or not.
    Calls(Vec<(String, Value)>),
    /// Text before the tools to run.
    TextAndCalls(String, Vec<(String, Value)>),
    Status(u16, Vec<(&'static str, String)>, Value),
    /// 200 with bytes that are no answer.
    Garbage,
    /// 200 with an answer that has neither text nor tools.
    Empty,
    /// 200 without any body.
    Nothing,
    Never,
    /// The connection is closed: when streaming, in the middle of the answer.
    Close,
    Slow(Duration, Box<Turn>),
    /// Pieces of a text, each when the gate lets one through.
    Pieces(Vec<String>, Arc<Semaphore>),
    /// Pieces of a text, with a pause after each.
    Paced(Vec<String>, Duration),
}

impl Turn {
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Pieces of a text, and the gate that is to be opened for each.
    pub fn pieces(pieces: &[&str]) -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        (Self::Pieces(pieces.iter().map(|piece| (*piece).to_owned()).collect(), gate.clone()), gate)
    }

    /// The pieces of a text, with a pause after each.
    pub fn paced(pieces: &[&str], pause: Duration) -> Self {
        Self::Paced(pieces.iter().map(|piece| (*piece).to_owned()).collect(), pause)
    }

    pub fn call(tool: &str, arguments: Value) -> Self {
        Self::Calls(vec![(tool.into(), arguments)])
    }

    /// A failure as providers word it.
    pub fn fails(status: u16) -> Self {
        let (message, code) = match status {
            400 => ("Invalid value for 'messages'", "invalid_request_error"),
            401 => ("Incorrect API key provided", "invalid_api_key"),
            402 => ("Insufficient balance", "insufficient_balance"),
            429 => ("Rate limit reached for requests", "rate_limit_exceeded"),
            _ => ("The server had an error while processing your request", "server_error"),
        };
        Self::Status(status, Vec::new(), json!({"error": {"message": message, "type": code, "code": code}}))
    }

    /// A rate limit that names the time to wait.
    pub fn busy(seconds: u64) -> Self {
        let Self::Status(status, _, body) = Self::fails(429) else { unreachable!() };
        Self::Status(status, vec![("retry-after", seconds.to_string())], body)
    }

    /// 429 that waiting does not cure.
    pub fn exhausted() -> Self {
        let text = "You exceeded your current quota, please check your plan and billing details";
        Self::Status(
            429,
            Vec::new(),
            json!({"error": {"message": text, "type": "insufficient_quota", "code": "insufficient_quota"}}),
        )
    }
}

/// A request to the model, for scripts and for tests that look at what the model was told.
#[derive(Debug, Clone)]
pub struct Asked(pub Value);

impl Asked {
    pub fn model(&self) -> &str {
        self.0["model"].as_str().unwrap_or_default()
    }

    pub fn messages(&self) -> &[Value] {
        self.0["messages"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Contents of the messages of a role, in order.
    pub fn said_by(&self, role: &str) -> Vec<&str> {
        self.messages()
            .iter()
            .filter(|m| m["role"] == role)
            // With pictures the text is the first of several parts.
            .map(|m| m["content"].as_str().or(m["content"][0]["text"].as_str()).unwrap_or_default())
            .collect()
    }

    /// The last thing that was said to the agent.
    pub fn question(&self) -> &str {
        self.said_by("user").last().copied().unwrap_or_default()
    }

    /// Names of the tools that were offered.
    pub fn tools(&self) -> Vec<&str> {
        let tools = self.0["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
        tools.iter().filter_map(|tool| tool["function"]["name"].as_str()).collect()
    }

    /// The results of tools that came after the last thing a person said.
    pub fn results(&self) -> Vec<&str> {
        let last = self.messages().iter().rposition(|m| m["role"] == "user").unwrap_or(0);
        let results = self.messages()[last..].iter().filter(|m| m["role"] == "tool");
        results.map(|m| m["content"].as_str().unwrap_or_default()).collect()
    }
}

type Script = Box<dyn Fn(&Asked) -> Turn + Send>;

struct State {
    queue: VecDeque<Turn>,
    script: Script,
    asked: Vec<Asked>,
    keys: Vec<String>,
    latency: Duration,
}

pub struct FakeModel {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
}

impl FakeModel {
    /// Answers `Understood.` until told otherwise.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            queue: VecDeque::new(),
            script: Box::new(|_| Turn::text("Understood.")),
            asked: Vec::new(),
            keys: Vec::new(),
            latency: Duration::ZERO,
        }));
        let shared = state.clone();
        let loopback = Loopback::start(move |request| answer(shared.clone(), request));
        Self { loopback, state }
    }

    pub fn url(&self) -> String {
        format!("{}/v1", self.loopback.url())
    }

    /// The next answers, one per request, before anything else.
    pub fn queue(&self, turns: impl IntoIterator<Item = Turn>) {
        self.state.lock().unwrap().queue.extend(turns);
    }

    /// Answers that follow from the request: right for runs that may be repeated.
    pub fn script(&self, script: impl Fn(&Asked) -> Turn + Send + 'static) {
        self.state.lock().unwrap().script = Box::new(script);
    }

    /// Every answer takes so long.
    pub fn latency(&self, latency: Duration) {
        self.state.lock().unwrap().latency = latency;
    }

    pub fn calls(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// `Authorization` of every request.
    pub fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().keys.clone()
    }

    #[track_caller]
    pub fn wait_for_calls(&self, count: usize) -> Vec<Asked> {
        crate::until(&format!("{count} calls of the model"), || Some(self.asked()).filter(|asked| asked.len() >= count))
    }

    pub fn shut(&mut self) {
        self.loopback.shut();
    }

    pub fn open(&mut self) {
        self.loopback.open();
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request) -> Reply {
    if request.method == "GET" && request.path.ends_with("/models") {
        return Reply::json(
            200,
            &json!({"object": "list", "data": [{"id": NAME, "object": "model", "created": 1_767_600_000, "owned_by": "tests"}]}),
        );
    }
    if request.method != "POST" || !request.path.ends_with("/v1/chat/completions") {
        return Reply::json(404, &json!({"error": {"message": "Unknown request URL"}}));
    }
    let asked = Asked(request.json());
    let (mut turn, latency) = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked.clone());
        state.keys.push(request.header("authorization").to_owned());
        let queued = state.queue.pop_front();
        (queued.unwrap_or_else(|| (state.script)(&asked)), state.latency)
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    while let Turn::Slow(time, then) = turn {
        tokio::time::sleep(time).await;
        turn = *then;
    }
    if asked.0["stream"] == true { in_pieces(&asked, turn) } else { whole(&asked, turn) }
}

fn whole(asked: &Asked, turn: Turn) -> Reply {
    let (text, calls) = match refused(turn) {
        Ok(said) => said,
        Err(reply) => return reply,
    };
    let finish = if calls.is_empty() { "stop" } else { "tool_calls" };
    let mut message = json!({"role": "assistant", "content": if text.is_empty() { Value::Null } else { text.into() }});
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    Reply::json(
        200,
        &json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_767_600_000, "model": asked.model(),
            "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage(),
        }),
    )
}

/// Text in three pieces, arguments in two, then the usage, as providers do.
fn in_pieces(asked: &Asked, turn: Turn) -> Reply {
    let cut = matches!(turn, Turn::Close);
    match turn {
        Turn::Pieces(pieces, gate) => return when_let(asked, pieces, gate),
        Turn::Paced(pieces, pause) => return paced(asked, pieces, pause),
        _ => {}
    }
    let turn = if cut { Turn::text("This sentence will not be") } else { turn };
    let (text, calls) = match refused(turn) {
        Ok(said) => said,
        Err(reply) => return reply,
    };
    let model = asked.model().to_owned();
    let chunk = |choices: Value, usage: Value| {
        let body = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_767_600_000, "model": model, "choices": choices, "usage": usage});
        Bytes::from(format!("data: {body}\n\n"))
    };
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]), Value::Null);
    let mut pieces = vec![delta(json!({"role": "assistant", "content": ""}))];
    pieces.extend(thirds(&text).into_iter().map(|part| delta(json!({"content": part}))));
    for (index, call) in calls.iter().enumerate() {
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let (first, second) = arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2));
        let mut head = call.clone();
        head["index"] = index.into();
        head["function"]["arguments"] = first.into();
        pieces.push(delta(json!({"tool_calls": [head]})));
        pieces.push(delta(json!({"tool_calls": [{"index": index, "function": {"arguments": second}}]})));
    }
    if cut {
        let broken = pieces.into_iter().take(2).map(Ok).chain([Err(std::io::Error::other("the test hangs up"))]);
        return Reply::stream("text/event-stream", futures::stream::iter(broken.collect::<Vec<_>>()));
    }
    let finish = if calls.is_empty() { "stop" } else { "tool_calls" };
    pieces.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": finish}]), Value::Null));
    pieces.push(chunk(json!([]), usage()));
    pieces.push(Bytes::from("data: [DONE]\n\n"));
    Reply::stream("text/event-stream", futures::stream::iter(pieces.into_iter().map(Ok)))
}

/// Each piece waits at the gate, and so does the end.
fn when_let(asked: &Asked, pieces: Vec<String>, gate: Arc<Semaphore>) -> Reply {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let body =
            json!({"object": "chat.completion.chunk", "model": asked.model(), "choices": [choice], "usage": usage()});
        Bytes::from(format!("data: {body}\n\n"))
    };
    let mut chunks: VecDeque<Bytes> =
        pieces.iter().map(|piece| chunk(json!({"content": piece}), Value::Null)).collect();
    chunks.push_back([chunk(json!({}), json!("stop")), Bytes::from_static(b"data: [DONE]\n\n")].concat().into());
    let stream = futures::stream::unfold((chunks, gate), |(mut chunks, gate)| async move {
        let chunk = chunks.pop_front()?;
        gate.acquire().await.ok()?.forget();
        Some((Ok(chunk), (chunks, gate)))
    });
    Reply::stream("text/event-stream", stream)
}

fn paced(asked: &Asked, pieces: Vec<String>, pause: Duration) -> Reply {
    let gate = Arc::new(Semaphore::new(0));
    let opening = gate.clone();
    let waits = pieces.len();
    tokio::spawn(async move {
        for _ in 0..waits {
            opening.add_permits(1);
            tokio::time::sleep(pause).await;
        }
        opening.add_permits(1);
    });
    when_let(asked, pieces, gate)
}

/// Text and tool calls of a good answer; the reply of any other.
fn refused(turn: Turn) -> Result<(String, Vec<Value>), Reply> {
    match turn {
        Turn::Text(text) => Ok((text, Vec::new())),
        Turn::Calls(calls) => Ok((String::new(), wire(calls))),
        Turn::TextAndCalls(text, calls) => Ok((text, wire(calls))),
        Turn::Pieces(pieces, _) | Turn::Paced(pieces, _) => Ok((pieces.concat(), Vec::new())),
        Turn::Empty => Ok((String::new(), Vec::new())),
        Turn::Status(status, headers, body) => {
            let mut all = vec![("content-type", "application/json")];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            Err(Reply::text(status, &all, body.to_string()))
        }
        Turn::Garbage => Err(Reply::text(
            200,
            &[("content-type", "text/html")],
            "<html><body>502 Bad Gateway {\"choices\": [</body>",
        )),
        Turn::Nothing => Err(Reply::text(200, &[("content-type", "application/json")], "")),
        Turn::Never => Err(Reply::Never),
        Turn::Close | Turn::Slow(..) => Err(Reply::Close),
    }
}

fn wire(calls: Vec<(String, Value)>) -> Vec<Value> {
    let one = |(index, (name, arguments)): (usize, (String, Value))| {
        let arguments = arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned);
        json!({"id": format!("call_{index}"), "type": "function", "function": {"name": name, "arguments": arguments}})
    };
    calls.into_iter().enumerate().map(one).collect()
}

fn thirds(text: &str) -> Vec<&str> {
    let (first, rest) = text.split_at(text.floor_char_boundary(text.len() / 3));
    let (second, third) = rest.split_at(rest.floor_char_boundary(rest.len() / 2));
    [first, second, third].into_iter().filter(|part| !part.is_empty()).collect()
}

fn usage() -> Value {
    json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18})
}
