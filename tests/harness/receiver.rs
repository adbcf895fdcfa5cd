//! Somebody else's endpoint: what the dispatch type `webhook` sends to.

use crate::{
    loopback::{Loopback, Reply, Request},
    until,
};
use serde_json::json;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    received: Vec<Request>,
    /// Statuses of the next answers; 200 when there is none.
    statuses: Vec<u16>,
    quoted: String,
}

pub struct Receiver {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        let loopback = Loopback::start(move |request| {
            let mut state = shared.lock().unwrap();
            state.received.push(request);
            let status = if state.statuses.is_empty() { 200 } else { state.statuses.remove(0) };
            let location =
                [("location", "http://169.254.169.254/latest/meta-data/"), ("content-type", "application/json")];
            std::future::ready(Reply::text(
                status,
                if status == 302 { &location } else { &location[1..] },
                json!({"ok": status == 200, "said": state.quoted}).to_string(),
            ))
        });
        Self { loopback, state }
    }

    pub fn url(&self) -> String {
        format!("{}/hook", self.loopback.url())
    }

    /// What the next requests are answered with.
    pub fn answers(&self, statuses: &[u16]) {
        self.state.lock().unwrap().statuses = statuses.into();
    }

    /// From now on, this is in every answer.
    pub fn quotes(&self, text: &str) {
        self.state.lock().unwrap().quoted = text.into();
    }

    pub fn received(&self) -> Vec<Request> {
        self.state.lock().unwrap().received.clone()
    }

    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        until(&format!("{count} requests"), || Some(self.received()).filter(|received| received.len() >= count))
    }
}
