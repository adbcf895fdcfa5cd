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

/// The shipped ones are what people copy.
#[test]
fn what_ships_has_nothing_wrong_with_it() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../integrations");
    let mut seen = 0;
    for folder in fs::read_dir(shipped).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(text) = fs::read_to_string(folder.join("integration.yaml")) else { continue };
        let id = folder.file_name().unwrap().to_str().unwrap();
        if let Err(problems) = crate::manifest::parse(id, &text, false) {
            panic!("{id}: {problems:?}");
        }
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let wrong: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(wrong, [] as [String; 0], "{id}");
        assert!(text.starts_with("# yaml-language-server: $schema="), "{id}");
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains("\n1. ") && text.contains("\nicon: ") && text.contains("\nversion: "), "{id}");
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
}
