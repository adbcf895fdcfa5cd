//! A service that folders connect: rooms, which can be read and written to.

use serde_json::json;
use std::sync::{Arc, Mutex};
use tercel_tests::loopback::{Loopback, Reply, Request};

pub struct Rooms {
    loopback: Loopback,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Rooms {
    pub fn start() -> Self {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let seen = requests.clone();
        let loopback = Loopback::start(move |request| {
            let answer = json!({"id": 7, "name": "General", "topic": "From outside"});
            seen.lock().unwrap().push(request);
            std::future::ready(Reply::json(200, &answer))
        });
        Self { loopback, requests }
    }

    pub fn url(&self) -> String {
        self.loopback.url()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// `POST /rooms/general/messages`, with what it said.
    pub fn lines(&self) -> Vec<String> {
        let line = |request: &Request| {
            let body = String::from_utf8_lossy(&request.body);
            format!("{} {} {body}", request.method, request.path).trim_end().to_owned()
        };
        self.requests().iter().map(line).collect()
    }
}
