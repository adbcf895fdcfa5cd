//! Talking to a server: one line for a request, and an answer that explains itself when it is not the expected one.

use crate::RUNTIME;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use std::{sync::LazyLock, time::Duration};

/// Without idle connections, because servers come and go under the same address.
pub(crate) static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    LazyLock::force(&RUNTIME);
    reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
});

#[derive(Debug, Clone)]
pub struct Client {
    pub base: String,
    pub key: Option<String>,
}

impl Client {
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, JSON, body.to_string())
    }

    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, JSON, body.to_string())
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], "")
    }

    #[track_caller]
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        match self.try_call(method, path, headers, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path} got no answer: {error:?}"),
        }
    }

    /// The same for a server that may die on the way.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = HTTP.request(method.parse().unwrap(), format!("{}{path}", self.base)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        RUNTIME.block_on(async {
            let response = request.send().await?;
            Ok(Answer {
                question: format!("{method} {path}"),
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.bytes().await?,
            })
        })
    }

    /// Reads a stream of server-sent events until `enough` says so or it ends: `(id, event, data)` of each.
    #[track_caller]
    pub fn events(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        mut enough: impl FnMut(&[(String, String, Value)]) -> bool,
    ) -> Vec<(String, String, Value)> {
        let mut request = HTTP.get(format!("{}{path}", self.base)).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        RUNTIME.block_on(async {
            let mut response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "GET {path}");
            let (mut seen, mut text) = (Vec::new(), String::new());
            while let Some(piece) = response.chunk().await.unwrap() {
                text.push_str(&String::from_utf8_lossy(&piece));
                while let Some(end) = text.find("\n\n") {
                    let block: String = text.drain(..end + 2).collect();
                    let field = |name: &str| {
                        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
                        line.unwrap_or_default().trim().to_owned()
                    };
                    if let Ok(data) = serde_json::from_str(&field("data")) {
                        seen.push((field("id"), field("event"), data));
                    }
                }
                if enough(&seen) {
                    break;
                }
            }
            seen
        })
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[derive(Debug, Clone)]
pub struct Answer {
    question: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The JSON of an answer with that status; `Null` for an empty one.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        self.json()
    }

    /// The JSON of an answer that says yes.
    #[track_caller]
    pub fn accepted(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self}");
        self.json()
    }

    /// A refusal as the contract wants it: `detail` for the reader, `code` for the program. Answers the detail.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{self}");
        let detail = body["detail"].as_str().unwrap_or_else(|| panic!("no detail: {self}"));
        assert!(!detail.trim().is_empty(), "an empty detail: {self}");
        detail.to_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.text().chars().take(2_000).collect();
        write!(f, "{} answered {}: {body}", self.question, self.status)
    }
}
