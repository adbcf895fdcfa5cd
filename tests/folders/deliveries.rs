//! What a service sends to the code of a folder is stored first, and processed once.

use crate::world::{FORGE, PATIENCE, World, loads, root, stands};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
};
use tercel_tests::{Turn, wait::until_within};

fn texts(world: &World) -> Vec<String> {
    let session = world.server.session("forge:board");
    let messages = world.server.messages(&session);
    messages.iter().filter(|m| m["role"] == "user").map(|m| m["content"].as_str().unwrap().to_owned()).collect()
}

fn count(world: &World, state: &str) -> usize {
    let all = world.server.list("/api/v1/deliveries?integration=forge");
    all.iter().filter(|delivery| delivery["state"] == state).count()
}

#[test]
fn a_repetition_gets_the_stored_answer_and_runs_nothing() {
    let world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    let send = |id: &str, text: &str| world.event(&[("webhook-id", id)], json!({"text": text}));
    let first = send("m1", "once");
    let again = send("m1", "once");
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("content-type"), Some("application/json"));
    assert_eq!(texts(&world), ["once"]);
    send("m2", "more").expect(200);
    assert_eq!(texts(&world), ["once", "more"], "another id is another event");
    // Without an id, equal bodies within a minute are one.
    let plain = || world.event(&[], json!({"text": "twice"})).expect(200);
    assert_eq!(plain(), plain());
    assert_eq!(texts(&world).len(), 3);
}

#[test]
fn a_request_that_somebody_sends_again_under_another_id_runs_nothing() {
    let world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    let send = |name: &str, id: &str| world.event(&[(name, id)], json!({"text": "once"}));
    let first = send("x-forge-delivery", "m1");
    first.expect(200);
    for (name, id) in [("x-forge-delivery", "m2"), ("webhook-id", "m3")] {
        let again = send(name, id);
        assert_eq!((again.status, &again.body), (200, &first.body), "{name}");
    }
    assert_eq!(texts(&world), ["once"]);
}

#[test]
fn senders_that_never_send_a_body_keep_nobody_out() {
    let world = World::start();
    let address = world.server.base.trim_start_matches("http://");
    let head = "POST /integrations/forge/webhook HTTP/1.1\r\nhost: forge\r\ncontent-length: 10\r\n\
        expect: 100-continue\r\n\r\n";
    let silent = || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(head.as_bytes()).unwrap();
        // The server says when it begins to read.
        let mut said = [0; 12];
        connection.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"HTTP/1.1 100");
        connection
    };
    // As many as may wait for one folder.
    let silent: Vec<TcpStream> = (0..256).map(|_| silent()).collect();
    world.event(&[], json!({"text": "a", "run": false})).expect(200);
    drop(silent);
}

#[test]
fn code_that_dies_in_the_middle_is_asked_again_and_stores_once() {
    let world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    let event = json!({"text": "hard", "dies": "died"});
    let first = world.event(&[("webhook-id", "m1")], event.clone());
    let why = first.refused(503, "unavailable");
    assert!(why.contains("forge") && first.header("retry-after").is_some(), "{first}");
    assert_eq!(world.delivery("failed")["outcome"], Value::Null);
    let again = until_within(PATIENCE, "the code is there again", || {
        Some(world.event(&[("webhook-id", "m1")], event.clone())).filter(|answer| answer.status == 200)
    });
    world.server.complete(again.json()["task"].as_str().unwrap());
    assert_eq!(texts(&world), ["hard"], "what it had stored before it died is not stored again");
    assert_eq!(count(&world, "failed"), 0);
}

#[test]
fn a_delivery_survives_the_death_of_the_server() {
    let mut world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    let client = world.server.anonymous();
    let event = json!({"text": "long", "hangs": "hung"}).to_string();
    let sent = std::thread::spawn(move || {
        client.try_call("POST", "/integrations/forge/webhook", &[("webhook-id", "m1")], event)
    });
    world.delivery("processing");
    // The code starts first, and steps back behind others on a machine that is busy.
    until_within(PATIENCE, "its message is stored", || Some(texts(&world)).filter(|texts| !texts.is_empty()));
    world.server.kill9();
    assert!(sent.join().unwrap().is_err());
    world.server.start_again();
    let delivery = world.delivery("processed");
    assert_eq!(delivery["outcome"], "run");
    assert_eq!(texts(&world), ["long"]);
    // The service, which was not answered, sends it again.
    assert_eq!(world.event(&[("webhook-id", "m1")], json!({"text": "long"})).expect(200)["took"], "long");
    assert_eq!(texts(&world), ["long"]);
}

