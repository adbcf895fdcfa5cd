//! A provider that answers as told, in the pieces it is told, and whoever watches.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, executor::block_on, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tercel_models::{Model, OpenAi, Options, SecretString, Sink};
use tercel_sdk::{
    Error, Result,
    chat::{Answer, Image, Message, Request, Shape, ToolSpec},
    http::{Client, Request as Sent, Response, Streaming, Transport},
};

pub const KEY: &str = "sk-very-secret-1234567890";

#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub pieces: Vec<Result<Bytes>>,
}

pub fn stream(pieces: impl IntoIterator<Item = impl Into<Bytes>>) -> Reply {
    let pieces = pieces.into_iter().map(|piece| Ok(piece.into())).collect();
    Reply { status: 200, headers: vec![("content-type", "text/event-stream; charset=utf-8")], pieces }
}

pub fn plain(status: u16, body: impl ToString) -> Reply {
    let pieces = vec![Ok(body.to_string().into())];
    Reply { status, headers: vec![("content-type", "application/json")], pieces }
}

/// A whole answer in the form of servers that do not stream.
pub fn message(message: Value) -> Reply {
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2 });
    plain(200, json!({ "model": "m", "choices": [{ "message": message, "finish_reason": "stop" }], "usage": usage }))
}

#[derive(Default)]
pub struct Service {
    replies: Mutex<VecDeque<Result<Reply>>>,
    sent: Mutex<Vec<Sent>>,
}

impl Service {
    pub fn new(replies: impl IntoIterator<Item = Result<Reply>>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()), sent: Mutex::default() })
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.sent().iter().map(|sent| serde_json::from_slice(&sent.body).unwrap()).collect()
    }
}

impl Transport for Service {
    fn send(&self, _: Sent) -> BoxFuture<'_, Result<Response>> {
        panic!("an answer of a model is read as it comes")
    }

    fn stream(&self, sent: Sent) -> BoxFuture<'_, Result<Streaming>> {
        self.sent.lock().unwrap().push(sent);
        let reply = self.replies.lock().unwrap().pop_front().expect("the test told the service one answer more");
        async move {
            let reply = reply?;
            let headers: HeaderMap = reply
                .headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let body = futures::stream::iter(reply.pieces).boxed();
            Ok(Streaming { status: StatusCode::from_u16(reply.status).unwrap(), headers, body })
        }
        .boxed()
    }
}

#[derive(Default)]
pub struct Watcher {
    pub text: Mutex<String>,
    pub thinking: Mutex<String>,
}

impl Sink for Watcher {
    fn text(&self, delta: &str) {
        self.text.lock().unwrap().push_str(delta);
    }

    fn thinking(&self, delta: &str) {
        self.thinking.lock().unwrap().push_str(delta);
    }
}

pub fn openai(base_url: &str) -> OpenAi {
    OpenAi::new(base_url, Some(SecretString::from(KEY)), Options::default())
}

/// A small picture.
pub fn picture() -> Image {
    Image { mime_type: "image/png".into(), base64: "iVBORw0KGgo=".into() }
}

pub fn ask(reply: Reply) -> Result<Answer> {
    watch(reply).0
}

/// The answer, and what was shown of it: text and thinking.
pub fn watch(reply: Reply) -> (Result<Answer>, String, String) {
    let watcher = Watcher::default();
    let client = Client::new(Service::new([Ok(reply)]));
    let answer = block_on(openai("https://models.test/v1").answer(&client, &request(), &watcher));
    (answer, watcher.text.into_inner().unwrap(), watcher.thinking.into_inner().unwrap())
}

pub fn fails(reply: Result<Reply>) -> Error {
    let service = Service::new([reply.clone(), reply]);
    let answer = openai("https://models.test/v1");
    block_on(answer.answer(&Client::new(service), &request(), &tercel_models::NoSink)).unwrap_err()
}

/// A question with two tools.
pub fn request() -> Request {
    Request {
        model: "m".into(),
        messages: vec![Message::system("You help."), Message::user("Look at https://forge.example/o/r/pull/12")],
        tools: vec![pull_request_tool(), tool("wait", json!({ "type": "object" }))],
        temperature: None,
        max_tokens: None,
        shape: Shape::default(),
    }
}

pub fn pull_request_tool() -> ToolSpec {
    let properties = json!({ "repo": { "type": "string" }, "number": { "type": "integer", "format": "uint64" } });
    tool("forge_get_pr", json!({ "type": "object", "properties": properties, "required": ["repo", "number"] }))
}

pub fn tool(name: &str, parameters: Value) -> ToolSpec {
    ToolSpec { name: name.into(), description: "A tool".into(), parameters }
}
