//! Every payload that GitHub's own collection of examples holds is taken, whatever it is about.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};
use tercel_tests::{Event, World, tree, wait::until_within};

const PLACE: &str = "target/npm/node_modules/@octokit/webhooks-examples";

/// Name and body of each example, every body once.
fn examples() -> Vec<(String, Value)> {
    let place = tree::root().join(PLACE);
    let entries =
        fs::read_dir(&place).unwrap_or_else(|error| panic!("{PLACE}: {error}; `make test` installs the examples"));
    let mut seen = BTreeSet::new();
    let mut examples = Vec::new();
    for index in entries.map(|entry| entry.unwrap().path().join("index.json")).filter(|index| index.is_file()) {
        let list: Vec<Value> = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
        for kind in list {
            for example in kind["examples"].as_array().unwrap() {
                if seen.insert(example.to_string()) {
                    examples.push((kind["name"].as_str().unwrap().to_owned(), example.clone()));
                }
            }
        }
    }
    examples
}

/// What was opened or written: told again it is no news, whatever else the payload says. Some examples show the same.
fn subject(name: &str, body: &Value) -> Option<String> {
    let of = match (name, body["action"].as_str()?) {
        ("issue_comment" | "pull_request_review_comment", "created") => &body["comment"]["id"],
        ("issues", "opened") => &body["issue"]["number"],
        ("pull_request", "opened") => &body["pull_request"]["number"],
        _ => return None,
    };
    Some(format!("{name} {} {of}", body["repository"]["full_name"]))
}

#[test]
fn every_example_is_processed_stored_or_ignored() {
    let world = World::start_with(|options| options.ceilings(1_000_000, 1_000_000));
    let examples = examples();
    assert!(examples.len() > 300, "only {} examples", examples.len());
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut subjects = BTreeSet::new();
    for (name, body) in &examples {
        let is_new = subject(name, body).is_none_or(|subject| subjects.insert(subject));
        let answer = world.server.github(&Event::new(name, body.clone()));
        let status = if answer.status < 300 {
            answer.json()["status"].as_str().unwrap_or("none").to_owned()
        } else {
            answer.to_string()
        };
        match status.as_str() {
            "processed" | "stored" | "ignored" => {}
            "pong" if name == "ping" => {}
            "duplicate" if !is_new => {}
            other => wrong.push(format!("{name} {}: {other}", body["action"])),
        }
        *counted.entry(status).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for outcome in ["processed", "stored", "ignored"] {
        assert!(counted.contains_key(outcome), "nothing was {outcome}: {counted:?}");
    }
    until_within(Duration::from_secs(60), "all runs end", || {
        let open = |status: &str| world.server.list(&format!("/api/v1/tasks?status={status}")).len();
        (open("pending") + open("running") == 0).then_some(())
    });
    assert_eq!(world.server.list("/api/v1/tasks?status=failed"), Vec::<Value>::new());
    let log = world.server.log();
    assert!(!log.contains("panicked"), "{log}");
}
