//! What stands in the way of a sync does not do so for ever, and what only looks like it is not given up.

use crate::register::{
    Fate, NAMED, ONE_BY_ONE, Register, counts, ended, job, know_the_account, options, start, store, sync,
};
use serde_json::{Value, json};
use tercel_tests::{
    Server,
    loopback::{Reply, Request},
    until,
};

fn report(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/v1/syncs/{id}")).expect(200)
}

/// Waits until it is tried again later.
#[track_caller]
fn put_off(server: &Server, id: &str) -> Value {
    until("it is tried again later", || {
        Some(report(server, id)).filter(|report| report["status"] == "pending" && !report["error"].is_null())
    })
}

/// As if it had been tried so often since it last got on.
#[track_caller]
fn has_tried(server: &mut Server, attempts: u32) {
    server.stop();
    server.options.has_tried_syncs(attempts);
    server.start_again();
}

fn busy() -> Reply {
    Reply::text(503, &[("retry-after", "0")], "no")
}

fn looks_for(request: &Request, id: &str) -> bool {
    request.method == "GET" && request.query.get("external_id").is_some_and(|wanted| wanted == id)
}

#[test]
fn a_service_that_takes_few_calls_is_not_asked_about_the_same_records_for_ever() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker"), job(3, "Waiter")]);
    let mut calls = 0;
    register.instead(move |_| {
        calls += 1;
        (calls % 2 == 0).then(|| Reply::text(429, &[("retry-after", "0")], "later"))
    });
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [3, 0, 0, 0, 0, 0], "{report:#}");
    assert_eq!(register.sorted_titles(), ["Baker", "Cook", "Waiter"]);
}

#[test]
fn what_was_looked_for_before_a_pause_is_pushed_after_it() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    let plan = |rate: Value| server.put(&format!("{NAMED}/sync"), json!({"rate": rate})).expect(200);
    let asked = |what: &str| register.asked().into_iter().filter(|asked| asked == what).count();
    plan(json!("2/h"));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    know_the_account(&server);
    let id = start(&server, json!({}));
    let waits = put_off(&server, &id);
    assert_eq!((&waits["error"]["code"], counts(&waits)), (&json!("rate_limited"), [0; 6]), "{waits:#}");
    assert_eq!(asked("GET /records"), 2);
    plan(Value::Null);
    server.post(&format!("/api/v1/syncs/{id}/resume"), json!({})).expect(200);
    assert_eq!(counts(&ended(&server, &id)), [2, 0, 0, 0, 0, 0]);
    assert_eq!(asked("GET /records"), 0, "both were looked for");
    assert_eq!(register.sorted_titles(), ["Baker", "Cook"]);
}

#[test]
fn what_was_looked_for_by_an_earlier_server_is_looked_for_once_more() {
    let register = Register::start();
    let mut server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook")]);
    register.next([Fate::Refused(429, "retry-after", "5")]);
    let id = start(&server, json!({}));
    put_off(&server, &id);
    server.stop();
    register.add(json!({"title": "Cook", "external_id": "1"}));
    server.start_again();
    let report = ended(&server, &id);
    assert_eq!((counts(&report), register.titles()), ([0, 1, 0, 0, 0, 0], vec!["Cook".into()]), "{report:#}");
}

#[test]
fn one_that_cannot_be_looked_for_does_not_hold_up_the_others() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker"), job(3, "Waiter")]);
    register.instead(|request| looks_for(request, "1").then(|| Reply::text(500, &[], "no")));
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([2, 0, 0, 0, 1, 0], &json!({"error": 1})), "{report:#}");
    register.next_is_as_usual();
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [1, 0, 0, 2, 0, 0], "{report:#}");
    assert_eq!(register.sorted_titles(), ["Baker", "Cook", "Waiter"]);
}

