//! Runs of one session and of several: order, interruption, cancellation, taking up.

use serde_json::{Value, json};
use std::time::Duration;
use tercel_tests::{Turn, World, events, until};

#[test]
fn a_session_does_one_run_at_a_time_in_the_order_of_its_messages() {
    let world = World::start();
    world.model.latency(Duration::from_millis(20));
    world.model.script(|asked| Turn::Text(format!("{}.", asked.said_by("user").len())));
    let session = world.server.session("web:alice");
    let tasks: Vec<String> = (1..=10).map(|n| world.server.ask(&session, &format!("message {n}"))).collect();
    for task in &tasks {
        world.server.complete(task);
    }
    let questions: Vec<String> = world.model.asked().iter().map(|asked| asked.question().to_owned()).collect();
    let expected: Vec<String> = (1..=10).map(|n| format!("message {n}")).collect();
    assert_eq!(questions, expected);
    for (earlier, later) in tasks.iter().zip(&tasks[1..]) {
        let (earlier, later) = (world.server.task(earlier), world.server.task(later));
        let time = |task: &Value, key: &str| chrono::DateTime::parse_from_rfc3339(task[key].as_str().unwrap()).unwrap();
        assert!(time(&earlier, "completed_at") <= time(&later, "started_at"), "{earlier:#}\n{later:#}");
    }
}

#[test]
fn a_question_that_waits_for_more_answers_than_a_run_may_see_is_answered() {
    let world = World::start_with(|options| options.env("TERCEL_RUNS_PER_HOUR", "0"));
    let (first, gate) = Turn::pieces(&["Answered", " message 1"]);
    world.model.queue([first]);
    world.model.script(|asked| Turn::Text(format!("Answered {}", asked.question())));
    let session = world.server.session("web:alice");
    let tasks: Vec<String> = (1..=203).map(|n| world.server.ask(&session, &format!("message {n}"))).collect();
    gate.add_permits(9);
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(world.server.complete(task)["result"], format!("Answered message {}", n + 1));
    }
}

#[test]
fn threads_of_one_place_run_beside_each_other() {
    let world = World::start();
    world.model.script(|_| Turn::Never);
    for number in 1..=5 {
        world.server.github_task(&events::pull_request("opened", number));
    }
    assert_eq!(world.model.wait_for_calls(5).len(), 5);
}

#[test]
fn a_message_to_a_busy_session_can_be_refused() {
    let world = World::start();
    world.model.script(|_| Turn::Never);
    let session = world.server.session("web:alice");
    let first = world.server.ask(&session, "first");
    world.model.wait_for_calls(1);
    let path = format!("/api/v1/sessions/{session}/messages");
    let detail = world
        .server
        .post(&path, json!({"content": "second", "run_agent": true, "on_busy": "reject"}))
        .refused(409, "conflict");
    assert!(detail.contains(&first), "which run is in the way? {detail}");
    assert_eq!(world.server.messages(&session).len(), 1, "a refused message is not kept");
}

#[test]
fn a_message_can_interrupt_the_run_before_it() {
    let world = World::start();
    world.model.script(|asked| match asked.question() {
        "first" => Turn::Never,
        other => Turn::Text(format!("Answered {other}")),
    });
    let session = world.server.session("web:alice");
    let first = world.server.ask(&session, "first");
    world.model.wait_for_calls(1);
    let second = world.server.ask_with(&session, json!({"content": "second", "on_busy": "interrupt"}));
    assert_eq!(world.server.complete(&second)["result"], "Answered second");
    assert_eq!(world.server.wait_for(&first, &["cancelled", "complete", "failed"])["status"], "cancelled");
}

#[test]
fn a_cancelled_run_ends_at_once_and_lets_the_next_one_go() {
    let world = World::start();
    world.model.script(|asked| match asked.question() {
        "first" => Turn::Never,
        other => Turn::Text(format!("Answered {other}")),
    });
    let session = world.server.session("web:alice");
    let first = world.server.ask(&session, "first");
    let second = world.server.ask(&session, "second");
    let third = world.server.ask(&session, "third");
    world.model.wait_for_calls(1);
    let cancel = |task: &str| world.server.post(&format!("/api/v1/tasks/{task}/cancel"), json!({}));
    cancel(&second).expect(200);
    cancel(&first).expect(200);
    assert_eq!(world.server.wait_for(&first, &["cancelled", "complete", "failed"])["status"], "cancelled");
    assert_eq!(world.server.wait_for(&second, &["cancelled", "complete", "failed"])["status"], "cancelled");
    assert_eq!(world.server.complete(&third)["result"], "Answered third");
    let questions: Vec<String> = world.model.asked().iter().map(|asked| asked.question().to_owned()).collect();
    assert!(!questions.contains(&"second".to_owned()), "{questions:?}");
    // It is done: cancelling it changes nothing.
    let late = cancel(&third);
    assert!([200, 409].contains(&late.status), "{late}");
    assert_eq!(world.server.task(&third)["status"], "complete");
}

#[test]
fn a_cancelled_run_posts_nothing() {
    let world = World::start();
    world.model.script(|_| Turn::Never);
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.model.wait_for_calls(1);
    world.server.post(&format!("/api/v1/tasks/{task}/cancel"), json!({})).expect(200);
    world.server.wait_for(&task, &["cancelled"]);
    let rows = world.server.list("/api/v1/outbox");
    assert!(rows.iter().all(|row| row["task_id"] != task), "{rows:#?}");
    assert_eq!(world.github.posts(), 0);
}

#[test]
fn a_stopped_server_takes_up_its_work_again() {
    let mut world = World::start();
    world.model.script(|_| Turn::Never);
    let session = world.server.session("web:alice");
    let tasks: Vec<String> = (1..=3).map(|n| world.server.ask(&session, &format!("message {n}"))).collect();
    world.model.wait_for_calls(1);
    world.server.stop();
    world.model.script(|asked| Turn::Text(format!("Answered {}", asked.question())));
    world.server.start_again();
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(world.server.complete(task)["result"], format!("Answered message {}", n + 1));
    }
    until("all messages are there", || Some(world.server.messages(&session)).filter(|messages| messages.len() == 6));
}
