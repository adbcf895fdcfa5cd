//! Syncs by the clock, fields under other names, and what has no sync at all.

use crate::register::{NAMED, ONE_BY_ONE, PATH, Register, counts, ended, in_batches, job, options, start, store, sync};
use serde_json::{Value, json};
use tercel_tests::{Server, until};

#[test]
fn a_connection_is_kept_in_step_by_the_clock() {
    let register = Register::start();
    let mut server = Server::start(options(&register, ONE_BY_ONE));
    let every = |span: &str| json!({"when": {"kind": "interval", "every": span}});
    let put = server.put(&format!("{NAMED}/sync"), every("1s")).expect(200);
    assert!(put["next_at"].is_string(), "{put:#}");
    store(&server, &[json!({"id": 1, "title": "Cook"})]);
    until("it was pushed", || (register.titles() == ["Cook"]).then_some(()));
    let listed = server.list("/api/v1/syncs?integration=register&limit=1");
    assert_eq!(listed[0]["origin"], "schedule");
    store(&server, &[json!({"id": 1, "title": "Chef"})]);
    until("it was changed", || (register.titles() == ["Chef"]).then_some(()));
    server.restart();
    store(&server, &[json!({"id": 2, "title": "Waiter"})]);
    until("it goes on after a start", || (register.rows().len() == 2).then_some(()));
    let put = server.put(&format!("{NAMED}/sync"), json!({})).expect(200);
    assert_eq!((&put["when"], &put["next_at"]), (&Value::Null, &Value::Null), "{put:#}");
    for (wrong, word) in
        [(every("never"), "when"), (json!({"when": {"kind": "once", "at": "2001-01-01T00:00:00Z"}}), "when")]
    {
        let detail = server.put(&format!("{NAMED}/sync"), wrong).refused(422, "invalid");
        assert!(detail.contains(word), "{detail}");
    }
}

#[test]
fn fields_of_another_collection_get_the_names_that_the_integration_reads() {
    let register = Register::start();
    let manifest = ONE_BY_ONE.replace("sync:\n", "record_fields: [title, company]\nsync:\n");
    let server = Server::start(options(&register, &manifest));
    let tickets = json!({"records": [{"id": "T-1", "subject": "Broken", "customer": {"name": "Inn"}}]});
    server.post("/api/v1/records/tickets", tickets).expect(200);
    let plan = |mapping: Value| json!({"collection": "tickets", "mapping": mapping});
    let wrong = |mapping: Value| server.put(&format!("{NAMED}/sync"), plan(mapping)).refused(422, "invalid");
    assert!(wrong(json!({"titel": "subject"})).contains("did you mean `title`?"));
    assert!(wrong(json!({"title": "subjekt"})).contains("did you mean `subject`?"));
    let put = server.put(&format!("{NAMED}/sync"), plan(json!({"title": "subject", "company": "customer.name"})));
    assert_eq!(put.expect(200)["reads"], json!(["title", "company"]));
    assert_eq!(counts(&sync(&server, json!({}))), [1, 0, 0, 0, 0, 0]);
    assert_eq!(register.rows(), [json!({"title": "Broken", "company": "Inn", "external_id": "T-1"})]);
}

#[test]
fn the_test_of_a_connection_looks_at_the_records_too() {
    let register = Register::start();
    let manifest = ONE_BY_ONE.replace("row: {", "row: {pay: \"{{ record.pay | round }}\", ");
    let server = Server::start(options(&register, &manifest));
    let test = || server.post(&format!("{PATH}/test"), json!({})).expect(200);
    assert_eq!(test()["ok"], true);
    store(&server, &[json!({"id": 1, "title": "Cook", "pay": "much"})]);
    let told = test();
    assert_eq!((&told["ok"], &told["code"]), (&json!(false), &json!("schema")), "{told:#}");
    assert!(told["message"].as_str().unwrap().contains("the record `1`"), "{told:#}");
    store(
        &server,
        &[json!({"id": 1, "title": "Cook", "pay": 7.2}), json!({"id": 2, "title": "Baker", "pay": "little"})],
    );
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["codes"]), ([1, 0, 0, 0, 1, 0], &json!({"schema": 1})), "{report:#}");
    assert_eq!(register.titles(), ["Cook"]);
}

