//! One connection, whose integration is a manifest, kept in step.

use crate::register::{
    Fate, NAMED, ONE_BY_ONE, PATH, Register, TOKEN, counts, ended, in_batches, job, options, start, store, sync,
    without_find,
};
use serde_json::{Value, json};
use tercel_tests::{Server, until};

#[test]
fn records_are_created_then_skipped_then_updated_and_removed() {
    let register = Register::start();
    let mut server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    let first = sync(&server, json!({}));
    assert_eq!(
        (counts(&first), &first["status"], &first["total"]),
        ([2, 0, 0, 0, 0, 0], &json!("complete"), &json!(2)),
        "{first:#}"
    );
    assert!(register.rows().contains(&json!({"title": "Cook", "company": "Acme", "external_id": "1"})));
    register.asked();

    server.restart();
    let second = sync(&server, json!({}));
    assert_eq!(counts(&second), [0, 0, 0, 2, 0, 0], "{second:#}");
    assert!(register.asked().iter().all(|asked| asked == "GET /ping"), "nothing is asked about what is unchanged");

    store(&server, &[json!({"id": 2, "company": "Acme", "note": "other words for us", "title": "Baker"})]);
    assert_eq!(counts(&sync(&server, json!({}))), [0, 0, 0, 2, 0, 0], "what is not sent changes nothing");
    store(&server, &[job(2, "Butcher"), job(3, "Waiter")]);
    server.delete("/api/v1/records/jobs/1").expect(204);
    let third = sync(&server, json!({}));
    assert_eq!(counts(&third), [1, 1, 1, 0, 0, 0], "{third:#}");
    assert_eq!(register.titles(), ["Butcher", "Waiter"]);
    let looked = register.asked().iter().filter(|asked| *asked == "GET /records").count();
    assert_eq!(looked, 1, "only what the ledger does not know is looked for");

    let place = &server.get("/api/v1/records/jobs/3").expect(200)["places"][0];
    assert_eq!(
        (&place["integration"], &place["state"], &place["remote_id"]),
        (&json!("register"), &json!("there"), &json!("3")),
        "{place:#}"
    );
    let shown = server.get(&format!("{NAMED}/sync")).expect(200);
    assert_eq!(
        (&shown["collection"], &shown["last"]["created"], &shown["finds"]),
        (&json!("jobs"), &json!(1), &json!(true)),
        "{shown:#}"
    );
    assert_eq!(server.list("/api/v1/syncs?integration=register").len(), 4);
    assert!(!server.get("/api/v1/syncs").text().contains(TOKEN) && !server.log().contains(TOKEN));
}

