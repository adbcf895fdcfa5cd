//! What GitHub does on bad days: every answer is posted once, or a person knows that it was not.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tercel_tests::{
    Turn, World, events,
    github::{Fault, On, exhausted},
    until,
    wait::until_within,
};

/// An event whose answer is on its way.
fn answer(world: &World) -> String {
    world.server.github_task(&events::pull_request("opened", 1))
}

/// Waits through the pauses between attempts.
fn sent(world: &World, task: &str) -> Value {
    until_within(Duration::from_secs(30), "the answer is sent", || {
        world.server.list("/api/v1/outbox").into_iter().find(|row| row["task_id"] == task && row["state"] == "sent")
    })
}

/// The answer arrives all the same, once, and the row knows its receipt.
fn arrives_once(change: impl FnOnce(&mut World)) -> (World, Value) {
    let mut world = World::start_with(|options| options.http_timeout(1));
    change(&mut world);
    let task = answer(&world);
    let row = sent(&world, &task);
    let comments = world.github.comments();
    assert_eq!(comments.len(), 1, "{comments:#?}");
    assert_eq!(row["receipt"]["id"], comments[0].id.to_string(), "{row:#}");
    assert_eq!(world.server.task(&task)["status"], "complete", "a failed dispatch changes no task");
    (world, row)
}

/// The answer does not arrive; the row says why, the task is complete, a person is told.
fn stays(fault: Fault, state: &str, about: &str) -> (World, Value) {
    let world = World::start_with(|options| options.http_timeout(1));
    world.github.fail(On::Posts, fault);
    let task = answer(&world);
    let row = world.server.outbox(&task, &["parked", "dead", "held", "sent"]);
    assert_eq!(row["state"], state, "{row:#}");
    assert!(row["error"]["message"].as_str().unwrap().contains(about), "{row:#}");
    assert_eq!(world.server.task(&task)["status"], "complete");
    assert_eq!(world.server.task(&task)["dispatch"]["state"], state);
    world.server.notice("github");
    assert_eq!(world.github.comments().len(), 0);
    (world, row)
}

#[test]
fn a_server_error_before_anything_happened() {
    for status in [500, 502, 503, 504] {
        arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::Status(status, vec![])));
    }
}

#[test]
fn a_server_error_after_it_happened() {
    for status in [500, 502, 504] {
        let (world, _) = arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::AcceptAndStatus(status)));
        assert_eq!(world.github.posts(), 1, "what was found is not sent again");
    }
}

#[test]
fn no_answer_after_it_happened() {
    let (world, row) = arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::AcceptAndHang));
    assert_eq!(world.github.posts(), 1);
    let whole = world.server.get(&format!("/api/v1/outbox/{}", row["id"].as_str().unwrap())).expect(200);
    let outcomes: Vec<&Value> =
        whole["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["unknown", "sent"], "the second attempt found what the first had posted: {whole:#}");
}

#[test]
fn a_connection_that_broke_after_it_happened() {
    let (world, _) = arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::AcceptAndClose));
    assert_eq!(world.github.posts(), 1);
}

#[test]
fn no_answer_and_nothing_happened() {
    let (world, _) = arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::Hang));
    assert_eq!(world.github.posts(), 2);
}

#[test]
fn a_connection_that_broke_before_it_happened() {
    let (world, _) = arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::Close));
    assert_eq!(world.github.posts(), 2);
}

#[test]
fn nobody_answers_the_question_whether_it_happened_for_a_while() {
    let (world, _) = arrives_once(|world| {
        world.github.fail_times(1, On::Posts, Fault::AcceptAndClose);
        world.github.fail_times(2, On::Reads, Fault::Status(500, vec![]));
    });
    assert_eq!(world.github.posts(), 1);
}

#[test]
fn a_pause_that_was_asked_for_is_kept() {
    let start = Instant::now();
    arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::Status(429, vec![("retry-after", "2".into())])));
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_rate_limit_that_is_used_up_is_waited_for() {
    let (world, _) = arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::Status(403, exhausted(2))));
    assert_eq!(world.github.posts(), 2);
}

#[test]
fn nobody_listens_for_a_while() {
    let mut world = World::start();
    world.model.latency(Duration::from_millis(100));
    let task = answer(&world);
    world.github.shut();
    until("a failed attempt", || {
        let row = world.server.list("/api/v1/outbox").into_iter().find(|row| row["task_id"] == task)?;
        (!row["error"].is_null()).then_some(())
    });
    world.github.open();
    sent(&world, &task);
    assert_eq!(world.github.comments().len(), 1);
}

