//! GitHub as a whole: a request in, an event out; an answer in, a comment out.

mod asking;
mod delivery;
mod reacting;
mod reading;
mod webhook;

use super::integration;
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_sdk::{
    integration::Sample,
    testing::{Bench, Fake, check},
};

fn github() -> Bench {
    check(integration()).with("webhook_secret", "a secret").with("token", "ghp_x")
}

fn world() -> Arc<Fake> {
    Fake::new()
}

fn sample(name: &str) -> Sample {
    integration().samples.into_iter().find(|sample| sample.name == name).expect("the fixture exists")
}

fn event(name: &str, body: Value) -> Sample {
    let headers = [("x-github-event", name), ("x-github-delivery", "id-1")];
    Sample { name: String::new(), headers: headers.map(|(k, v)| (k.into(), v.into())).into(), body, sign: None }
}

/// A repository and a sender, with what else is given.
fn in_repo(mut body: Value) -> Value {
    body["repository"] = json!({"full_name": "octo/hello", "html_url": "https://github.com/octo/hello"});
    if body["sender"].is_null() {
        body["sender"] = json!({"login": "alice", "type": "User"});
    }
    body
}
