//! What models do on bad days, and what becomes of the run.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tercel_tests::{Turn, World, events, until, wait::until_within};

fn ask(world: &World) -> String {
    world.server.ask(&world.server.session("web:alice"), "hello")
}

/// The end of a run that may be retried for a while.
fn end(world: &World, task: &str) -> Value {
    until_within(Duration::from_secs(40), "the run ends", || {
        Some(world.server.task(task)).filter(|task| !["pending", "running"].contains(&task["status"].as_str().unwrap()))
    })
}

/// The run waits for a person, who is told; once all is well it goes on from where it stood.
fn parks(fault: Turn, about: &str) {
    let world = World::start();
    world.model.script(move |_| fault.clone());
    let task = ask(&world);
    let parked = world.server.wait_for(&task, &["waiting", "complete", "failed"]);
    assert_eq!(parked["status"], "waiting", "{parked:#}");
    assert!(!parked["error"]["message"].is_null() && !parked["error"]["hint"].is_null(), "{parked:#}");
    let notice = world.server.notice(about);
    assert!(notice["repair"].to_string().len() > 4, "what is to be done? {notice:#}");
    let calls = world.model.calls();
    assert_eq!(calls, 1, "waiting does not cure it, so it is not tried again");

    world.model.script(|_| Turn::text("Well again."));
    world.server.post(&format!("/api/v1/tasks/{task}/resume"), json!({})).expect(200);
    assert_eq!(world.server.complete(&task)["result"], "Well again.");
    until("the notice is closed", || {
        let open = world.server.list("/api/v1/notices?open=true");
        open.iter().all(|other| other["key"] != notice["key"]).then_some(())
    });
}

/// The failure passes: the run does not notice but for the time.
fn passes(fault: Turn) {
    let world = World::start();
    world.model.queue([fault]);
    let task = ask(&world);
    let done = end(&world, &task);
    assert_eq!((&done["status"], &done["result"]), (&json!("complete"), &json!("Understood.")), "{done:#}");
    assert_eq!(world.model.calls(), 2);
    assert_eq!(world.server.messages(done["session_id"].as_str().unwrap()).len(), 2);
}

/// The failure stays: the run fails and says why.
fn fails(fault: Turn, about: &str, calls: std::ops::RangeInclusive<usize>) {
    let world = World::start();
    world.model.script(move |_| fault.clone());
    let task = ask(&world);
    let failed = end(&world, &task);
    assert_eq!(failed["status"], "failed", "{failed:#}");
    let error = failed["error"]["message"].as_str().unwrap();
    assert!(error.to_lowercase().contains(&about.to_lowercase()), "{error}");
    assert!(calls.contains(&world.model.calls()), "{} calls", world.model.calls());
    assert!(!failed.to_string().contains("sk-of-the-tests"));
}

#[test]
fn a_key_that_the_provider_refuses_parks_the_run() {
    parks(Turn::fails(401), "LLM_API_KEY");
}

#[test]
fn an_empty_account_parks_the_run() {
    parks(Turn::fails(402), "balance");
}

#[test]
fn an_exhausted_quota_parks_the_run() {
    parks(Turn::exhausted(), "quota");
}

#[test]
fn a_parked_run_waits_through_a_restart() {
    let mut world = World::start();
    world.model.script(|_| Turn::fails(401));
    let task = ask(&world);
    world.server.wait_for(&task, &["waiting"]);
    world.server.restart();
    // A start tries what waits: the key may be mended by now.
    world.model.wait_for_calls(2);
    world.server.wait_for(&task, &["waiting"]);
    world.model.script(|_| Turn::text("Well again."));
    world.server.post(&format!("/api/v1/tasks/{task}/resume"), json!({})).expect(200);
    world.server.complete(&task);
}

#[test]
fn a_parked_run_lets_the_session_go_on() {
    let world = World::start();
    world.model.queue([Turn::fails(401)]);
    let session = world.server.session("web:alice");
    let first = world.server.ask(&session, "first");
    world.server.wait_for(&first, &["waiting"]);
    let second = world.server.ask(&session, "second");
    world.server.complete(&second);
}

#[test]
fn a_busy_provider_is_asked_again_when_it_said() {
    let world = World::start();
    world.model.queue([Turn::busy(2)]);
    let start = Instant::now();
    let task = ask(&world);
    assert_eq!(end(&world, &task)["status"], "complete");
    assert!(start.elapsed() >= Duration::from_secs(2), "Retry-After was not kept: {:?}", start.elapsed());
    assert_eq!(world.model.calls(), 2);
}