#[test]
fn one_at_which_the_service_fails_is_given_up_after_long_and_the_rest_is_brought() {
    let register = Register::start();
    let mut server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook")]);
    sync(&server, json!({}));
    store(&server, &[job(2, "Baker"), job(3, "Waiter")]);
    sync(&server, json!({}));
    store(&server, &[job(1, "Chef"), job(2, "Butcher")]);
    server.delete("/api/v1/records/jobs/3").expect(204);
    register.instead(|request| (request.path == "/records/1").then(busy));
    let id = start(&server, json!({}));
    let waits = until("the other was updated", || {
        Some(report(&server, &id)).filter(|report| report["updated"] == 1 && report["status"] == "pending")
    });
    assert_eq!(counts(&waits), [0, 1, 0, 0, 0, 0], "what is behind it waits for it: {waits:#}");
    has_tried(&mut server, 7);
    let report = ended(&server, &id);
    assert_eq!((counts(&report), &report["status"]), ([0, 1, 1, 0, 0, 1], &json!("complete")), "{report:#}");
    assert_eq!(register.sorted_titles(), ["Butcher", "Cook"]);
    register.next_is_as_usual();
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), register.sorted_titles()[1].as_str()), ([0, 1, 0, 1, 0, 0], "Chef"), "{report:#}");
}

/// With more records than are on their way at once.
#[track_caller]
fn nothing_is_given_up(is_there_before: bool, answer: fn(&Request) -> Option<Reply>) {
    let register = Register::start();
    let mut server = Server::start(options(&register, ONE_BY_ONE));
    let jobs = |title: &str| -> Vec<Value> { (100..140).map(|n| job(n, &format!("{title} {n}"))).collect() };
    if is_there_before {
        store(&server, &jobs("Job"));
        assert_eq!(counts(&sync(&server, json!({}))), [40, 0, 0, 0, 0, 0]);
    }
    store(&server, &jobs("Post"));
    register.instead(answer);
    let id = start(&server, json!({}));
    put_off(&server, &id);
    has_tried(&mut server, 11);
    let report = ended(&server, &id);
    assert_eq!((counts(&report), &report["status"]), ([0; 6], &json!("failed")), "{report:#}");
    register.next_is_as_usual();
    let brought = if is_there_before { [0, 40, 0, 0, 0, 0] } else { [40, 0, 0, 0, 0, 0] };
    assert_eq!(counts(&sync(&server, json!({}))), brought);
}

#[test]
fn a_service_that_fails_at_all_that_it_is_sent_is_down() {
    nothing_is_given_up(true, |request| (request.method != "GET").then(busy));
}

#[test]
fn a_service_that_fails_at_all_that_it_is_asked_is_down() {
    nothing_is_given_up(false, |request| (request.method == "GET").then(|| Reply::text(500, &[], "no")));
}

#[test]
fn a_sync_does_not_go_on_with_the_names_of_another_collection() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    let plan = |plan: Value| server.put(&format!("{NAMED}/sync"), plan).expect(200);
    store(&server, &[job(1, "Cook")]);
    sync(&server, json!({}));
    store(&server, &[job(1, "Chef")]);
    register.next([Fate::Refused(429, "retry-after", "5")]);
    let id = start(&server, json!({}));
    put_off(&server, &id);
    plan(json!({"collection": "tickets", "mapping": {"title": "subject", "company": "customer.name"}}));
    let report = ended(&server, &id);
    assert_eq!((counts(&report), &report["status"]), ([0; 6], &json!("failed")), "{report:#}");
    let error = &report["error"];
    assert!(error["message"].as_str().is_some_and(|why| why.contains("`tickets`")), "{report:#}");
    assert!(error["hint"].as_str().is_some_and(|what| what.contains("Start a sync anew")), "{report:#}");
    assert_eq!(register.titles(), ["Cook"], "nothing of it was overwritten");
    plan(json!({}));
    assert_eq!(counts(&sync(&server, json!({}))), [0, 1, 0, 0, 0, 0]);
    assert_eq!(register.titles(), ["Chef"]);
}