#[test]
fn some_records_are_stored_and_pushed_with_one_call_and_shown_as_a_task() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let body = json!({"records": [job(3, "Waiter"), "2", "gone"]}).to_string();
    let call = || server.call("POST", &format!("{PATH}/sync"), &headers, body.clone()).expect(202);
    let started = call();
    assert_eq!(started, call(), "the same key is the same sync");
    let other = json!({"records": [job(3, "Porter"), "2", "gone"]}).to_string();
    for other in ["{}".to_owned(), other] {
        server.call("POST", &format!("{PATH}/sync"), &headers, other).refused(409, "conflict");
    }
    let id = started["task_id"].as_str().unwrap();
    let report = ended(&server, id);
    assert_eq!(counts(&report), [2, 0, 0, 0, 0, 0], "{report:#}");
    assert_eq!(server.get("/api/v1/records/jobs/3").expect(200)["record"]["title"], "Waiter");
    let mut titles = register.titles();
    titles.sort();
    assert_eq!(titles, ["Baker", "Waiter"], "nothing else was pushed");
    let task = server.task(id);
    assert_eq!((&task["status"], &task["kind"]), (&json!("complete"), &json!("sync")), "{task:#}");
    assert!(task["result"].as_str().unwrap().starts_with("2 created"), "{task:#}");
    assert_eq!(task["report"]["created"], 2);
    let records = server.list(&format!("/api/v1/syncs/{id}/records"));
    let told: Vec<_> = records.iter().map(|one| (one["id"].as_str().unwrap(), one["outcome"].as_str())).collect();
    assert_eq!(told, [("2", Some("done")), ("3", Some("done")), ("gone", None)]);
    let again = sync(&server, json!({"records": ["2", "3"]}));
    assert_eq!(counts(&again), [0, 0, 0, 2, 0, 0]);
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    sync(&server, json!({}));
    store(&server, &[job(1, "Chef")]);
    server.delete("/api/v1/records/jobs/2").expect(204);
    register.asked();
    let dry = sync(&server, json!({"dry_run": true}));
    assert_eq!((counts(&dry), &dry["dry_run"]), ([0, 1, 1, 0, 0, 0], &json!(true)), "{dry:#}");
    let given = sync(&server, json!({"records": [job(9, "Nobody"), job(1, "Cook")], "dry_run": true}));
    assert_eq!(counts(&given), [1, 0, 0, 1, 0, 0], "{given:#}");
    let records = server.list(&format!("/api/v1/syncs/{}/records?outcome=withheld", given["id"].as_str().unwrap()));
    assert_eq!((records.len(), &records[0]["change"]), (1, &json!("create")), "{records:#?}");
    assert!(register.asked().iter().all(|asked| asked == "GET /ping"));
    server.get("/api/v1/records/jobs/9").refused(404, "not_found");
    assert_eq!(counts(&sync(&server, json!({}))), [0, 1, 1, 0, 0, 0], "nothing of it was kept");
}

#[test]
fn what_was_there_before_is_found_and_not_made_again() {
    let register = Register::start();
    register.add(json!({"title": "An older Cook", "external_id": "1"}));
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [1, 1, 0, 0, 0, 0], "{report:#}");
    assert_eq!(register.titles(), ["Cook", "Baker"]);
}

#[test]
fn an_acknowledgement_that_was_lost_is_looked_for() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker"), job(3, "Waiter")]);
    register.next([Fate::Lost, Fate::Lost]);
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [3, 0, 0, 0, 0, 0], "{report:#}");
    let mut titles = register.titles();
    titles.sort();
    assert_eq!(titles, ["Baker", "Cook", "Waiter"], "each of them once");
    store(&server, &[job(1, "Chef")]);
    server.delete("/api/v1/records/jobs/2").expect(204);
    register.next([Fate::Lost, Fate::Lost]);
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report)[..3], [0, 1, 1], "{report:#}");
    assert_eq!(register.rows().len(), 2);
}

#[test]
fn what_nobody_can_look_for_is_held_until_a_person_has_looked() {
    let register = Register::start();
    let server = Server::start(options(&register, &without_find()));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    register.next([Fate::Lost, Fate::Lost]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([0, 0, 0, 0, 0, 2], &json!({"unknown_outcome": 2})), "{report:#}");
    assert!(server.notice("sync:register")["detail"].as_str().unwrap().contains("nobody knows"));
    assert_eq!(counts(&sync(&server, json!({}))), [0, 0, 0, 0, 0, 2], "it is not pushed again");
    assert_eq!(register.rows().len(), 2);
    let held = server.list(&format!("{NAMED}/ledger?state=unknown"));
    assert_eq!(held.len(), 2, "{held:#?}");
    // One is there, and of the other somebody has taken care.
    let found = server.post(&format!("{NAMED}/ledger/1"), json!({"there": true, "remote_id": "1"})).expect(200);
    assert_eq!((&found["state"], &found["remote_id"]), (&json!("there"), &json!("1")), "{found:#}");
    server.post(&format!("{NAMED}/ledger/2"), json!({"there": false})).expect(200);
    server.post(&format!("{NAMED}/ledger/7"), json!({"there": false})).refused(404, "not_found");
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [1, 0, 0, 1, 0, 0], "{report:#}");
    // A sync has ended before people are told of it.
    until("what was told is over", || {
        let notices = server.list("/api/v1/notices?open=true");
        notices.iter().all(|notice| notice["key"] != "sync:register").then_some(())
    });
}

