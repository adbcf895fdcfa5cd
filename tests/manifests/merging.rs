//! Many events that are alike, and few runs: `merge`, `cooldown` and `shelf_life`, beside ceilings and people.

use crate::world::put;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tercel_tests::{FakeModel, Options, Server, until};

const SECRET: &str = "siren-s3cret-of-the-tests";

const SIREN: &str = r#"
schema: 1
name: siren
fields:
  - {key: secret, label: Webhook secret, type: password, required: true}
webhook:
  verify: {bearer: secret}
  dedupe: none
events:
  - name: firing
    each: body.alerts
    session: alerts
    thread: "{{ item.name }}"
    prompt: "{{ item.name }} of {{ item.host }}"
"#;

/// A server with an integration whose events have these keys, too.
fn world(keys: &[&str]) -> (Server, FakeModel) {
    let model = FakeModel::start();
    let options = Options::new().model(&model).env("SIREN_SECRET", SECRET);
    let keys: String = keys.iter().map(|key| format!("    {key}\n")).collect();
    put(&options, "siren", &format!("{SIREN}{keys}"));
    (Server::start(options), model)
}

/// One delivery, with alerts of a name and a host each.
#[track_caller]
fn fire(server: &Server, alerts: &[(&str, &str)]) -> Value {
    let alerts: Vec<Value> = alerts.iter().map(|(name, host)| json!({"name": name, "host": host})).collect();
    let (bearer, body) = (format!("Bearer {SECRET}"), json!({"alerts": alerts}).to_string());
    server.anonymous().call("POST", "/integrations/siren/webhook", &[("authorization", &bearer)], body).accepted()
}

/// The first run that a delivery started.
#[track_caller]
fn first(taken: &Value) -> String {
    taken["tasks"][0].as_str().unwrap_or_else(|| panic!("no run was started: {taken:#}")).to_owned()
}

/// Lets no run of the integration through; answers what is to be deleted to lift it.
#[track_caller]
fn close(server: &Server, action: &str) -> String {
    let budget = json!({"scope": "integration:siren", "period": "day", "runs": 0, "action": action});
    let id = server.post("/api/v1/budgets", budget).expect(201)["id"].as_str().unwrap().to_owned();
    format!("/api/v1/budgets/{id}")
}

const MERGED: &str = "merge: {by: item.name, for: 1s}";
const COOLED: &str = "cooldown: {by: item.host, for: 1h}";

#[test]
fn one_run_answers_all_that_are_alike_and_others_are_kept_for_a_while() {
    let (server, model) = world(&[MERGED, COOLED]);
    let taken = fire(&server, &[("disk", "a"), ("disk", "b"), ("disk", "a"), ("cpu", "a")]);
    let tasks = taken["tasks"].as_array().unwrap();
    assert!(tasks.len() == 3 && tasks[0] == tasks[1] && tasks[1] != tasks[2], "{taken:#}");
    for task in &tasks[1..] {
        server.complete(task.as_str().unwrap());
    }
    let asked = model.asked();
    let of = |name: &str| asked.iter().find(|asked| asked.question().contains(name)).unwrap().said_by("user");
    let said = of("disk of a");
    assert!(said.len() == 2 && said[0].contains("disk of b"), "{said:#?}");
    assert_eq!((of("cpu of a").len(), asked.len()), (1, 2));

    let kept = fire(&server, &[("disk", "b")]);
    assert_eq!((&kept["status"], &kept["tasks"]), (&json!("stored"), &json!([])), "{kept:#}");
    let delivery = server.get(&format!("/api/v1/deliveries/{}", kept["delivery_id"].as_str().unwrap())).expect(200);
    assert!(delivery["reason"].as_str().unwrap().contains("a short while ago"), "{delivery:#}");
    let next = first(&fire(&server, &[("disk", "c")]));
    assert_ne!(tasks[0], next.as_str(), "the first has begun");
    server.complete(&next);
    assert_eq!(model.calls(), 3);
}

#[test]
fn nobody_joins_a_run_that_was_called_off_or_that_is_of_an_earlier_conversation() {
    let (server, model) = world(&["merge: {by: item.name, for: 1h}"]);
    let stopped = first(&fire(&server, &[("disk", "a")]));
    assert_eq!(first(&fire(&server, &[("disk", "b")])), stopped);
    let session = server.task(&stopped)["session_id"].as_str().unwrap().to_owned();
    // A person does not wait as long as events wait for each other.
    let asked = server.ask_with(&session, json!({"content": "Leave it", "on_busy": "interrupt"}));
    server.complete(&asked);
    assert_eq!(server.task(&stopped)["status"], "cancelled");
    let second = first(&fire(&server, &[("disk", "c")]));
    assert_ne!(second, stopped);
    server.post(&format!("/api/v1/sessions/{session}/reset"), json!({})).expect(200);
    let third = first(&fire(&server, &[("disk", "d")]));
    assert_ne!(third, second);
    assert_ne!(server.task(&third)["session_id"], session.as_str());
    assert_eq!(model.calls(), 1);
}

#[test]
fn who_would_have_joined_a_run_that_a_ceiling_refuses_is_refused_and_nobody_cools_after_it() {
    let (server, model) = world(&[MERGED, COOLED]);
    let budget = close(&server, "store");
    let alerts = [("disk", "a"), ("disk", "b"), ("disk", "a")];
    let refused = fire(&server, &alerts);
    assert_eq!((&refused["status"], &refused["tasks"]), (&json!("stored"), &json!([])), "{refused:#}");
    server.delete(&budget).expect(204);
    let taken = fire(&server, &alerts);
    server.complete(&first(&taken));
    assert_eq!((model.calls(), taken["tasks"].as_array().unwrap().len()), (1, 2), "{taken:#}");
}

#[test]
fn what_waited_together_beyond_its_shelf_life_asks_no_agent() {
    let (server, model) = world(&["shelf_life: 1s"]);
    let budget = close(&server, "digest");
    let kept = fire(&server, &[("disk", "a"), ("disk", "b")]);
    let begun = Instant::now();
    assert_eq!(kept["tasks"], json!([]), "{kept:#}");
    until("it is too late", || (begun.elapsed() > Duration::from_secs(1)).then_some(()));
    server.delete(&budget).expect(204);
    let task = until("the one run ends", || {
        let mut tasks = server.list("/api/v1/tasks").into_iter();
        tasks.find(|task| ["failed", "complete", "cancelled"].contains(&task["status"].as_str().unwrap()))
    });
    assert!(task["error"]["message"].as_str().is_some_and(|message| message.contains("shelf life")), "{task:#}");
    assert_eq!(model.calls(), 0);
}
