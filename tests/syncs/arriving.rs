//! What may have arrived, and what arrives late: it is not made a second time.

use crate::register::{
    Fate, ONE_BY_ONE, PATH, Register, counts, ended, job, know_the_account, options, start, store, sync,
};
use serde_json::{Value, json};
use std::time::Duration;
use tercel_tests::{
    Engine, Server,
    postgres::{FAST, Postgres},
    until,
};

/// Longer than it is waited for, and not as long as it may take.
const LATE: Duration = Duration::from_secs(2);
/// Two directories, one key: as two machines have it.
const KEY: &str = "abababababababababababababababababababababababababababababababab";

fn state(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/v1/syncs/{id}")).expect(200)
}

#[test]
fn what_could_not_be_looked_for_is_not_taken_for_absent_later() {
    let register = Register::start();
    register.add(json!({"title": "An older Cook", "external_id": "1"}));
    register.blind(true);
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([0, 0, 0, 0, 2, 0], &json!({"forbidden": 2})), "{report:#}");
    register.blind(false);
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [1, 1, 0, 0, 0, 0], "{report:#}");
    assert_eq!(register.sorted_titles(), ["Baker", "Cook"]);
}

#[test]
fn what_somebody_else_wrote_since_is_found_and_not_made_again() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    assert_eq!(counts(&sync(&server, json!({}))), [0; 6], "there was nothing yet");
    register.add(json!({"title": "An older Cook", "external_id": "1"}));
    store(&server, &[job(1, "Cook")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), register.titles()), ([0, 1, 0, 0, 0, 0], vec!["Cook".into()]), "{report:#}");

    store(&server, &[job(2, "Baker")]);
    register.next([Fate::Refused(422, "x-why", "bad")]);
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [0, 0, 0, 1, 1, 0], "{report:#}");
    register.add(json!({"title": "An older Baker", "external_id": "2"}));
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [0, 1, 0, 1, 0, 0], "what was refused is looked for as well: {report:#}");
    assert_eq!(register.sorted_titles(), ["Baker", "Cook"]);
}

#[test]
fn a_creation_that_takes_longer_than_it_is_waited_for_is_made_once() {
    let register = Register::start();
    let mut server = Server::start(options(&register, ONE_BY_ONE).http_timeout(1));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    register.next([Fate::Late(LATE)]);
    let report = sync(&server, json!({}));
    register.wait_for_what_is_late();
    assert_eq!((counts(&report), register.sorted_titles()), ([2, 0, 0, 0, 0, 0], vec!["Baker".into(), "Cook".into()]));

    store(&server, &[job(3, "Waiter")]);
    register.asked();
    register.next([Fate::Late(LATE - Duration::from_millis(500))]);
    let id = start(&server, json!({}));
    until("it is on its way", || register.asked().contains(&"POST /records".to_owned()).then_some(()));
    server.kill9();
    server.start_again();
    let report = ended(&server, &id);
    register.wait_for_what_is_late();
    assert_eq!(
        (counts(&report)[0], register.sorted_titles()),
        (1, vec!["Baker".into(), "Cook".into(), "Waiter".into()])
    );
}

#[test]
fn what_never_arrives_is_told_and_holds_up_nothing_for_ever() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE).http_timeout(1));
    store(&server, &[job(1, "Cook")]);
    register.next((0..9).map(|_| Fate::Swallowed));
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([0, 0, 0, 0, 0, 1], &json!({"unknown_outcome": 1})), "{report:#}");
    assert!(register.asked().iter().filter(|asked| *asked == "POST /records").count() <= 4);
    server.notice("sync:register");
    register.next_is_as_usual();
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), register.titles()), ([1, 0, 0, 0, 0, 0], vec!["Cook".into()]), "{report:#}");
}

#[test]
fn what_was_removed_without_a_word_is_made_anew_when_it_comes_back() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook")]);
    sync(&server, json!({}));
    server.delete("/api/v1/records/jobs/1").expect(204);
    register.next([Fate::Denied(502, "retry-after", "2")]);
    let id = start(&server, json!({}));
    until("it is tried again later", || (!state(&server, &id)["error"].is_null()).then_some(()));
    store(&server, &[job(1, "Cook")]);
    ended(&server, &id);
    sync(&server, json!({}));
    assert_eq!(register.titles(), ["Cook"]);
}

#[test]
fn what_waits_for_its_integration_goes_on_when_that_is_switched_on() {
    let register = Register::start();
    let server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook")]);
    register.next([Fate::Refused(429, "retry-after", "2")]);
    let id = start(&server, json!({}));
    until("it is tried again later", || (!state(&server, &id)["error"].is_null()).then_some(()));
    server.post("/api/v1/admin/integrations/register/disable", json!({})).expect(200);
    until("it waits", || (state(&server, &id)["status"] == "waiting").then_some(()));
    server.post("/api/v1/admin/integrations/register/enable", json!({})).expect(200);
    assert_eq!(counts(&ended(&server, &id)), [1, 0, 0, 0, 0, 0]);
    server.post(&format!("{PATH}/sync"), json!({})).expect(202);
}

#[test]
fn a_server_that_was_replaced_begins_nothing_more() {
    if !Engine::Postgres.is_tested() {
        return;
    }
    let (postgres, register) = (Postgres::start(&FAST), Register::start());
    let options = || options(&register, ONE_BY_ONE).env("ENCRYPTION_KEY", KEY);
    let frozen = Server::start(options().on(postgres.database_as("")));
    let jobs: Vec<Value> = (100..140).map(|n| job(n, &format!("Job {n}"))).collect();
    store(&frozen, &jobs);
    know_the_account(&frozen);
    register.next((0..4).map(|_| Fate::Held));
    let id = start(&frozen, json!({}));
    until("four are on their way", || (register.rows().len() == 4).then_some(()));
    frozen.freeze();
    frozen.options.cut_sessions();
    let mut successor = Server::start(options().http_timeout(1).on_that_of(&frozen));
    let report = ended(&successor, &id);
    assert_eq!((counts(&report), register.rows().len()), ([40, 0, 0, 0, 0, 0], 40), "{report:#}");

    frozen.thaw();
    until("it has noticed", || (frozen.get("/ready").status == 503).then_some(()));
    register.release();
    successor.stop();
    until("it has its place again", || (frozen.get("/ready").status == 200).then_some(()));
    assert_eq!(counts(&sync(&frozen, json!({}))), [0, 0, 0, 40, 0, 0]);
    assert_eq!(register.rows().len(), 40);
}
