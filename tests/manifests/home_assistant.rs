//! The shipped manifest for homes against the core of the real Home Assistant.

use crate::{
    real::Real,
    world::{card, test, tool},
};
use serde_json::{Value, json};
use std::fs;
use tercel_tests::{FakeModel, Options, RUNTIME, Server, Turn, until};

const SECRET: &str = "of-the-tests-0123456789abcdef";

fn options(url: &str, token: &str) -> Options {
    let options = Options::new().env("HOME_ASSISTANT_BASE_URL", url).env("HOME_ASSISTANT_TOKEN", token);
    options.env("HOME_ASSISTANT_NOTIFICATION_SERVICE", "notify.phone").env("HOME_ASSISTANT_WEBHOOK_SECRET", SECRET)
}

fn home(webhook: &str) -> Real {
    Real::start("home_assistant", tempfile::tempdir().unwrap(), &[webhook, SECRET])
}

/// Does something in the home, past the server.
fn act(real: &Real, action: &str, data: &Value) {
    let answer = RUNTIME.block_on(async {
        let request = reqwest::Client::new().post(format!("{}/api/services/{action}", real.url()));
        request.bearer_auth(&real.said).json(data).send().await.unwrap()
    });
    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[test]
fn phones_are_notified_and_agents_look_and_act() {
    let real = home("http://127.0.0.1:9/");
    let model = FakeModel::start();
    let server = Server::start(options(&real.url(), &real.said).model(&model));
    assert_eq!(card(&server, "home_assistant")["status"], "ready");
    let good = test(&server, "home_assistant", json!({}));
    assert_eq!((&good["ok"], &good["depth"]), (&json!(true), &json!("target")), "{good:#}");
    model.script(|_| Turn::text("The **door** is\nopen {{ states('light.x') }} \"now\""));
    let session = server.session("web:alice");
    let target = json!({"type": "home_assistant", "title": "Home", "tag": "door"});
    let task = server.ask_with(&session, json!({"content": "How is it?", "dispatch_config": target, "notify": false}));
    server.outbox(&task, &["sent"]);
    let notes = until("it was notified", || fs::read_to_string(real.path().join("notes.txt")).ok());
    assert!(
        notes.starts_with("Home notifications") && notes.contains("The door is\nopen {{ states('light.x') }} \"now\""),
        "{notes}"
    );
    let state = || tool(&server, "home_assistant_state", json!({"id": "input_boolean.door"})).unwrap()["state"].clone();
    assert_eq!(state(), "off");
    let changed =
        tool(&server, "home_assistant_do", json!({"action": "input_boolean.turn_on", "id": "input_boolean.door"}));
    assert_eq!(changed.unwrap(), json!([{"id": "input_boolean.door", "state": "on"}]));
    assert_eq!(state(), "on");
    let all = tool(&server, "home_assistant_states", json!({"kind": "input_boolean"})).unwrap();
    assert_eq!(all, json!([{"id": "input_boolean.door", "name": "Door", "state": "on"}]));
    assert_eq!(tool(&server, "home_assistant_states", json!({"kind": "light"})).unwrap(), json!([]));
    let (code, _) = tool(&server, "home_assistant_state", json!({"id": "light.none"})).unwrap_err();
    assert_eq!(code, "not_found");
    let (code, message) = tool(&server, "home_assistant_do", json!({"action": "light.explode"})).unwrap_err();
    assert!(code == "schema" && message.contains("there is no such action"), "{code} {message}");
}

#[test]
fn the_test_says_what_is_wrong_and_notifies_nobody() {
    let real = home("http://127.0.0.1:9/");
    let server = Server::start(options(&real.url(), &real.said));
    let wrong = test(&server, "home_assistant", json!({"token": "wrong-0123456789"}));
    assert_eq!(
        (&wrong["code"], wrong["hint"].as_str()),
        (&json!("auth"), Some("Make a new one on the page of the profile")),
        "{wrong:#}"
    );
    let missing = test(&server, "home_assistant", json!({"notification_service": "tablet"}));
    assert_eq!(missing["code"], "not_found", "{missing:#}");
    let message = missing["message"].as_str().unwrap();
    assert!(message.contains("no notify.tablet") && message.contains("phone"), "{missing:#}");
    assert!(!real.path().join("notes.txt").exists());
}

#[test]
fn an_automation_asks_an_agent_once() {
    let model = FakeModel::start();
    let server = Server::start(options("http://127.0.0.1:9", "unused-0123456789").model(&model));
    let real = home(&format!("{}/integrations/home_assistant/webhook", server.base));
    model.script(|_| Turn::text("Close it."));
    let payload = json!({"payload": {"id": "e1", "place": "door", "message": "Open for {{ 7*7 }} minutes"}});
    act(&real, "rest_command/tercel", &payload);
    let delivery = until("it is here", || server.list("/api/v1/deliveries?integration=home_assistant").pop());
    act(&real, "rest_command/tercel", &payload);
    until("the second is known", || {
        let all = server.list("/api/v1/deliveries?integration=home_assistant");
        all.iter().any(|one| one["outcome"] == "duplicate").then_some(())
    });
    assert_eq!(delivery["event"], "message", "{delivery:#}");
    let session = server.session("home_assistant:door");
    until("it was answered", || {
        server.messages(&session).iter().any(|one| one["content"] == "Close it.").then_some(())
    });
    assert_eq!(server.messages(&session)[0]["content"], "Open for {{ 7*7 }} minutes");
    assert_eq!(model.asked().len(), 1);
}
