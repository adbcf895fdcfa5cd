//! The shipped manifest that sends answers to phones, from its test to a post.

use crate::world::{Service, card};
use serde_json::json;
use tercel_tests::{FakeModel, Options, Server, Turn, loopback::Reply};

const TOKEN: &str = "tk_of_the_tests_0123456789";

struct World {
    server: Server,
    model: FakeModel,
    service: Service,
}

/// As the real one answers.
fn world() -> World {
    let (service, model) = (Service::start(), FakeModel::start());
    service.says("GET /alerts/auth", json!({"success": true}));
    service.on("POST /", |request| {
        let post = request.json();
        Reply::json(
            200,
            &json!({"id": "sPs71M8A2T", "event": "message", "topic": post["topic"], "message": post["message"]}),
        )
    });
    let options = Options::new().model(&model);
    let options = options.env("NTFY_URL", &service.url()).env("NTFY_TOPIC", "alerts").env("NTFY_TOKEN", TOKEN);
    World { server: Server::start(options), model, service }
}

#[test]
fn an_answer_arrives_with_its_title_and_leaves_a_receipt() {
    let world = world();
    assert_eq!(card(&world.server, "ntfy")["status"], "ready");
    world.model.script(|_| Turn::text("The \"door\" is\nopen — {{ fields.token }} {% raw %}"));
    let session = world.server.session("web:alice");
    let target = json!({"type": "ntfy", "priority": 4});
    let task = world
        .server
        .ask_with(&session, json!({"content": "How is the door?", "dispatch_config": target, "notify": false}));
    let sent = world.server.outbox(&task, &["sent"]);
    assert_eq!(sent["receipt"]["id"], "sPs71M8A2T", "{sent:#}");
    let posts = world.service.wait_for("POST /", 1);
    assert_eq!(
        posts[0].json(),
        json!({"topic": "alerts", "message": "The \"door\" is\nopen — {{ fields.token }} {% raw %}", "priority": 4,
               "title": "Default", "markdown": true}),
    );
    assert_eq!(posts[0].header("authorization"), format!("Bearer {TOKEN}"));
}

#[test]
fn a_target_that_does_not_fit_is_refused_before_anything_is_sent() {
    let world = world();
    let session = world.server.session("web:alice");
    let target = json!({"type": "ntfy", "priority": 9});
    let task = world.server.ask_with(&session, json!({"content": "hello", "dispatch_config": target, "notify": false}));
    let dead = world.server.outbox(&task, &["dead"]);
    assert!(dead["error"]["message"].as_str().unwrap().contains("/priority"), "{dead:#}");
    assert!(world.service.received().iter().all(|request| request.method == "GET"));
}

#[test]
fn the_test_of_the_connection_says_who_it_is_for_and_why_it_fails() {
    let world = world();
    let test = |values| world.server.post("/api/v1/admin/integrations/ntfy/connection/test", values).expect(200);
    let good = test(json!({}));
    assert_eq!((&good["ok"], &good["account"]), (&json!(true), &json!("alerts")), "{good:#}");
    world.service.on("GET /alerts/auth", |_| Reply::json(401, &json!({"code": 40101, "error": "unauthorized"})));
    let bad = test(json!({"token": "tk_wrong"}));
    assert_eq!((&bad["ok"], &bad["code"]), (&json!(false), &json!("auth")), "{bad:#}");
    assert!(!bad.to_string().contains("tk_wrong"), "{bad:#}");
    let missing = test(json!({"topic": ""}));
    assert_eq!((&missing["ok"], &missing["code"]), (&json!(false), &json!("not_configured")), "{missing:#}");
}

#[test]
fn a_service_that_is_down_is_tried_again_and_one_that_says_no_is_not() {
    let world = world();
    let mut first = true;
    world.service.on("POST /", move |_| {
        if std::mem::take(&mut first) {
            return Reply::text(429, &[("retry-after", "1")], "slow down");
        }
        Reply::json(413, &json!({"code": 41301, "error": "too large"}))
    });
    let session = world.server.session("web:alice");
    let task = world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_config": {"type": "ntfy"}, "notify": false}));
    let dead = world.server.outbox(&task, &["dead"]);
    assert!(dead["error"]["message"].as_str().unwrap().contains("too large"), "{dead:#}");
    assert_eq!(world.service.wait_for("POST /", 2).len(), 2);
}
