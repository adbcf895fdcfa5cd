//! The same delivery twice, in all the ways it comes: done once, listed, answered like the first.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use tercel_tests::{World, events, until};

/// Sends it again and checks that nothing comes of it.
fn is_a_duplicate(world: &World, event: &tercel_tests::Event) {
    let tasks = world.server.list("/api/v1/tasks").len();
    let answer = world.server.github(event).accepted();
    assert_eq!(answer["status"], "duplicate", "{answer}");
    assert_eq!(world.server.list("/api/v1/tasks").len(), tasks);
}

#[test]
fn a_redelivery_under_the_same_id_is_done_once() {
    let mut world = World::start();
    let event = events::pull_request("opened", 1);
    let task = world.server.github_task(&event);
    is_a_duplicate(&world, &event);
    world.server.complete(&task);
    world.github.wait_for_comments(1);
    is_a_duplicate(&world, &event);
    world.server.restart();
    is_a_duplicate(&world, &event);
    assert_eq!((world.model.calls(), world.github.comments().len()), (1, 1));
}

#[test]
fn a_replay_of_the_body_under_a_new_id_is_caught() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    world.server.github_task(&event);
    is_a_duplicate(&world, &event.under_a_new_id());
}

#[test]
fn a_duplicate_is_listed() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    world.server.github_task(&event);
    is_a_duplicate(&world, &event);
    let outcomes: Vec<_> = world.server.list("/api/v1/deliveries").iter().map(|d| d["outcome"].clone()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "run").count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "duplicate").count(), 1, "{outcomes:?}");
}

#[test]
fn two_events_that_differ_are_two() {
    let world = World::start();
    let first = world.server.github_task(&events::pull_request("opened", 1));
    let second = world.server.github_task(&events::pull_request("opened", 2));
    assert_ne!(first, second);
}

#[test]
fn a_refused_request_does_not_take_the_place_of_the_real_one() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    world.server.webhook(&event, &[("x-hub-signature-256", "sha256=00")], event.bytes()).refused(403, "forbidden");
    world.server.github_task(&event);
}

#[test]
fn many_copies_at_the_same_moment_are_one() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    let statuses: Vec<String> = std::thread::scope(|scope| {
        let send = |copy: usize| {
            let event = if copy.is_multiple_of(2) { event.clone() } else { event.under_a_new_id() };
            let server = &world.server;
            scope.spawn(move || {
                loop {
                    let answer = server.github(&event);
                    if answer.status != 503 {
                        return answer.accepted()["status"].as_str().unwrap().to_owned();
                    }
                }
            })
        };
        let copies: Vec<_> = (0..40).map(send).collect();
        copies.into_iter().map(|copy| copy.join().unwrap()).collect()
    });
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    statuses.into_iter().for_each(|status| *counted.entry(status).or_default() += 1);
    assert_eq!(counted, BTreeMap::from([("duplicate".into(), 39), ("processed".into(), 1)]));
    let tasks = world.server.list("/api/v1/tasks");
    assert_eq!(tasks.len(), 1);
    world.server.complete(tasks[0]["id"].as_str().unwrap());
    assert_eq!(world.github.wait_for_comments(1).len(), 1);
}

#[test]
fn an_operator_can_have_a_delivery_done_again() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    let answer = world.server.github(&event).accepted();
    world.server.complete(answer["tasks"][0].as_str().unwrap());
    world.github.wait_for_comments(1);

    let id = answer["delivery_id"].as_str().unwrap();
    let replayed = world.server.post(&format!("/api/v1/deliveries/{id}/replay"), json!({})).expect(202);
    assert_eq!((&replayed["delivery_id"], &replayed["status"]), (&json!(id), &json!("processed")));
    let task = replayed["tasks"][0].as_str().unwrap();
    assert_ne!(answer["tasks"][0], task);
    world.server.complete(task);
    assert_eq!(world.github.wait_for_comments(2).len(), 2);

    let first = world.server.get(&format!("/api/v1/deliveries/{id}")).expect(200);
    assert_eq!((&first["generation"], &first["outcome"]), (&replayed["generation"], &json!("run")));
    assert_eq!(first["tasks"].as_array().map(Vec::len), Some(2), "{first:#}");
    is_a_duplicate(&world, &event);
}

#[test]
fn a_replay_of_nothing_is_not_found() {
    let world = World::start();
    world.server.post("/api/v1/deliveries/00000000-0000-7000-8000-000000000000/replay", json!({})).expect(404);
}

#[test]
fn a_creating_call_with_the_same_key_creates_once() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let path = format!("/api/v1/sessions/{session}/messages");
    let body = json!({"content": "hello", "run_agent": true}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "the-first-of-alice")];
    let first = world.server.call("POST", &path, &headers, body.clone()).expect(201);
    let second = world.server.call("POST", &path, &headers, body).accepted();
    assert_eq!(first, second);
    world.server.complete(first["task_id"].as_str().unwrap());
    let other = world.server.call("POST", &path, &headers, json!({"content": "something else"}).to_string());
    other.refused(409, "conflict");
    let users = || world.server.messages(&session).iter().filter(|m| m["role"] == "user").count();
    assert_eq!(users(), 1);

    let body = json!({"title": "A", "content": "only once"}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "document-1")];
    let ids: Vec<Value> = (0..3)
        .map(|_| world.server.call("POST", "/api/v1/documents", &headers, body.clone()).accepted()["id"].clone())
        .collect();
    assert_eq!((&ids[1], &ids[2]), (&ids[0], &ids[0]));
    let other = json!({"title": "A", "content": "something else"}).to_string();
    world.server.call("POST", "/api/v1/documents", &headers, other).refused(409, "conflict");
    until("one document", || {
        Some(world.server.list("/api/v1/documents/search?q=once")).filter(|found| found.len() == 1)
    });
}
