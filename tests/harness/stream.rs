//! A stream of server-sent events as a client reads it: event by event, for as long as it likes.

use crate::{Client, RUNTIME, client::HTTP};
use serde_json::Value;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub id: String,
    pub event: String,
    pub data: Value,
}

impl Heard {
    /// What the data calls itself.
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }
}

/// An open stream. Dropping it hangs up.
pub struct EventStream {
    response: reqwest::Response,
    text: String,
    /// The id of the last event that had one.
    pub last_id: String,
}

impl Client {
    /// Opens a stream, which must be there.
    #[track_caller]
    pub fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> EventStream {
        let mut request = HTTP.request(method.parse().unwrap(), format!("{}{path}", self.base));
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = RUNTIME.block_on(async { request.send().await }).unwrap();
        let status = response.status();
        if status != 200 {
            panic!("{method} {path} answered {status}: {}", RUNTIME.block_on(response.text()).unwrap());
        }
        EventStream { response, text: String::new(), last_id: String::new() }
    }
}

impl EventStream {
    /// The next event; nothing when the stream has ended or broken off.
    pub fn heard(&mut self) -> Option<Heard> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
                    line.unwrap_or_default().trim().to_owned()
                };
                let Ok(data) = serde_json::from_str(&field("data")) else { continue };
                let heard = Heard { id: field("id"), event: field("event"), data };
                if !heard.id.is_empty() {
                    self.last_id.clone_from(&heard.id);
                }
                return Some(heard);
            }
            let piece = RUNTIME.block_on(self.response.chunk()).ok()??;
            self.text.push_str(std::str::from_utf8(&piece).expect("events are cut between characters"));
        }
    }

    /// The next event of that type, passing over others.
    #[track_caller]
    pub fn until(&mut self, kind: &str) -> Heard {
        let mut passed = Vec::new();
        while let Some(heard) = self.heard() {
            if heard.kind() == kind || heard.event == kind {
                return heard;
            }
            passed.push(heard);
        }
        panic!("the stream ended without a `{kind}`: {passed:#?}");
    }

    /// All that is left.
    pub fn rest(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.heard()).collect()
    }
}

/// What a client shows that follows the deltas as the documents say.
pub fn shown<'h>(heard: impl IntoIterator<Item = &'h Heard>) -> String {
    let mut answer = String::new();
    for heard in heard {
        let is_text = heard.kind() == "text_delta" || heard.event == "text_delta";
        if is_text && heard.data["reset"] == true {
            answer.clear();
        }
        if is_text {
            answer.push_str(heard.data["text"].as_str().unwrap());
        }
    }
    answer
}
