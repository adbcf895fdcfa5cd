//! The process dies in the middle of syncs: no record is twice at the service, and none is forgotten.

use crate::register::{NAMED, ONE_BY_ONE, PATH, Register, TOKEN, in_batches, job, options, without_find};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tercel_tests::{Engine, Life, Server, wait::pause};

const POINTS: [&str; 4] = ["commit.before", "commit.after", "outbound.before", "outbound.after"];
const MOST: u32 = 120;
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn records_that_leave_one_by_one_are_there_once() {
    // A find and a creation of each record, an update, a removal.
    survives(ONE_BY_ONE, 8, 8, false);
}

#[test]
fn records_that_leave_together_are_there_once() {
    survives(&in_batches(2), 8, 3, false);
}

#[test]
fn what_nobody_can_look_for_is_there_at_most_once_and_told() {
    survives(&without_find(), 8, 5, true);
}

fn survives(manifest: &str, commits: u32, calls: u32, may_be_held: bool) {
    std::thread::scope(|scope| {
        for point in POINTS {
            let least = if point.starts_with("commit") { commits } else { calls };
            scope.spawn(move || {
                let mut deaths = Engine::tested().deaths(point).take_while(|n| *n <= MOST);
                let lived = deaths.find(|n| !dies_at(manifest, point, *n, may_be_held));
                assert!(lived.is_some_and(|n| n > least), "`{point}` {least}: {lived:?}");
            });
        }
    });
}

/// Lives through two syncs with a death at the n-th hit of the point. Answers whether it died.
fn dies_at(manifest: &str, point: &str, n: u32, may_be_held: bool) -> bool {
    let place = format!("`{point}` {n}");
    let register = Register::start();
    let calm = options(&register, manifest).http_timeout(2);
    let mut life = Life::begin(calm, &format!("{point}:+{n}"));
    does(&mut life, &place, |server| post(server, "/api/v1/records/jobs", "", jobs(&["Cook", "Baker", "Waiter"])));
    syncs(&mut life, &place, "first");
    does(&mut life, &place, |server| post(server, "/api/v1/records/jobs", "", jobs(&["Chef", "Baker"])));
    does(&mut life, &place, |server| {
        let answer = server.try_call("DELETE", "/api/v1/records/jobs/3", &[], "").ok()?;
        [204, 404].contains(&answer.status).then_some(Value::Null)
    });
    syncs(&mut life, &place, "second");
    life.end();
    let held = life.server.list(&format!("{NAMED}/ledger?state=unknown"));
    let mut titles = register.titles();
    titles.sort();
    if may_be_held {
        // What is held is there, or not; what is not held is as it is here.
        let held: Vec<&str> = held.iter().map(|row| row["id"].as_str().unwrap()).collect();
        let ids: Vec<String> =
            register.rows().iter().map(|row| row["external_id"].as_str().unwrap().to_owned()).collect();
        let once: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(once.len(), ids.len(), "{place}: {:#?}", register.rows());
        assert!(held.len() <= 1, "{place}: {held:?}");
        for (id, title) in [("1", "Chef"), ("2", "Baker")] {
            let is_there = register.rows().iter().any(|row| row["external_id"] == id && row["title"] == title);
            assert!(is_there || held.contains(&id), "{place}: {:#?}, held: {held:?}", register.rows());
        }
    } else {
        let is_removed = manifest.contains("delete:");
        let wanted: &[&str] = if is_removed { &["Baker", "Chef"] } else { &["Baker", "Chef", "Waiter"] };
        assert_eq!(titles, wanted, "{place}");
        assert!(held.is_empty(), "{place}: {held:#?}");
    }
    assert!(!life.server.log().contains(TOKEN));
    life.died()
}

fn jobs(titles: &[&str]) -> Value {
    let records: Vec<Value> = titles.iter().enumerate().map(|(n, title)| job(n as u64 + 1, title)).collect();
    json!({"records": records})
}

fn post(server: &Server, path: &str, key: &str, body: Value) -> Option<Value> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    let answer = server.try_call("POST", path, &headers, body.to_string()).ok()?;
    (200..300).contains(&answer.status).then(|| answer.json())
}

/// Asks as somebody does who asks again until there is an answer.
fn does(life: &mut Life, place: &str, ask: impl Fn(&Server) -> Option<Value>) -> Value {
    let start = Instant::now();
    loop {
        life.revive();
        if let Some(answer) = ask(&life.server) {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{place}: {}", life.server.log());
        pause(Duration::from_millis(10));
    }
}

fn syncs(life: &mut Life, place: &str, key: &str) {
    let started = does(life, place, |server| post(server, &format!("{PATH}/sync"), key, json!({})));
    let path = format!("/api/v1/syncs/{}", started["task_id"].as_str().unwrap());
    let report = does(life, place, |server| {
        let answer = server.try_call("GET", &path, &[], "").ok()?;
        Some(answer.json()).filter(|report| !report["ended_at"].is_null())
    });
    assert_eq!(report["status"], "complete", "{place}: {report:#}");
}