#[test]
fn what_failed_when_it_was_taken_up_is_tried_again() {
    let mut world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    let client = world.server.anonymous();
    let event = json!({"text": "long", "hangs": "hung", "dies": "died"}).to_string();
    std::thread::spawn(move || {
        let _ = client.try_call("POST", "/integrations/forge/webhook", &[("webhook-id", "m1")], event);
    });
    until_within(PATIENCE, "its message is stored", || Some(texts(&world)).filter(|texts| !texts.is_empty()));
    world.server.kill9();
    world.server.start_again();
    // The code dies this time, and its sender was cut off: nobody sends it again.
    let delivery = world.delivery("processed");
    assert_eq!((&delivery["outcome"], texts(&world)), (&json!("run"), vec!["long".to_owned()]));
    assert!(world.server.log().contains("processed again in 5 s"), "{}", world.server.log());
}

#[test]
fn a_delivery_that_is_being_processed_is_not_processed_twice() {
    let world = World::start();
    let client = world.server.anonymous();
    let event = json!({"text": "long", "hangs": "hung"}).to_string();
    let body = event.clone();
    let _sent = std::thread::spawn(move || {
        client.try_call("POST", "/integrations/forge/webhook", &[("webhook-id", "m1")], body)
    });
    world.delivery("processing");
    let again = world.server.anonymous().call("POST", "/integrations/forge/webhook", &[("webhook-id", "m1")], event);
    assert!(again.refused(503, "unavailable").contains("is being processed"));
    assert!(again.header("retry-after").is_some());
}

#[test]
fn what_a_paused_folder_is_sent_is_stored_and_runs_when_it_goes_on() {
    let world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    world.server.options.run(&["integrations", "pause", "forge"]).ok();
    let answer = world.event(&[], json!({"text": "later"})).expect(200);
    assert_eq!(texts(&world), ["later"]);
    assert_eq!(world.model.asked().len(), 0, "{answer}");
    world.server.options.run(&["integrations", "resume", "forge"]).ok();
    until_within(PATIENCE, "it runs", || (!world.model.asked().is_empty()).then_some(()));
}

#[test]
fn what_the_code_refuses_leaves_no_row_and_may_come_again() {
    let world = World::start();
    let refused = world.event(&[("x-forge-signature", "wrong"), ("webhook-id", "m1")], json!({"text": "a"}));
    assert_eq!(refused.status, 401);
    assert_eq!(world.server.list("/api/v1/deliveries?integration=forge"), [] as [Value; 0]);
    let shown = world.server.get("/api/v1/admin/integrations/forge/webhook").expect(200);
    assert_eq!(shown["refused"]["count"], 1, "{shown}");
    // With the right signature the same event is a new one.
    world.event(&[("webhook-id", "m1")], json!({"text": "a", "run": false})).expect(200);
    assert_eq!(world.delivery("processed")["outcome"], "stored");
    assert_eq!(world.event(&[("webhook-id", "m2")], json!({"fails": true})).status, 422);
    assert_eq!(world.event(&[("webhook-id", "m2")], json!({"text": "b", "run": false})).status, 200, "it was mended");
}

#[test]
fn a_replay_is_another_generation() {
    let world = World::start();
    world.event(&[("webhook-id", "m1")], json!({"text": "a", "run": false})).expect(200);
    let delivery = world.delivery("processed");
    let path = format!("/api/v1/deliveries/{}/replay", delivery["id"].as_str().unwrap());
    let replayed = world.server.post(&path, json!({})).expect(202);
    assert_eq!((&replayed["generation"], &replayed["status"]), (&json!(2), &json!("stored")), "{replayed}");
    assert_eq!(texts(&world), ["a", "a"]);
}

#[test]
fn webhooks_of_a_folder_that_is_gone_are_answered_503_and_its_answers_wait() {
    let world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    let session = world.server.session("web:alice");
    let folder = root(&world.server.options).join("forge");
    std::fs::remove_dir_all(&folder).unwrap();
    let card = stands(&world.server, "forge", "missing");
    assert_eq!(card["path"], folder.canonicalize().unwrap_or(folder.clone()).to_str().unwrap());
    let refused = world.event(&[], json!({"text": "a"}));
    assert!(refused.refused(503, "unavailable").contains("its folder is gone"), "{refused}");
    let body =
        json!({"content": "hello", "notify": false, "dispatch_type": "forge", "dispatch_config": {"channel": "c2"}});
    let task = world.server.ask_with(&session, body);
    world.server.complete(&task);
    world.server.outbox(&task, &["parked"]);
    assert_eq!(world.server.get("/api/v1/admin/integrations/forge/settings").status, 200, "nothing is deleted");
    crate::world::put(&root(&world.server.options), "forge", FORGE);
    loads(&world.server, "forge");
    until_within(PATIENCE, "the answer leaves", || {
        let rows = world.server.list("/api/v1/outbox");
        rows.iter().any(|row| row["task_id"] == task.as_str() && row["state"] == "sent").then_some(())
    });
    assert_eq!(world.service.received().len(), 1);
}
