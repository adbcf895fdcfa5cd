//! What becomes something else while it is pushed: the place it goes to, the record, what the service makes of it, the time.

use crate::register::{
    Fate, NAMED, ONE_BY_ONE, PATH, Register, TOKEN, counts, ended, in_batches, job, know_the_account, options, start,
    store, sync, without_find,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};
use tercel_tests::{
    Server,
    loopback::{Loopback, Reply, Request},
    until,
};

/// A service that knows repetitions by their keys, and refuses rows that are bad.
struct Picky {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
    /// Its files and words are those of the register.
    register: Register,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, Value>,
    /// What was made by a request with that key.
    keys: HashMap<String, u64>,
    /// The status for what is bad, of which nothing is made.
    refuses: u16,
    /// Creations that are not made, and nobody is told.
    swallows: usize,
    /// What was made is acknowledged by half an answer.
    halves: bool,
}

impl Picky {
    fn start(refuses: u16) -> Self {
        let state = Arc::new(Mutex::new(State { refuses, ..State::default() }));
        let shared = state.clone();
        let loopback = Loopback::start(move |request| {
            let reply = shared.lock().unwrap().answer(&request);
            async move { reply }
        });
        Self { loopback, state, register: Register::start() }
    }

    fn server(&self, manifest: &str) -> Server {
        let options = options(&self.register, manifest).env("REGISTER_URL", &self.loopback.url());
        Server::start(options.http_timeout(1))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn titles(&self) -> Vec<String> {
        let mut titles: Vec<String> =
            self.state().rows.values().map(|row| row["title"].as_str().unwrap().to_owned()).collect();
        titles.sort();
        titles
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        let body = request.json();
        let id = request.path.strip_prefix("/records/").and_then(|id| id.parse::<u64>().ok());
        if request.method != "GET" && body.to_string().contains("\"bad\"") && self.swallows == 0 {
            return Reply::text(self.refuses, &[], "no");
        }
        match (request.method.as_str(), request.path.as_str(), id) {
            (_, "/ping", _) => Reply::json(200, &json!({"user": "tester"})),
            ("GET", ..) => {
                let wanted = request.query.get("external_id").cloned().unwrap_or_default();
                let fits = self.rows.iter().filter(|(_, row)| row["external_id"] == json!(wanted));
                let items: Vec<Value> = fits.map(|(id, _)| json!({"id": id})).collect();
                Reply::json(200, &json!({"items": items}))
            }
            ("POST", ..) if self.swallows > 0 => {
                self.swallows -= 1;
                Reply::Close
            }
            ("POST", "/batch", _) => {
                let all = body["keys"].as_array().unwrap().iter().zip(body["rows"].as_array().unwrap());
                let ids: Vec<u64> = all.map(|(key, row)| self.make(key.as_str().unwrap(), row)).collect();
                Reply::json(200, &json!({"ids": ids}))
            }
            ("POST", ..) => {
                let id = self.make(request.header("idempotency-key"), &body);
                match self.halves {
                    true => Reply::text(201, &[("content-type", "application/json")], "{\"id\": "),
                    false => Reply::json(201, &json!({"id": id})),
                }
            }
            ("PATCH", _, Some(id)) if self.rows.contains_key(&id) => {
                self.rows.insert(id, body);
                Reply::json(200, &json!({}))
            }
            ("DELETE", _, Some(id)) if self.rows.remove(&id).is_some() => Reply::text(204, &[], ""),
            _ => Reply::json(404, &json!({"error": "not there"})),
        }
    }

    fn make(&mut self, key: &str, row: &Value) -> u64 {
        assert!(!key.is_empty(), "nothing is made without a key");
        let next = self.keys.len() as u64 + 1;
        let id = *self.keys.entry(key.into()).or_insert(next);
        self.rows.insert(id, row.clone());
        id
    }
}

/// The same for a service that knows repetitions of creations by a header.
fn by_header(manifest: &str) -> String {
    let create = "create: {post: /records,";
    assert!(manifest.contains(create));
    manifest.replace(create, "create: {post: /records, idempotency: Idempotency-Key,")
}

#[test]
fn a_sync_whose_connection_gets_another_target_begins_anew_there() {
    for (manifest, on_their_way) in [(without_find(), 1), (ONE_BY_ONE.into(), 4)] {
        let (first, second) = (Register::start(), Register::start());
        let server = Server::start(options(&first, &manifest));
        let jobs: Vec<Value> = (0..10).map(|n| job(n, &format!("Job {n}"))).collect();
        store(&server, &jobs);
        know_the_account(&server);
        first.next((0..on_their_way).map(|_| Fate::Held));
        let id = start(&server, json!({}));
        until("some are on their way", || (first.rows().len() == on_their_way).then_some(()));
        let connect = json!({"url": second.url(), "token": TOKEN});
        assert_eq!(server.post(&format!("{PATH}/connect"), connect).expect(200)["ok"], true);
        first.release();
        let report = ended(&server, &id);
        assert_eq!((counts(&report), &report["anew"]), ([10, 0, 0, 0, 0, 0], &json!(true)), "{report:#}");
        let wanted: Vec<String> = (0..10).map(|n| format!("Job {n}")).collect();
        assert_eq!((first.rows().len(), second.sorted_titles()), (on_their_way, wanted.clone()));
        let report = sync(&server, json!({}));
        assert_eq!((counts(&report), &report["anew"]), ([0, 0, 0, 10, 0, 0], &json!(false)), "{report:#}");
        assert_eq!(second.sorted_titles(), wanted);
    }
}

#[test]
fn a_creation_whose_acknowledgement_cannot_be_read_is_not_made_again() {
    let picky = Picky::start(422);
    let server = picky.server(&by_header(&without_find()));
    picky.state().halves = true;
    store(&server, &[job(1, "Cook")]);
    for _ in 0..2 {
        let report = sync(&server, json!({}));
        assert_eq!((counts(&report), picky.titles().len()), ([0, 0, 0, 0, 0, 1], 1), "{report:#}");
    }
    picky.state().halves = false;
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), picky.titles()), ([1, 0, 0, 0, 0, 0], vec!["Cook".into()]), "{report:#}");
}

