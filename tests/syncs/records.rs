//! Records through the API.

use serde_json::{Value, json};
use tercel_tests::{Options, Server};

#[test]
fn records_are_stored_replaced_listed_and_deleted() {
    let mut server = Server::start(Options::new());
    assert_eq!(server.get("/api/v1/records").expect(200), json!([]));
    let many: Vec<Value> =
        (0..120).map(|n| json!({"id": n, "title": format!("Job {n}"), "nested": {"a": [1, null]}})).collect();
    let stored = server.post("/api/v1/records/jobs", json!({"records": many})).expect(200);
    assert_eq!(stored, json!({"created": 120, "updated": 0, "unchanged": 0}));
    let again = json!({"records": [many[0], {"id": 1, "title": "Other"}, {"id": "x/y ü", "title": "New"}, {"id": 2, "title": "a"}, {"id": 2, "title": "b"}]});
    let stored = server.post("/api/v1/records/jobs", again).expect(200);
    assert_eq!(stored, json!({"created": 1, "updated": 2, "unchanged": 1}));
    assert_eq!(server.get("/api/v1/records/jobs/2").expect(200)["record"]["title"], "b", "the last one counts");
    let odd = server.get("/api/v1/records/jobs/x%2Fy%20%C3%BC").expect(200);
    assert_eq!((&odd["id"], &odd["record"]["title"], &odd["places"]), (&json!("x/y ü"), &json!("New"), &json!([])));
    assert_eq!(server.get("/api/v1/records/jobs/0").expect(200)["record"], many[0], "it is kept as it was given");

    let put = server.put("/api/v1/records/jobs/new", json!({"title": "Put"})).expect(200);
    assert_eq!(put["record"], json!({"title": "Put", "id": "new"}));
    server.put("/api/v1/records/jobs/7", json!({"id": 7, "title": "Seven"})).expect(200);
    server.put("/api/v1/records/jobs/7", json!({"id": 8})).refused(422, "invalid");

    let mut seen = Vec::new();
    let mut path = "/api/v1/records/jobs?limit=50".to_owned();
    loop {
        let answer = server.get(&path);
        seen.extend(answer.expect(200).as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(link) = answer.header("link") else { break };
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!((seen.len(), seen.is_sorted()), (122, true));
    server.delete("/api/v1/records/jobs/new").expect(204);
    server.delete("/api/v1/records/jobs/new").refused(404, "not_found");
    server.restart();
    let all = server.get("/api/v1/records").expect(200);
    assert_eq!((all[0]["name"].as_str(), all[0]["records"].as_i64()), (Some("jobs"), Some(121)));
    server.get("/api/v1/records/jobs/new").refused(404, "not_found");
    assert_eq!(server.get("/api/v1/records/nothing").expect(200), json!([]));
}

#[test]
fn what_is_no_record_is_refused_and_nothing_of_its_call_is_stored() {
    let server = Server::start(Options::new());
    let refused = |record: Value, word: &str| {
        let body = json!({"records": [{"id": 1}, record]});
        let detail = server.post("/api/v1/records/jobs", body).refused(422, "invalid");
        assert!(detail.contains("records[1]") && detail.contains(word), "{detail}");
    };
    refused(json!("text"), "object");
    refused(json!({"title": "no id"}), "`id`");
    refused(json!({"id": null}), "text or a whole number");
    refused(json!({"id": 1.5}), "text or a whole number");
    refused(json!({"id": ""}), "empty");
    refused(json!({"id": "a\nb"}), "control characters");
    refused(json!({"id": "x".repeat(256)}), "255");
    for collection in ["Jobs", "a-b", "1a", &"a".repeat(65)] {
        let detail =
            server.post(&format!("/api/v1/records/{collection}"), json!({"records": []})).refused(422, "invalid");
        assert!(detail.contains("collection"), "{detail}");
    }
    server.post("/api/v1/records/jobs", json!({"records": {"id": 1}})).refused(422, "invalid");
    let many: Vec<Value> = (0..10_001).map(|n| json!({"id": n})).collect();
    server.post("/api/v1/records/jobs", json!({"records": many})).refused(413, "too_large");
    server
        .post("/api/v1/records/jobs", json!({"records": [{"id": 1, "text": "x".repeat(1 << 20)}]}))
        .refused(413, "too_large");
    assert_eq!(server.get("/api/v1/records").expect(200), json!([]), "nothing of them was stored");
    let hostile = json!({"id": "'; DROP TABLE records; --", "text": "\u{0}{{ 7*7 }}", "number": 1e300});
    server.post("/api/v1/records/jobs", json!({"records": [hostile]})).expect(200);
    let kept = server.list("/api/v1/records/jobs");
    assert_eq!(kept[0]["record"], hostile);
}