#[test]
fn credentials_that_are_refused_wait_for_better_ones() {
    let (world, row) = stays(Fault::Status(401, vec![]), "parked", "401");
    world.github.recover();
    world
        .server
        .put("/api/v1/admin/integrations/github/settings", json!({"settings": {"GITHUB_TOKEN": "ghp_better"}}))
        .accepted();
    sent(&world, row["task_id"].as_str().unwrap());
    assert_eq!(world.github.comments().len(), 1);
    let used = world
        .github
        .requests()
        .iter()
        .rev()
        .find(|request| request.method == "POST")
        .unwrap()
        .header("authorization")
        .to_owned();
    assert_eq!(used, "Bearer ghp_better");
}

#[test]
fn a_refusal_is_a_dead_letter_that_can_be_sent_again() {
    for status in [402, 403, 404, 405, 410, 411, 422, 451] {
        let (world, row) = stays(Fault::Status(status, vec![]), "dead", &status.to_string());
        assert_eq!(world.github.posts(), 1, "{status} is not tried again by itself");
        world.github.recover();
        world.server.post(&format!("/api/v1/outbox/{}/retry", row["id"].as_str().unwrap()), json!({})).accepted();
        sent(&world, row["task_id"].as_str().unwrap());
        assert_eq!(world.github.comments().len(), 1);
    }
}

#[test]
fn a_dead_letter_can_be_dropped() {
    let (world, row) = stays(Fault::Status(422, vec![]), "dead", "422");
    let id = row["id"].as_str().unwrap();
    world.github.recover();
    world.server.post(&format!("/api/v1/outbox/{id}/drop"), json!({})).accepted();
    let dropped = world.server.outbox(row["task_id"].as_str().unwrap(), &["dropped"]);
    assert_eq!(dropped["id"], row["id"]);
    world.server.post(&format!("/api/v1/outbox/{id}/retry"), json!({})).expect(409);
    assert_eq!(world.github.posts(), 1);
}

#[test]
fn what_was_sent_is_not_sent_again() {
    let (world, row) = arrives_once(|_| {});
    world.server.post(&format!("/api/v1/outbox/{}/retry", row["id"].as_str().unwrap()), json!({})).expect(409);
    world.server.post(&format!("/api/v1/outbox/{}/drop", row["id"].as_str().unwrap()), json!({})).expect(409);
    assert_eq!(world.github.posts(), 1);
}

#[test]
fn a_kill_while_it_is_sent_does_not_send_it_twice() {
    for fault in [Fault::AcceptAndHang, Fault::Hang] {
        let mut world = World::start();
        world.github.fail_times(1, On::Posts, fault);
        let task = answer(&world);
        until("the post is on its way", || (world.github.posts() == 1).then_some(()));
        world.server.kill9();
        world.server.start_again();
        sent(&world, &task);
        assert_eq!(world.github.comments().len(), 1);
    }
}

#[test]
fn a_long_answer_is_posted_in_parts_and_in_order() {
    let world = World::start();
    let paragraph = |n: usize| format!("Paragraph {n}. {}", "Words that fill the page. ".repeat(40));
    let text: Vec<String> = (0..180).map(paragraph).collect();
    let text = text.join("\n\n");
    let whole = text.clone();
    world.model.script(move |_| Turn::text(&whole));
    // The second part is slow to arrive: the third must not overtake it.
    world.github.fail_times(1, On::Posts, Fault::Status(503, vec![("retry-after", "1".into())]));
    let task = answer(&world);
    let count = until_within(Duration::from_secs(30), "all parts are sent", || {
        let rows: Vec<Value> =
            world.server.list("/api/v1/outbox").into_iter().filter(|row| row["task_id"] == task).collect();
        (!rows.is_empty() && rows.iter().all(|row| row["state"] == "sent")).then_some(rows.len())
    });
    let comments = world.github.comments();
    assert!(count >= 3 && comments.len() == count, "{count} rows, {} comments", comments.len());
    let posted: Vec<&str> =
        comments.iter().flat_map(|c| c.body.split("<!--").next().unwrap().split_whitespace()).collect();
    assert_eq!(posted, text.split_whitespace().collect::<Vec<_>>(), "no word is lost, doubled or out of order");
    let marks: std::collections::BTreeSet<&str> =
        comments.iter().map(|c| c.body.rsplit("<!--").next().unwrap()).collect();
    assert_eq!(marks.len(), count, "every part has a mark of its own");
}

#[test]
fn somebody_elses_copy_of_the_mark_does_not_count_as_sent() {
    let world = World::start();
    world.github.fail_times(1, On::Posts, Fault::AcceptAndClose);
    let task = answer(&world);
    until("the post is made", || (world.github.comments().len() == 1).then_some(()));
    // The server looks for it after a second at the earliest.
    world.github.sign_as("mallory");
    sent(&world, &task);
    assert_eq!(world.github.posts(), 2);
}