#[test]
fn one_that_is_refused_does_not_hold_up_the_others() {
    let register = Register::start();
    let server = Server::start(options(&register, &without_find()));
    store(&server, &[job(1, "Cook"), job(2, "Baker"), job(3, "Waiter")]);
    register.next([Fate::Refused(403, "x-why", "no")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([2, 0, 0, 0, 1, 0], &json!({"forbidden": 1})), "{report:#}");
    let id = report["id"].as_str().unwrap();
    let failed = server.list(&format!("/api/v1/syncs/{id}/records?outcome=failed"));
    assert_eq!(
        (failed.len(), &failed[0]["error"]["code"], &failed[0]["change"]),
        (1, &json!("forbidden"), &json!("create"))
    );
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [1, 0, 0, 2, 0, 0], "it is tried again by the next one: {report:#}");
}

#[test]
fn a_service_that_wants_a_pause_gets_it() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    // More than a manifest waits for by itself.
    register.next((0..4).map(|_| Fate::Refused(429, "retry-after", "1")));
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), register.rows().len()), ([2, 0, 0, 0, 0, 0], 2), "{report:#}");
}

#[test]
fn refused_credentials_hold_a_sync_until_they_are_good() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    register.shut(true);
    let id = start(&server, json!({}));
    let waits = until("it waits", || {
        let report = server.get(&format!("/api/v1/syncs/{id}")).expect(200);
        (report["status"] == "waiting").then_some(report)
    });
    assert_eq!(waits["error"]["code"], "auth", "{waits:#}");
    server.notice("credentials:register");
    register.shut(false);
    server.post(&format!("{PATH}/test"), json!({})).expect(200);
    assert_eq!(counts(&ended(&server, &id)), [2, 0, 0, 0, 0, 0]);
}

#[test]
fn many_leave_together_where_the_service_takes_them() {
    let register = Register::start();
    let server = Server::start(options(&register, &in_batches(100)));
    let jobs: Vec<Value> = (0..1234).map(|n| job(n, &format!("Job {n}"))).collect();
    store(&server, &jobs);
    register.asked();
    register.next([Fate::Lost, Fate::Refused(503, "retry-after", "0")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), register.rows().len()), ([1234, 0, 0, 0, 0, 0], 1234), "{report:#}");
    let batches = register.asked().iter().filter(|asked| *asked == "POST /batch").count();
    assert!((14..=30).contains(&batches), "{batches}");
    assert_eq!(counts(&sync(&server, json!({}))), [0, 0, 0, 1234, 0, 0]);
}

#[test]
fn a_sync_can_be_stopped_and_the_next_one_brings_the_rest() {
    let register = Register::start();
    let manifest = without_find().replace("auth: {bearer: token}}", "auth: {bearer: token}, rate: 20/s}");
    let server = Server::start(options(&register, &manifest));
    let jobs: Vec<Value> = (0..300).map(|n| job(n, &format!("Job {n}"))).collect();
    store(&server, &jobs);
    let id = start(&server, json!({}));
    until("it has begun", || (register.rows().len() > 3).then_some(()));
    server.post(&format!("/api/v1/syncs/{id}/cancel"), json!({})).expect(200);
    let report = ended(&server, &id);
    assert_eq!(report["status"], "cancelled", "{report:#}");
    let there = register.rows().len();
    assert!(there < 300, "{there}");
    assert_eq!(report["created"].as_u64(), Some(there as u64), "all that is there is known");
    assert!(server.list(&format!("{NAMED}/ledger?state=pushing")).is_empty());
    server.post(&format!("/api/v1/syncs/{id}/cancel"), json!({})).refused(409, "conflict");
}
