//! What GitHub does on bad days: every answer is posted once, or a person knows that it was not.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tercel_tests::{
    Receiver, Turn, World, events,
    github::{Fault, LOGIN, On, exhausted},
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
    assert!(row["error"].as_str().unwrap().contains(about), "{row:#}");
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
    assert_eq!(
        row["attempts"].as_u64().unwrap_or_else(|| row["attempts"].as_array().unwrap().len() as u64),
        1,
        "{row:#}"
    );
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
    world.server.post(&format!("/api/v1/outbox/{}/retry", row["id"].as_str().unwrap()), json!({})).accepted();
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
    for status in [403, 404, 410, 422] {
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
    let (world, _) = arrives_once(|world| world.github.fail_times(1, On::Posts, Fault::Hang));
    assert!(world.github.comments().iter().all(|comment| comment.login == LOGIN));
}

#[test]
fn an_unknown_dispatch_type_is_a_failure_that_can_be_seen() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let task = world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_type": "pigeon", "dispatch_config": {"loft": 7}}));
    assert_eq!(world.server.complete(&task)["dispatch_type"], "pigeon");
    let row = world.server.outbox(&task, &["dead", "parked"]);
    assert!(row["error"].as_str().unwrap().contains("pigeon"), "{row:#}");
    world.server.notice("pigeon");
}

#[test]
fn a_target_that_does_not_fit_is_a_failure_that_can_be_seen() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let task = world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_config": {"type": "github", "repo": "octo/hello"}}));
    world.server.complete(&task);
    let row = world.server.outbox(&task, &["dead"]);
    assert!(row["error"].as_str().unwrap().contains("number"), "{row:#}");
    assert_eq!(world.github.posts(), 0);
}

#[test]
fn a_webhook_gets_the_result_signed() {
    let world = World::start_with(|options| options.allow_loopback());
    let receiver = Receiver::start();
    let session = world.server.session("web:alice");
    let task = world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_config": {"type": "webhook", "url": receiver.url()}}));
    world.server.complete(&task);
    let request = receiver.wait_for(1).remove(0);
    assert_eq!(request.json(), json!({"task_id": task, "result": "Understood."}));
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert!(!request.header(header).is_empty(), "{header} is missing: {:?}", request.headers);
    }
    let row = world.server.outbox(&task, &["sent"]);
    assert_eq!(row["dispatch_type"], "webhook");
}

#[test]
fn a_webhook_that_is_down_is_tried_again_under_the_same_id() {
    let world = World::start_with(|options| options.allow_loopback());
    let receiver = Receiver::start();
    receiver.answers(&[503, 500]);
    let session = world.server.session("web:alice");
    world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_config": {"type": "webhook", "url": receiver.url()}}));
    let received = receiver.wait_for(3);
    let ids: std::collections::BTreeSet<&str> = received.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1, "the receiver can know a repetition by its id");
}

#[test]
fn a_caller_cannot_have_private_addresses_called() {
    let world = World::start();
    let receiver = Receiver::start();
    let session = world.server.session("web:alice");
    let port = receiver.url().rsplit(':').next().unwrap().to_owned();
    let addresses = [
        receiver.url(),
        format!("http://localhost:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://0x7f.1:{port}"),
        format!("http://0.0.0.0:{port}"),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://10.0.0.1/".into(),
        "file:///etc/passwd".into(),
        "gopher://127.0.0.1/".into(),
    ];
    for address in addresses {
        let body =
            json!({"content": "hello", "run_agent": true, "dispatch_config": {"type": "webhook", "url": address}});
        let answer = world.server.post(&format!("/api/v1/sessions/{session}/messages"), body);
        // Said at once or said by the outbox: never sent.
        if answer.status == 201 {
            let task = answer.json()["task_id"].as_str().unwrap().to_owned();
            world.server.complete(&task);
            let row = world.server.outbox(&task, &["dead"]);
            assert!(!row["error"].is_null(), "{row:#}");
        } else {
            assert!([400, 422].contains(&answer.status), "{address}: {answer}");
        }
    }
    assert_eq!(receiver.received().len(), 0);
}

#[test]
fn a_redirect_does_not_lead_to_where_nobody_may_go() {
    let world = World::start_with(|options| options.allow_loopback());
    let receiver = Receiver::start();
    receiver.answers(&[302]);
    let session = world.server.session("web:alice");
    let task = world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_config": {"type": "webhook", "url": receiver.url()}}));
    world.server.complete(&task);
    let row = world.server.outbox(&task, &["dead", "held", "parked"]);
    assert!(!row["error"].is_null(), "{row:#}");
}

#[test]
fn secrets_of_a_target_are_kept_for_the_dispatcher_alone() {
    let world = World::start_with(|options| options.allow_loopback());
    let receiver = Receiver::start();
    let config = json!({"type": "webhook", "url": receiver.url(), "token": "xoxb-very-secret", "nested": {"password": "pa55-very-secret"}});
    let made =
        world.server.post("/api/v1/sessions", json!({"client_id": "web:alice", "dispatch_config": config})).expect(201);
    let session = made["session_id"].as_str().unwrap();
    let task = world.server.ask(session, "hello");
    world.server.complete(&task);
    world.server.outbox(&task, &["sent"]);
    for path in [
        "/api/v1/outbox".into(),
        "/api/v1/tasks".into(),
        format!("/api/v1/tasks/{task}"),
        format!("/api/v1/tasks/{task}/trace"),
        format!("/api/v1/sessions/{session}/messages"),
    ] {
        let text = world.server.get(&path).text();
        assert!(!text.contains("very-secret"), "{path}: {text}");
    }
    let database: Vec<u8> = std::fs::read_dir(world.server.options.data_directory())
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path()).ok())
        .flatten()
        .collect();
    for secret in ["xoxb-very-secret", "pa55-very-secret"] {
        assert!(
            !database.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "`{secret}` lies open in the data directory"
        );
    }
    assert!(!world.server.log().contains("very-secret"));
}

#[test]
fn an_answer_can_go_into_another_session() {
    let world = World::start();
    world.model.script(|asked| Turn::Text(format!("About `{}`", asked.question())));
    let (from, to) = (world.server.session("web:alice"), world.server.session("web:bob"));
    let task = world
        .server
        .ask_with(&from, json!({"content": "hello", "dispatch_config": {"type": "internal", "session_id": to}}));
    world.server.complete(&task);
    let messages =
        until("the message arrives", || Some(world.server.messages(&to)).filter(|messages| !messages.is_empty()));
    assert_eq!(messages.len(), 1);
    assert_eq!((&messages[0]["role"], &messages[0]["content"]), (&json!("user"), &json!("About `hello`")));
}