#[test]
fn who_pushes_no_records_says_so_and_so_does_a_tier_without_it() {
    let register = Register::start();
    let without = ONE_BY_ONE.split("sync:").next().unwrap().to_owned();
    let server = Server::start(options(&register, &without));
    let detail = server.post(&format!("{PATH}/sync"), json!({})).refused(409, "conflict");
    assert!(detail.contains("pushes no records"), "{detail}");
    server.post("/api/v1/admin/integrations/nobody/connection/sync", json!({})).refused(404, "not_found");
    server.post("/api/v1/admin/integrations/register/connections/other/sync", json!({})).refused(404, "not_found");
    drop(server);

    let manifest = ONE_BY_ONE.replace("fields:\n", "features: {register_sync: paid}\nfields:\n");
    let options = options(&register, &manifest);
    let mut server = Server::start(options.clone());
    store(&server, &[json!({"id": 1, "title": "Cook"})]);
    register.shut(true);
    let id = server.post(&format!("{PATH}/sync"), json!({})).expect(202)["task_id"].as_str().unwrap().to_owned();
    let status = |server: &Server| server.get(&format!("/api/v1/syncs/{id}")).expect(200);
    until("it waits", || (status(&server)["status"] == "waiting").then_some(()));
    register.shut(false);
    server.stop();
    server.start_again_with(|options| options.env("TERCEL_TIER", "free"));
    let detail = server.post(&format!("{PATH}/sync"), json!({})).refused(403, "tier");
    assert!(detail.contains("needs the tier paid"), "{detail}");
    let waits = until("it waits for the tier", || {
        Some(status(&server))
            .filter(|report| report["error"]["message"].as_str().is_some_and(|why| why.contains("tier")))
    });
    assert_eq!(waits["status"], "waiting", "{waits:#}");
    assert!(register.rows().is_empty());
    server.stop();
    server.start_again_with(|options| options.env("TERCEL_TIER", "premium"));
    assert_eq!(counts(&ended(&server, &id)), [1, 0, 0, 0, 0, 0], "it goes on when the tier is back");
}

#[test]
fn a_service_is_asked_no_more_often_than_somebody_says() {
    let register = Register::start();
    let server = Server::start(options(&register, &in_batches(1)));
    let plan = |rate: Value| server.put(&format!("{NAMED}/sync"), json!({"rate": rate}));
    let detail = plan(json!("5 a second")).refused(422, "invalid");
    assert!(detail.contains("is not a rate such as 5/s"), "{detail}");
    assert_eq!(plan(json!("2 / h")).expect(200)["rate"], "2/h");
    store(&server, &[job(1, "Cook"), job(2, "Baker"), job(3, "Waiter")]);
    let id = start(&server, json!({}));
    let report = || server.get(&format!("/api/v1/syncs/{id}")).expect(200);
    let waits = until("it waits for its turn", || Some(report()).filter(|report| !report["error"].is_null()));
    assert_eq!((&waits["status"], &waits["created"]), (&json!("pending"), &json!(2)), "{waits:#}");
    assert_eq!(waits["error"]["code"], "rate_limited", "{waits:#}");
    assert_eq!(register.sorted_titles().len(), 2);
    plan(Value::Null).expect(200);
    server.post(&format!("/api/v1/syncs/{id}/resume"), json!({})).expect(200);
    assert_eq!(counts(&ended(&server, &id)), [3, 0, 0, 0, 0, 0]);
    assert_eq!(register.sorted_titles(), ["Baker", "Cook", "Waiter"]);
}
