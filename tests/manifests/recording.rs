//! Real exchanges, kept without secrets and played back offline.

use crate::world::{Service, put};
use serde_json::{Value, json};
use std::{fs, path::Path};
use tercel_tests::{Options, loopback::Reply};

const KEY: &str = "sk-of-the-tests-0123456789";

const DESK: &str = r#"
schema: 1
name: desk
icon: Inbox
version: 1.0.0
fields:
  - {key: url, label: Server, type: url, required: true}
  - {key: key, label: Key, type: password, required: true}
http: {base: "{{ fields.url }}/v1", auth: {header: {name: X-Key, secret: key}}}
test: {get: /me, account: response.json.name}
tools:
  - {name: desk_find, description: Finds., effect: read, args: {text: {type: string}}, get: /notes, query: {q: "{{ args.text }}", key: "{{ secrets.key }}"},
     result: response.json.notes | map(attribute='title') | list}
  - {name: desk_add, description: Adds., args: {text: {type: string}}, post: /notes, json: {text: "{{ args.text }}"}, result: response.json.id}
"#;

fn desk() -> (Service, Options, String) {
    let service = Service::start();
    service.says("GET /v1/me", json!({"name": "Ada", "session_token": "abc", "key": KEY}));
    service.on("GET /v1/notes", |request| {
        assert_eq!(request.header("x-key"), KEY);
        Reply::json(
            200,
            &json!({"notes": [{"title": format!("About {}", request.query["q"])}], "asked_with": request.query["key"]}),
        )
    });
    service.says("POST /v1/notes", json!({"id": 7}));
    let options = Options::new().allow_loopback().env("DESK_URL", &service.url()).env("DESK_KEY", KEY);
    let folder = put(&options, "desk", DESK);
    fs::write(folder.join("README.md"), "# Desk\n").unwrap();
    (service, options, folder.to_str().unwrap().to_owned())
}

fn kept(folder: &str, name: &str) -> (String, Value) {
    let text = fs::read_to_string(Path::new(folder).join("fixtures/recorded").join(name)).unwrap();
    let json = serde_json::from_str(&text).unwrap();
    (text, json)
}

#[test]
fn what_was_said_is_kept_without_the_secrets_and_played_back() {
    let (service, options, folder) = desk();
    let said =
        options.run(&["record", &folder, "--tool", "desk_find", "--arguments", r#"{"text": "rust & \"co\""}"#]).ok();
    assert!(said.contains("Kept 1 exchange in"), "{said}");
    options.run(&["record", &folder, "--test"]).ok();
    let (text, recording) = kept(&folder, "desk_find.json");
    assert!(!text.contains(KEY), "{text}");
    assert_eq!(recording["result"], json!(["About rust & \"co\""]), "{text}");
    assert!(recording["exchanges"][0]["request"]["path"].as_str().unwrap().ends_with("&key=redacted"), "{text}");
    let (text, _) = kept(&folder, "test.json");
    assert!(!text.contains(KEY) && !text.contains("abc"), "{text}");
    // Nobody is there any more.
    drop(service);
    let said = options.run(&["check", &folder]).ok();
    assert!(said.contains("Nothing is wrong with it"), "{said}");
}

#[test]
fn what_a_manifest_does_otherwise_by_now_is_said() {
    let (_service, options, folder) = desk();
    options.run(&["record", &folder, "--tool", "desk_find", "--arguments", r#"{"text": "rust"}"#]).ok();
    for (from, to, expected) in [
        ("get: /notes", "get: /all-notes", "It asks GET /v1/all-notes"),
        ("attribute='title'", "attribute='name'", "and made [\"About rust\"] when this was recorded"),
        ("{q: ", "{query: ", "record it anew"),
    ] {
        fs::write(Path::new(&folder).join("integration.yaml"), DESK.replacen(from, to, 1)).unwrap();
        let said = options.run(&["check", &folder]);
        assert_eq!(said.status.code(), Some(1), "{}", said.out);
        assert!(
            said.out.contains("fixtures/recorded/desk_find.json") && said.out.contains(expected),
            "{to}: {}",
            said.out
        );
    }
}

#[test]
fn nothing_is_changed_without_a_yes_and_nothing_kept_of_what_failed() {
    let (service, options, folder) = desk();
    let add = ["record", &folder, "--tool", "desk_add", "--arguments", r#"{"text": "x"}"#];
    let said = options.run(&add).failed();
    assert!(said.contains("--yes"), "{said}");
    assert!(service.received().is_empty());
    options.run(&[&add[..], &["--yes"]].concat()).ok();
    assert_eq!(kept(&folder, "desk_add.json").1["result"], 7);
    service.on("GET /v1/me", |_| Reply::json(401, &json!({"error": format!("{KEY} is unknown")})));
    let said = options.run(&["record", &folder, "--test"]).failed();
    assert!(said.contains("Nothing was kept") && !said.contains(KEY), "{said}");
    assert!(!Path::new(&folder).join("fixtures/recorded/test.json").exists());
    for (arguments, expected) in [
        (vec!["record", &folder], "Say what is to be recorded"),
        (vec!["record", "nothing", "--test"], "nothing"),
        (vec!["record", &folder, "--tool", "desk_none"], "desk_none"),
        (vec!["record", &folder, "--tool", "desk_find", "--arguments", "[]"], "no JSON object"),
    ] {
        let said = options.run(&arguments).failed();
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
