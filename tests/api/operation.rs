//! What an operator watches.

use crate::has;
use serde_json::json;
use tercel_tests::{Turn, World, events, loopback::Request, until};

#[test]
fn metrics_health_and_the_description_are_there() {
    let world = World::start();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    let metrics = world.server.key(&["metrics:read"]).get("/metrics");
    assert_eq!(metrics.status, 200, "{metrics}");
    for about in ["queue", "outbox", "commit", "wal"] {
        assert!(metrics.text().to_lowercase().contains(about), "nothing about `{about}`:\n{metrics}");
    }
    assert!(!metrics.text().contains("octo/hello"), "names of strangers are no labels");
    has(&world.server.get("/health").expect(200), &["status"]);
    let document = world.server.get("/openapi.json").expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
}

#[test]
fn notices_are_one_for_one_trouble() {
    let world = World::start();
    world.model.script(|_| Turn::fails(401));
    for number in 1..=3 {
        let task = world.server.github_task(&events::pull_request("opened", number));
        world.server.wait_for(&task, &["waiting"]);
    }
    let notices = until("the notice counts three", || {
        let list = world.server.list("/api/v1/notices?open=true");
        list.iter().any(|notice| notice["count"].as_u64() >= Some(3)).then_some(list)
    });
    assert_eq!(notices.len(), 1, "{notices:#?}");
    has(
        &notices[0],
        &["id", "key", "severity", "title", "detail", "repair", "count", "first_at", "last_at", "closed_at"],
    );
}

#[test]
fn more_is_logged_of_one_part_while_the_server_runs() {
    let world = World::start();
    let server = &world.server;
    let path = "/api/v1/admin/log";
    let shown = server.get(path).expect(200);
    assert_eq!(shown["filter"], shown["of_environment"]);
    assert!(shown["modules"].as_array().unwrap().contains(&json!("tercel::outbox")), "{shown:#}");
    server.get("/health").expect(200);
    assert!(!server.log().contains("Answered a request"));
    assert_eq!(
        server.put(path, json!({"filter": "warn,tercel::api=debug"})).expect(200)["filter"],
        "warn,tercel::api=debug"
    );
    server.get("/health").expect(200);
    until("it is in the log", || server.log().contains("Answered a request").then_some(()));
    for (filter, meant) in
        [("inof", "`info`"), ("tercel::outbx=debug", "`tercel::outbox`"), ("tercel::outbox=debg", "`debug`")]
    {
        let said = server.put(path, json!({"filter": filter})).refused(422, "invalid");
        assert!(said.contains(meant), "{said}");
    }
    assert_eq!(server.get(path).expect(200)["filter"], "warn,tercel::api=debug", "it stays as it was");
    assert_eq!(server.delete(path).expect(200)["filter"], shown["filter"]);
}

#[test]
fn a_shutdown_lets_a_request_finish() {
    let mut world = World::start();
    world.github.delay(std::time::Duration::from_millis(400));
    let client = world.server.key(&["admin"]);
    let asking = std::thread::spawn(move || {
        client.post("/api/v1/admin/integrations/github/connection/test", json!({"token": "ghp_draft"})).expect(200)
    });
    // The server tests its connections at the start, too: only this call has this token.
    let is_ours = |request: &Request| request.header("authorization") == "Bearer ghp_draft";
    until("the test is under way", || world.github.requests().iter().any(is_ours).then_some(()));
    world.server.stop();
    assert_eq!(asking.join().unwrap()["ok"], true);
}
