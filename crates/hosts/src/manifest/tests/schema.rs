//! The published schema is that of the keys.

use super::text;
use crate::manifest::keys::schema::schema;
use serde_json::{Value, json};
use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/integration.schema.json");

/// `UPDATE=1` writes it anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says whether files are written")]
fn the_published_schema_is_current() {
    let made = format!("{:#}\n", schema());
    if std::env::var("UPDATE").is_ok() {
        fs::write(FILE, &made).unwrap();
    }
    assert!(fs::read_to_string(FILE).unwrap() == made, "docs/integration.schema.json is old: UPDATE=1 writes it anew");
}

fn check(rest: &str) -> Vec<String> {
    let value: Value = serde_saphyr::from_str(&text(rest)).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();
    validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn editors_take_what_the_server_takes() {
    for manifest in super::SAMPLES {
        super::made(manifest);
        assert_eq!(check(manifest), [] as [String; 0], "{manifest}");
    }
}

#[test]
fn editors_refuse_what_the_server_refuses() {
    for manifest in [
        "labl: Forge\n",
        "http: {bse: a}\n",
        "http: {timeout: 15}\n",
        "http: {auth: {bearr: token}}\n",
        "fields: [{key: a, type: passwort}]\n",
        "fields: [{type: text}]\n",
        "tools: {}\n",
        "tools: [{name: forge_a, description: A., gett: /x}]\n",
        "webhook: {verify: standard}\n",
        "events: [{name: a, session: s, prompt: p, run: never}]\n",
    ] {
        super::wrong(manifest);
        assert!(!check(manifest).is_empty(), "{manifest}");
    }
    assert_eq!(schema()["title"], json!("integration.yaml"));
}
