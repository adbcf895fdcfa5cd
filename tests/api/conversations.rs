//! Sessions, messages and tasks.

use crate::{has, has_exactly, is_time};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tercel_tests::World;

#[test]
fn a_session_is_got_when_it_is_there() {
    let world = World::start();
    let make = |body: Value| world.server.post("/api/v1/sessions", body).expect(201);
    let first = make(json!({"client_id": "web:alice"}));
    has_exactly(&first, &["session_id", "created"]);
    assert_eq!(first["created"], true);
    assert_eq!(
        make(json!({"client_id": "web:alice", "bot_id": "default"})),
        json!({"session_id": first["session_id"], "created": false})
    );
    let thread = make(json!({"client_id": "web:alice", "thread": "pr/42"}));
    assert_ne!(thread["session_id"], first["session_id"]);
    assert_eq!(make(json!({"client_id": "web:alice", "thread": "pr/42"}))["session_id"], thread["session_id"]);
    for body in [
        json!({}),
        json!({"client_id": ""}),
        json!({"client_id": 7}),
        json!({"client_id": "web:alice", "dispatch_config": "slack"}),
    ] {
        let answer = world.server.post("/api/v1/sessions", body.clone());
        assert_eq!(answer.status, 422, "{body}: {answer}");
    }
}

#[test]
fn many_callers_get_the_same_session() {
    let world = World::start();
    let made: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| world.server.post("/api/v1/sessions", json!({"client_id": "web:alice"})).expect(201))
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let ids: BTreeSet<&str> = made.iter().map(|made| made["session_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(made.iter().filter(|made| made["created"] == true).count(), 1);
}

#[test]
fn a_message_is_stored_and_listed() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let path = format!("/api/v1/sessions/{session}/messages");
    let made = world.server.post(&path, json!({"content": "Only to know", "source": "mygithub"})).expect(201);
    has_exactly(&made, &["message_id", "session_id", "task_id"]);
    assert_eq!((&made["session_id"], &made["task_id"]), (&json!(session), &Value::Null));
    let listed = world.server.messages(&session);
    has_exactly(&listed[0], &["id", "session_id", "role", "content", "created_at", "metadata", "attachments"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["role"], &listed[0]["content"]),
        (&made["message_id"], &json!("user"), &json!("Only to know"))
    );
    is_time(&listed[0]["created_at"]);
    assert_eq!(world.model.calls(), 0);

    for body in [
        json!({}),
        json!({"content": 7}),
        json!({"content": "x", "execution_config": []}),
        json!({"content": "x", "dispatch_config": 7}),
    ] {
        let answer = world.server.post(&path, body.clone());
        assert_eq!(answer.status, 422, "{body}: {answer}");
    }
    let nowhere = "/api/v1/sessions/00000000-0000-7000-8000-000000000000/messages";
    world.server.post(nowhere, json!({"content": "x"})).expect(404);
    world.server.get(nowhere).expect(404);
}

#[test]
fn the_newest_messages_are_listed_oldest_first() {
    let world = World::start();
    let session = world.server.session("web:alice");
    for n in 1..=60 {
        world
            .server
            .post(&format!("/api/v1/sessions/{session}/messages"), json!({"content": format!("{n}")}))
            .expect(201);
    }
    let contents = |query: &str| -> Vec<String> {
        let list = world.server.list(&format!("/api/v1/sessions/{session}/messages{query}"));
        list.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    };
    let numbers = |range: std::ops::RangeInclusive<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(contents(""), numbers(11..=60));
    assert_eq!(contents("?limit=3"), numbers(58..=60));
    assert_eq!(contents("?limit=60"), numbers(1..=60));
}

#[test]
fn a_task_can_be_polled() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let task = world.server.ask(&session, "hello");
    let done = world.server.complete(&task);
    let promised = [
        "id",
        "status",
        "bot_id",
        "session_id",
        "prompt",
        "result",
        "error",
        "warnings",
        "dispatch_type",
        "dispatch",
        "created_at",
        "scheduled_at",
        "run_at",
        "started_at",
        "completed_at",
    ];
    has(&done, &promised);
    has(&done["dispatch"], &["state", "attempts"]);
    let shown =
        json!([done["id"], done["bot_id"], done["session_id"], done["prompt"], done["result"], done["dispatch_type"]]);
    assert_eq!(shown, json!([task, "default", session, "hello", "Understood.", "none"]));
    for key in ["created_at", "started_at", "completed_at"] {
        is_time(&done[key]);
    }
    let listed = world.server.list(&format!("/api/v1/tasks?session_id={session}"));
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(task)));
    assert_eq!(world.server.list("/api/v1/tasks?status=complete").len(), 1);
    assert_eq!(world.server.list("/api/v1/tasks?status=failed").len(), 0);
    let odd = world.server.get("/api/v1/tasks?status=finished");
    assert_eq!(odd.status, 422, "{odd}");
    for path in ["", "/trace", "/events"] {
        world.server.get(&format!("/api/v1/tasks/00000000-0000-7000-8000-000000000000{path}")).expect(404);
    }
}
