//! Strangers must not spend the owner's money, and agents must not talk to each other for ever.

use serde_json::{Value, json};
use std::time::Duration;
use tercel_tests::{
    Turn, World, events,
    github::{Fault, On},
    until,
    wait::pause,
};

/// Waits until nothing runs any more.
fn settled(world: &World) {
    until("all runs end", || {
        let tasks = world.server.list("/api/v1/tasks?limit=500");
        let open =
            tasks.iter().filter(|task| ["pending", "running"].contains(&task["status"].as_str().unwrap())).count();
        (open == 0).then_some(())
    });
}

#[test]
fn a_channel_runs_so_often_an_hour_and_keeps_the_rest() {
    let world = World::start_with(|options| options.ceilings(3, 1_000));
    let answers: Vec<Value> =
        (1..=5).map(|number| world.server.github(&events::pull_request("opened", number)).accepted()).collect();
    let made: usize = answers.iter().map(|answer| answer["tasks"].as_array().unwrap().len()).sum();
    assert_eq!(made, 3, "{answers:#?}");
    let refused = &answers[4];
    assert_eq!(refused["status"], "stored", "{refused}");
    settled(&world);
    assert_eq!((world.model.calls(), world.github.wait_for_comments(3).len()), (3, 3));
    world.server.notice("ceiling");

    let other = events::pull_request("opened", 1).in_repository("octo/other");
    assert_eq!(world.server.github(&other).accepted()["status"], "processed", "another channel has its own");
    let kept = world
        .server
        .list("/api/v1/deliveries")
        .into_iter()
        .find(|delivery| delivery["id"] == refused["delivery_id"])
        .unwrap();
    assert!(kept["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{kept:#}");
}

#[test]
fn an_integration_runs_so_often_a_day() {
    let world = World::start_with(|options| options.ceilings(1_000, 4));
    let outcomes: Vec<Value> = (1..=6)
        .map(|number| {
            let event = events::pull_request("opened", number).in_repository(&format!("octo/repository-{number}"));
            world.server.github(&event).accepted()["status"].clone()
        })
        .collect();
    assert_eq!(outcomes, ["processed", "processed", "processed", "processed", "stored", "stored"]);
    settled(&world);
    assert_eq!(world.model.calls(), 4);
}

#[test]
fn the_ceilings_hold_without_being_set() {
    let world = World::start();
    for number in 1..=70 {
        world.server.github(&events::pull_request("opened", number)).accepted();
    }
    settled(&world);
    assert_eq!(world.model.calls(), 60, "60 an hour for a channel");
}

#[test]
fn a_ceiling_is_not_lost_at_a_restart() {
    let mut world = World::start_with(|options| options.ceilings(2, 1_000));
    world.server.github_task(&events::pull_request("opened", 1));
    world.server.restart();
    world.server.github_task(&events::pull_request("opened", 2));
    assert_eq!(world.server.github(&events::pull_request("opened", 3)).accepted()["status"], "stored");
}

#[test]
fn two_sessions_that_answer_each_other_come_to_an_end() {
    let world = World::start();
    world.model.script(|asked| Turn::Text(format!("And you? {}", asked.messages().len())));
    let configure = |client_id: &str, to: &str| {
        let config = json!({"type": "internal", "session_id": to, "run_agent": true});
        let made = world
            .server
            .post("/api/v1/sessions", json!({"client_id": client_id, "dispatch_config": config}))
            .expect(201);
        made["session_id"].as_str().unwrap().to_owned()
    };
    let first = world.server.session("web:first");
    let second = configure("web:second", &first);
    assert_eq!(configure("web:first", &second), first);

    world.server.ask(&first, "Hello!");
    let refused = until("the answer that is one too many is refused", || {
        world.server.list("/api/v1/outbox?limit=500").into_iter().find(|row| row["state"] == "dead")
    });
    assert!(refused["error"]["message"].as_str().unwrap().contains("in a circle"), "{refused:#}");
    settled(&world);
    assert!((8..=9).contains(&world.model.calls()), "{} runs", world.model.calls());
}

#[test]
fn a_session_that_answers_itself_comes_to_an_end() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let config = json!({"type": "internal", "session_id": session, "run_agent": true});
    world.server.post("/api/v1/sessions", json!({"client_id": "web:alice", "dispatch_config": config})).expect(201);
    world.server.ask(&session, "Hello!");
    until("the answer that is one too many is refused", || {
        world.server.list("/api/v1/outbox?limit=500").into_iter().find(|row| row["state"] == "dead")
    });
    settled(&world);
    assert!(world.model.calls() <= 9, "{} runs", world.model.calls());
}

#[test]
fn a_service_that_answers_too_much_is_cut_off() {
    let world = World::start();
    world.github.quotes(&"x".repeat(11 << 20));
    let asked = json!({"arguments": {"repo": "octo/hello", "number": 1}});
    let answer = world.server.post("/api/v1/tools/github_get_issue/call", asked).expect(200);
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("answered with more than"), "{answer}");
}

#[test]
fn a_service_is_asked_for_so_much_at_once() {
    let world = World::start();
    world.github.fail(On::Reads, Fault::Hang);
    let asked = |number: u64| json!({"arguments": {"repo": "octo/hello", "number": number}}).to_string();
    let clients: Vec<_> = (1..=20)
        .map(|number| {
            let (client, body) = (tercel_tests::Client::clone(&world.server), asked(number));
            let headers = [("content-type", "application/json")];
            std::thread::spawn(move || client.try_call("POST", "/api/v1/tools/github_get_issue/call", &headers, body))
        })
        .collect();
    let read = || world.github.requests().iter().filter(|request| request.path.contains("/issues/")).count();
    // One of the 16 may be a test of the connection.
    until("as many are asked as may be", || (read() >= 15).then_some(()));
    // Those that wait for their turn have had time to ask.
    pause(Duration::from_millis(500));
    assert!(read() <= 16, "{} at once", read());
    drop(world);
    clients.into_iter().for_each(|client| drop(client.join().unwrap()));
}

#[test]
fn the_tokens_of_a_day_are_spent_by_runs_and_not_by_rehearsals() {
    let world = World::start_with(|options| options.env("TERCEL_TOKENS_PER_DAY", "20"));
    let (client, rehearsal) = (&world.server, json!({"model_override": "rehearsal"}));
    let session = client.session("web:alice");
    for _ in 0..5 {
        let task = client.ask_with(&session, json!({"content": "hello", "execution_config": rehearsal}));
        let task = client.complete(&task);
        assert!(task["rehearsal"] == true && task["tokens"].as_i64() > Some(20), "{task:#}");
    }
    // Each run takes 18 of the 20: the second one is begun while some are left.
    for _ in 0..2 {
        let task = client.ask(&session, "hello");
        assert_eq!(client.complete(&task)["tokens"], 18);
    }
    let refused = client
        .post(&format!("/api/v1/sessions/{session}/messages"), json!({"content": "hello", "run_agent": true}))
        .expect(201);
    assert_eq!(refused["task_id"], Value::Null, "{refused}");
    client.notice("TERCEL_TOKENS_PER_DAY");
    assert_eq!(world.model.calls(), 2);
}
