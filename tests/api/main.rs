//! The routes of the contract, each with exactly the keys it promises.

mod bots;
mod channels;
mod conversations;
mod documents;
mod integrations;
mod operation;
mod requests;

use serde_json::Value;
use std::collections::BTreeSet;

#[track_caller]
fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value:#}")).keys().map(String::as_str).collect()
}

#[track_caller]
fn has_exactly(value: &Value, expected: &[&str]) {
    assert_eq!(keys(value), expected.iter().copied().collect(), "{value:#}");
}

#[track_caller]
fn has(value: &Value, expected: &[&str]) {
    let there = keys(value);
    let missing: Vec<_> = expected.iter().filter(|key| !there.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing: {value:#}");
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id: {value:#}")).to_owned()
}

#[track_caller]
fn is_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("not a time: {value}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}"));
}
