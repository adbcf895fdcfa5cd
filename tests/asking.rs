//! What no webhook brings: polls, and what was sent while the server was down.

use serde_json::{Value, json};
use tercel_tests::{FakeGitHub, FakeModel, Options, Server, Turn, World, events, until, wait::pause};

fn polling(options: Options) -> Options {
    options.env("GITHUB_POLL", "octo/hello")
}

/// Waits until a poll of this process has been stored.
fn has_polled(server: &Server) {
    let is_counted =
        |text: String| text.lines().any(|line| line.starts_with("tercel_polls_total") && line.contains("\"ok\""));
    until("a poll", || is_counted(server.get("/metrics").text()).then_some(()));
}

fn deliveries(server: &Server) -> Vec<Value> {
    server.list("/api/v1/deliveries")
}

#[test]
fn a_poll_brings_what_happened_since_and_a_second_one_brings_nothing_twice() {
    let mut world = World::start_with(polling);
    world.model.script(|_| Turn::text("I see."));
    world.github.open_issue(1);
    has_polled(&world.server);
    world.server.stop();
    world.github.open_issue(7);
    world.github.remark(7, "And another thing");
    world.server.start_again();
    let comments = world.github.wait_for_comments(2);
    assert!(comments.iter().all(|comment| comment.body.starts_with("I see.")), "{comments:#?}");
    let mut names: Vec<String> = Vec::new();
    for delivery in deliveries(&world.server) {
        assert_eq!((&delivery["verified_by"], &delivery["outcome"]), (&json!("poll"), &json!("run")), "{delivery:#}");
        names.push(delivery["event"].as_str().unwrap().into());
    }
    names.retain(|name| name.starts_with("issue_comment"));
    assert_eq!(names, ["issue_comment.created"]);
    let before = (deliveries(&world.server).len(), world.server.list("/api/v1/tasks").len());
    world.server.restart();
    has_polled(&world.server);
    // The last minute is looked at again, and what was told is known by its id.
    assert_eq!((deliveries(&world.server).len(), world.server.list("/api/v1/tasks").len()), before);
}

#[test]
fn a_polled_delivery_can_be_replayed() {
    let mut world = World::start_with(polling);
    world.model.script(|_| Turn::text("I see."));
    has_polled(&world.server);
    world.server.stop();
    world.github.open_issue(7);
    world.server.start_again();
    world.github.wait_for_comments(1);
    let id = deliveries(&world.server)[0]["id"].as_str().unwrap().to_owned();
    let again = world.server.post(&format!("/api/v1/deliveries/{id}/replay"), json!({}));
    assert!(again.status < 300, "{again}");
    world.github.wait_for_comments(2);
}

#[test]
fn nothing_is_asked_while_no_repository_is_named() {
    let world = World::start();
    let task = world.server.github_task(&events::issues("opened", 3));
    world.model.queue([Turn::text("Fine.")]);
    world.server.complete(&task);
    let asked = world.github.requests();
    assert!(asked.iter().all(|request| request.path != "/repos/octo/hello/issues"), "{asked:#?}");
}

#[test]
fn what_was_not_delivered_while_the_server_was_down_is_sent_again_and_taken_once() {
    let mut world = World::start();
    world.model.script(|_| Turn::text("I see."));
    world.server.github_task(&events::issues("opened", 1));
    world.github.wait_for_comments(1);
    world.server.kill9();
    let missed = events::issues("opened", 2);
    world.github.fail_to_deliver(&missed);
    world.server.start_again();
    let again = until("it is asked for again", || world.github.asked_again().pop());
    assert_eq!(again.delivery, missed.delivery);
    world.server.github_task(&again);
    world.github.wait_for_comments(2);
    // The next start asks once more, as far as the service still lists it as failed; that starts nothing.
    world.server.restart();
    until("it is asked for once more", || (world.github.asked_again().len() == 2).then_some(()));
    assert_eq!(world.server.github(&again).accepted()["status"], "duplicate");
    assert_eq!(world.server.list("/api/v1/notices?open=true"), Vec::<Value>::new());
}

#[test]
fn a_poll_that_dies_around_its_commit_brings_each_issue_once() {
    for point in ["commit.before", "commit.after"] {
        for n in 1..=12 {
            let (github, model) = (FakeGitHub::start(), FakeModel::start());
            model.script(|_| Turn::text("I see."));
            let calm = polling(Options::new().github(&github).model(&model));
            let mut server = Server::start(calm.clone());
            has_polled(&server);
            server.stop();
            github.open_issue(7);
            let armed = calm.clone().env("TERCEL_FAILPOINT", &format!("{point}:+{n}"));
            let mut server = Server::try_start(armed).unwrap_or_else(|_| Server::start(calm.clone()));
            until("its answer", || {
                if server.has_exited() {
                    server = Server::start(calm.clone());
                }
                (!github.comments().is_empty()).then_some(())
            });
            pause(std::time::Duration::from_millis(50));
            if server.has_exited() {
                server = Server::start(calm.clone());
            }
            until("every run has ended", || {
                if server.has_exited() {
                    server = Server::start(calm.clone());
                }
                let tasks: Vec<Value> =
                    serde_json::from_slice(&server.try_call("GET", "/api/v1/tasks", &[], "").ok()?.body).ok()?;
                assert_eq!(tasks.len(), 1, "{point} {n}: {tasks:#?}");
                (tasks[0]["status"] == "complete").then_some(())
            });
            assert_eq!(github.comments().len(), 1, "{point} {n}");
        }
    }
}
