//! Records that a connector class pushes.

use crate::world::{loads, options, put, root};
use serde_json::{Value, json};
use tercel_tests::{Receiver, Server, until};

/// As the document writes one: it counts, and prints why not.
const ONE_BY_ONE: &str = r#"
import requests
from scripts.integrations.base import IntegrationBase


class Shelf(IntegrationBase):
    name = "shelf"
    label = "The shelf"
    tier = "free"

    def fields(self):
        return [{"key": "address", "label": "Address", "type": "url", "required": True}]

    def connect(self, config):
        self._address = config.get("address", "").strip()
        return bool(self._address)

    def test(self):
        return True

    def sync(self, jobs):
        synced = 0
        for job in jobs:
            try:
                self._push_job(job)
                synced += 1
            except Exception as e:
                print(f"[shelf] sync error for job {job.get('id')}: {e}")
        return synced

    def _push_job(self, job):
        body = {"title": job.get("title", ""), "status": job.get("status", "pending")}
        requests.post(self._address, json=body, timeout=10).raise_for_status()
"#;

/// It says of each record what became of it.
const TOGETHER: &str = r#"
    sync_results = True

    def sync(self, jobs):
        requests.post(self._address, json=[job["title"] for job in jobs], timeout=10).raise_for_status()
        refused = lambda job: job["title"].startswith("Bad")
        return [
            {"id": job["id"], "remote_id": None if refused(job) else f"r{job['id']}", "ok": not refused(job),
             "reason": "it is bad" if refused(job) else None}
            for job in jobs
        ]
"#;

const PATH: &str = "/api/v1/admin/integrations/shelf/connection";

fn start(service: &Receiver, class: &str) -> Server {
    let options = options();
    put(&root(&options), "shelf", &[("connector.py", class)]);
    let server = Server::start(options);
    loads(&server, "shelf");
    let connected = server.post(&format!("{PATH}/connect"), json!({"address": service.url()})).expect(200);
    assert_eq!(connected["ok"], true, "{connected:#}");
    server
}

#[track_caller]
fn sync(server: &Server, body: Value) -> Value {
    let started = server.post(&format!("{PATH}/sync"), body).expect(202);
    let path = format!("/api/v1/syncs/{}", started["task_id"].as_str().unwrap());
    until("the sync ends", || {
        let report = server.get(&path).expect(200);
        (!report["ended_at"].is_null()).then_some(report)
    })
}

fn counts(report: &Value) -> [i64; 5] {
    ["created", "updated", "skipped", "failed", "unknown"].map(|key| report[key].as_i64().unwrap())
}

fn job(id: u32, title: &str) -> Value {
    json!({"id": id, "title": title})
}

#[test]
fn a_class_that_counts_is_given_each_record_once() {
    let service = Receiver::start();
    let server = start(&service, ONE_BY_ONE);
    service.answers(&[200, 422, 500]);
    let jobs = json!({"records": [job(1, "Cook"), job(2, "Baker"), job(3, "Waiter"), job(4, "Porter")]});
    let report = sync(&server, jobs.clone());
    assert_eq!(counts(&report), [2, 0, 0, 1, 1], "{report:#}");
    let bodies: Vec<Value> = service.received().iter().map(|request| request.json()).collect();
    assert_eq!(bodies[0], json!({"title": "Cook", "status": "pending"}));
    assert_eq!(bodies.len(), 4, "one call for each");
    let id = report["id"].as_str().unwrap();
    let failed = server.list(&format!("/api/v1/syncs/{id}/records?outcome=failed"));
    assert!(failed[0]["error"]["message"].as_str().unwrap().contains("sync error for job 2"), "{failed:#?}");

    let report = sync(&server, jobs);
    assert_eq!(
        counts(&report),
        [1, 0, 2, 0, 1],
        "what was refused is tried again, what may be there is not: {report:#}"
    );
    let bodies: Vec<Value> = service.received().iter().map(|request| request.json()["title"].clone()).collect();
    assert_eq!(bodies[4..], ["Baker"]);
    let ledger = "/api/v1/admin/integrations/shelf/connections/default/ledger/3";
    server.post(ledger, json!({"there": true})).expect(200);
    let report = sync(&server, json!({"records": ["3"]}));
    assert_eq!(counts(&report), [0, 0, 1, 0, 0], "somebody has seen it there: {report:#}");
    let report = sync(&server, json!({"records": [job(3, "Head waiter")]}));
    assert_eq!(counts(&report), [0, 1, 0, 0, 0], "{report:#}");
}

#[test]
fn a_class_that_says_what_became_of_each_is_given_many() {
    let service = Receiver::start();
    let class = ONE_BY_ONE.split("    def sync").next().unwrap().to_owned() + TOGETHER;
    let server = start(&service, &class);
    let jobs: Vec<Value> = (0..250).map(|n| job(n, if n == 7 { "Bad" } else { "Cook" })).collect();
    server.post("/api/v1/records/jobs", json!({"records": jobs})).expect(200);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([249, 0, 0, 1, 0], &json!({"schema": 1})), "{report:#}");
    assert_eq!(service.received().len(), 3, "100 at once");
    let place = &server.get("/api/v1/records/jobs/8").expect(200)["places"][0];
    assert_eq!(place["remote_id"], "r8", "{place:#}");
    assert_eq!(counts(&sync(&server, json!({}))), [0, 0, 249, 1, 0]);
}
