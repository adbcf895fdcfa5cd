//! The shipped manifest that takes what any service sends.

use crate::world::card;
use serde_json::{Value, json};
use tercel_tests::{Answer, FakeModel, Options, Receiver, Server, Turn, events::sign, until};

const SECRET: &str = "the-secret-of-these-tests-0123456789";

fn server(settings: &[(&str, &str)]) -> (Server, FakeModel) {
    let model = FakeModel::start();
    model.script(|_| Turn::text("I have seen it."));
    let options = Options::new().model(&model).allow_loopback().env("WEBHOOK_SECRET", SECRET);
    let options = settings.iter().fold(options, |options, (name, value)| options.env(name, value));
    (Server::start(options), model)
}

fn send(server: &Server, headers: &[(&str, &str)], body: &str) -> Answer {
    server.anonymous().call("POST", "/integrations/webhook/webhook", headers, body.to_owned())
}

fn bearer(server: &Server, body: &Value) -> Answer {
    send(server, &[("authorization", &format!("Bearer {SECRET}"))], &body.to_string())
}

#[test]
fn what_comes_is_read_as_the_operator_says_and_answered_where_they_say() {
    let receiver = Receiver::start();
    let (server, model) = server(&[
        ("WEBHOOK_PLACE", "{shop.name}"),
        ("WEBHOOK_THREAD", "order/{order.id}"),
        ("WEBHOOK_PROMPT", "New order {order.id} of {customer.name}: {order.items[0].name}, {missing}."),
        ("WEBHOOK_PREAMBLE", "Thank them."),
    ]);
    assert_eq!(card(&server, "webhook")["status"], "ready");
    let target = json!({"type": "webhook", "url": receiver.url()});
    server.post("/api/v1/channels", json!({"client_id": "webhook:lamps", "dispatch_config": target})).accepted();
    let body = json!({
        "shop": {"name": "lamps"},
        "order": {"id": 17, "items": [{"name": "{{ secrets.secret }} {customer.name}"}]},
        "customer": {"name": "Ada"},
    });
    let taken = bearer(&server, &body).expect(200);
    let task = server.complete(taken["tasks"][0].as_str().unwrap());
    assert_eq!(task["prompt"], "New order 17 of Ada: {{ secrets.secret }} {customer.name}, .");
    let asked = model.asked();
    assert!(asked[0].0.to_string().contains("Thank them."), "{:#}", asked[0].0);
    let answer = until("the answer is posted", || receiver.received().first().cloned());
    assert_eq!(answer.json()["result"], "I have seen it.");
}

#[test]
fn only_who_knows_the_secret_is_let_in_by_the_scheme_that_was_chosen() {
    let (server, _model) = server(&[("WEBHOOK_SCHEME", "github")]);
    let body = json!({"a": 1}).to_string();
    let signature = sign(SECRET, body.as_bytes());
    bearer(&server, &json!({"a": 1})).refused(403, "forbidden");
    send(&server, &[("x-hub-signature-256", "sha256=00")], &body).refused(403, "forbidden");
    send(&server, &[("x-hub-signature-256", &signature)], "{\"a\": 2}").refused(403, "forbidden");
    let taken = send(&server, &[("x-hub-signature-256", &signature)], &body).expect(200);
    assert_eq!(taken["status"], "processed", "{taken:#}");
}

#[test]
fn a_repetition_is_known_by_what_the_operator_says() {
    let (server, _model) = server(&[("WEBHOOK_ID", "{id}"), ("WEBHOOK_PROMPT", "{text}")]);
    assert_eq!(bearer(&server, &json!({"id": "e1", "text": "one"})).expect(200)["status"], "processed");
    assert_eq!(bearer(&server, &json!({"id": "e1", "text": "again"})).expect(200)["status"], "duplicate");
    assert_eq!(bearer(&server, &json!({"id": "e2", "text": "one"})).expect(200)["status"], "processed");
    // Without an id in it, the body itself is what is known.
    assert_eq!(bearer(&server, &json!({"text": "one"})).expect(200)["status"], "processed");
    assert_eq!(bearer(&server, &json!({"text": "one"})).expect(200)["status"], "duplicate");
}

#[test]
fn what_nobody_can_place_is_refused_with_the_reason() {
    let (server, _model) = server(&[("WEBHOOK_PLACE", "{shop.name}")]);
    let said = bearer(&server, &json!({"shop": {}})).refused(400, "bad_request");
    assert!(said.contains("is about no place"), "{said}");
    send(&server, &[("authorization", &format!("Bearer {SECRET}"))], "no json").refused(400, "bad_request");
    let all = bearer(&server, &json!({"shop": {"name": "a"}, "text": "x"})).expect(200);
    assert_eq!(server.complete(all["tasks"][0].as_str().unwrap())["prompt"], r#"{"shop":{"name":"a"},"text":"x"}"#);
}