#[test]
fn a_rate_limit_without_a_time_passes() {
    passes(Turn::fails(429));
}

#[test]
fn a_server_error_passes() {
    passes(Turn::fails(500));
}

#[test]
fn an_overloaded_provider_passes() {
    passes(Turn::fails(503));
}

#[test]
fn a_page_of_nonsense_passes() {
    passes(Turn::Garbage);
}

#[test]
fn an_answer_without_a_body_passes() {
    passes(Turn::Nothing);
}

#[test]
fn a_connection_that_breaks_in_the_middle_passes() {
    passes(Turn::Close);
}

#[test]
fn an_answer_that_says_nothing_is_asked_for_again() {
    passes(Turn::Empty);
}

#[test]
fn a_provider_that_stays_broken_fails_the_run() {
    fails(Turn::fails(500), "500", 2..=6);
}

#[test]
fn a_model_that_only_talks_nonsense_fails_the_run() {
    fails(Turn::Garbage, "answer is not JSON", 2..=6);
}

#[test]
fn a_model_that_never_says_anything_fails_the_run() {
    fails(Turn::Empty, "nothing", 2..=3);
}

#[test]
fn a_request_that_the_provider_cannot_take_fails_at_once() {
    // The first refusal of all may be about what we ask for beside the answer, so that is left out once.
    fails(Turn::fails(400), "messages", 2..=2);
}

#[test]
fn a_provider_that_took_requests_before_is_not_asked_in_another_way() {
    let world = World::start();
    world.server.complete(&ask(&world));
    world.model.queue([Turn::fails(400)]);
    let failed = end(&world, &ask(&world));
    assert_eq!((&failed["status"], world.model.calls()), (&json!("failed"), 2), "{failed:#}");
}

#[test]
fn a_model_that_never_answers_is_given_up() {
    let world = World::start_with(|options| options.model_timeout(1));
    world.model.queue([Turn::Never]);
    let task = ask(&world);
    let done = end(&world, &task);
    assert_eq!((&done["status"], world.model.calls()), (&json!("complete"), 2), "{done:#}");
}

#[test]
fn a_slow_model_is_waited_for() {
    let world = World::start();
    world.model.queue([Turn::Slow(Duration::from_millis(1_500), Box::new(Turn::text("At last.")))]);
    let task = ask(&world);
    assert_eq!(world.server.complete(&task)["result"], "At last.");
    assert_eq!(world.model.calls(), 1);
}

#[test]
fn a_model_that_cannot_be_reached_is_tried_until_it_can() {
    let mut world = World::start();
    world.model.shut();
    let task = ask(&world);
    world.server.wait_for(&task, &["running"]);
    world.model.open();
    assert_eq!(end(&world, &task)["status"], "complete");
}

#[test]
fn another_model_takes_over() {
    for fault in [Turn::fails(401), Turn::fails(402), Turn::exhausted(), Turn::fails(400)] {
        let world = World::start();
        world
            .server
            .put("/api/v1/bots/default", json!({"id": "default", "model": "first", "fallback_models": ["second"]}))
            .accepted();
        let broken = fault.clone();
        world
            .model
            .script(move |asked| if asked.model() == "first" { broken.clone() } else { Turn::text("Second here.") });
        let task = ask(&world);
        assert_eq!(world.server.complete(&task)["result"], "Second here.", "{fault:?}");
        let mut models: Vec<String> = world.model.asked().iter().map(|asked| asked.model().to_owned()).collect();
        models.dedup();
        assert_eq!(models, ["first", "second"], "{fault:?}");
    }
}

#[test]
fn a_failed_run_posts_nothing_and_the_next_one_is_not_hurt() {
    let world = World::start();
    world.model.script(|asked| match asked.question().contains("Say hello 1 times") {
        true => Turn::fails(400),
        false => Turn::text("Understood."),
    });
    let task = world.server.github_task(&events::pull_request("opened", 1));
    assert_eq!(end(&world, &task)["status"], "failed");
    let next = world.server.github_task(&events::comment(1, "alice", "And now?"));
    world.server.complete(&next);
    assert_eq!(world.github.wait_for_comments(1).len(), 1);
    let rows = world.server.list("/api/v1/outbox");
    assert!(rows.iter().all(|row| row["task_id"] != task), "{rows:#?}");
}

#[test]
fn the_model_gets_its_own_key_and_nobody_elses() {
    let world = World::start();
    world.server.complete(&ask(&world));
    assert_eq!(world.model.keys(), ["Bearer sk-of-the-tests-0123456789"]);
}