#[test]
fn what_made_a_service_fail_and_is_mended_is_pushed_as_it_is_now() {
    let picky = Picky::start(500);
    let server = picky.server(&by_header(ONE_BY_ONE));
    store(&server, &[job(1, "bad"), job(2, "Baker")]);
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [1, 0, 0, 0, 0, 1], "{report:#}");
    store(&server, &[job(1, "Cook"), job(3, "bad")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), picky.titles()), ([1, 0, 0, 1, 0, 1], vec!["Baker".into(), "Cook".into()]));
    server.delete("/api/v1/records/jobs/3").expect(204);
    let report = sync(&server, json!({}));
    assert_eq!(counts(&report), [0, 0, 0, 2, 0, 0], "{report:#}");
    assert_eq!(server.list(&format!("{NAMED}/ledger")).len(), 2, "what never was there and is gone is forgotten");
}

#[test]
fn what_made_a_batch_fail_and_is_mended_fails_it_no_more() {
    let picky = Picky::start(500);
    let server = picky.server(&in_batches(10));
    store(&server, &[job(1, "bad"), job(2, "Baker")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), picky.titles().len()), ([0, 0, 0, 0, 0, 2], 0), "{report:#}");
    store(&server, &[job(1, "Cook")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), picky.titles()), ([2, 0, 0, 0, 0, 0], vec!["Baker".into(), "Cook".into()]));
}

#[test]
fn what_was_lost_and_is_refused_as_it_was_is_not_there() {
    let picky = Picky::start(422);
    let server = picky.server(&by_header(&without_find()));
    picky.state().swallows = 1;
    store(&server, &[job(1, "bad")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([0, 0, 0, 0, 1, 0], &json!({"schema": 1})), "{report:#}");
    store(&server, &[job(1, "Cook")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), picky.titles()), ([1, 0, 0, 0, 0, 0], vec!["Cook".into()]), "{report:#}");
}

#[test]
fn a_clock_that_was_put_back_holds_up_no_sync() {
    let register = Register::start();
    let mut server = Server::start(options(&register, ONE_BY_ONE));
    store(&server, &[job(1, "Cook")]);
    register.next([Fate::Refused(429, "retry-after", "3600")]);
    let id = start(&server, json!({}));
    until("it waits", || {
        let report = server.get(&format!("/api/v1/syncs/{id}")).expect(200);
        (report["status"] == "pending" && !report["error"].is_null()).then_some(())
    });
    server.stop();
    server.options.puts_off_syncs("syncs");
    server.start_again();
    assert_eq!(counts(&ended(&server, &id)), [1, 0, 0, 0, 0, 0]);

    let every = json!({"when": {"kind": "interval", "every": "1s"}});
    server.put(&format!("{NAMED}/sync"), every).expect(200);
    server.stop();
    server.options.puts_off_syncs("sync_settings");
    server.start_again();
    store(&server, &[job(1, "Chef")]);
    until("the planned ones go on", || (register.titles() == ["Chef"]).then_some(()));
}
