//! The documented requests of the API, with the bodies that are printed.

use crate::examples::Examples;
use serde_json::{Value, json};
use tercel_tests::{Options, Server, Turn, World, python::write};

fn keys(value: &Value) -> Vec<&String> {
    let mut keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    keys.sort();
    keys
}

#[test]
fn the_documented_requests_get_the_documented_answers() {
    let Some(examples) = Examples::read() else { return };
    let printed_answer = |name: &str| -> Value {
        let text = examples.get(name);
        let line = text.lines().find_map(|line| line.strip_prefix("// →")).unwrap();
        serde_json::from_str(line).unwrap()
    };
    let options = Options::new();
    write(options.data_directory(), &[("bots/my_bot.yaml", "id: my_bot\nname: My bot\n")]);
    let server = Server::start(options);

    let document = examples.json("document body");
    let made = server.post("/api/v1/documents", document.clone()).expect(201);
    assert_eq!((&made["title"], &made["metadata"]), (&document["title"], &document["metadata"]));
    let id = made["id"].as_str().unwrap();
    let found = server.list("/api/v1/documents/search?q=dark+mode&integration_id=mygithub");
    assert_eq!(found[0]["id"], made["id"]);
    assert_eq!(server.get(&format!("/api/v1/documents/{id}")).expect(200)["content"], document["content"]);
    server.delete(&format!("/api/v1/documents/{id}")).expect(204);
    server.get(&format!("/api/v1/documents/{id}")).expect(404);

    let made = server.post("/api/v1/sessions", examples.json("session body")).expect(201);
    let again = server.post("/api/v1/sessions", examples.json("session body")).expect(201);
    assert_eq!((&made["session_id"], &again["created"]), (&again["session_id"], &json!(false)));
    assert!(keys(&printed_answer("session body")).iter().all(|key| !made[key.as_str()].is_null()), "{made}");

    let path = format!("/api/v1/sessions/{}/messages", made["session_id"].as_str().unwrap());
    let injected = server.post(&path, examples.json("message body")).expect(201);
    assert_eq!(keys(&injected), keys(&printed_answer("message body")));
    let task = server.complete(injected["task_id"].as_str().unwrap());
    assert_eq!(task["prompt"], examples.json("message body")["content"]);
    let listed = server.list(&path);
    assert_eq!(listed[0]["content"], examples.json("message body")["content"]);
}

#[test]
fn every_documented_dispatch_config_is_understood() {
    let Some(examples) = Examples::read() else { return };
    let text = examples.get("dispatch shapes");
    let lines: Vec<&str> = text.lines().collect();
    let shapes: Vec<(String, Value)> = lines
        .chunks(2)
        .map(|pair| {
            let kind = pair[0].split('"').nth(1).unwrap().to_owned();
            (kind, serde_json::from_str(pair[1]).unwrap())
        })
        .collect();
    let kinds: Vec<&str> = shapes.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["slack", "webhook", "internal", "none"]);
    let world = World::start();
    world.model.script(|_| Turn::text("Done."));
    let elsewhere = world.server.session("web:elsewhere");
    for (kind, mut config) in shapes {
        if kind == "internal" {
            config["session_id"] = json!(elsewhere);
        }
        let session = world.server.session(&format!("web:{kind}"));
        let body = json!({"content": "go", "dispatch_type": kind, "dispatch_config": config});
        let task = world.server.ask_with(&session, body);
        let done = world.server.complete(&task);
        assert_eq!((&done["dispatch_type"], &done["result"]), (&json!(kind), &json!("Done.")));
        match kind.as_str() {
            "internal" => {
                world.server.outbox(&task, &["sent"]);
                let said = world.server.messages(&elsewhere);
                assert!(said.iter().any(|one| one["role"] == "user" && one["content"] == "Done."), "{said:#?}");
            }
            "none" => {
                let rows = world.server.list("/api/v1/outbox");
                assert!(rows.iter().all(|row| row["task_id"] != *task), "{rows:#?}");
            }
            // Nobody listens there, or it is not connected: the answer waits, visibly, and the secret is not shown.
            _ => {
                let row = world.server.outbox(&task, &["pending", "sending", "dead", "parked", "unknown", "held"]);
                assert!(!row.to_string().contains("xoxb"), "{row}");
            }
        }
    }
}
