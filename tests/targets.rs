//! Where answers go: the types that are the server's own, and targets that cannot be.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tercel_tests::{Receiver, Turn, World, until};

#[test]
fn an_unknown_dispatch_type_is_a_failure_that_can_be_seen() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let task = world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_type": "pigeon", "dispatch_config": {"loft": 7}}));
    assert_eq!(world.server.complete(&task)["dispatch_type"], "pigeon");
    let row = world.server.outbox(&task, &["dead", "parked"]);
    assert!(row["error"]["message"].as_str().unwrap().contains("pigeon"), "{row:#}");
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
    assert!(row["error"]["message"].as_str().unwrap().contains("number"), "{row:#}");
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
    let requests = receiver.wait_for(2);
    let bodies: Vec<Value> = requests.iter().map(|request| request.json()).collect();
    let shown = json!({"task_id": null, "result": "[api] hello"});
    assert_eq!(bodies, [shown, json!({"task_id": task, "result": "Understood."})]);
    let secret = world.server.post("/api/v1/keys/webhook-secret", json!({})).accepted()["secret"].clone();
    let key = BASE64.decode(secret.as_str().unwrap().strip_prefix("whsec_").unwrap()).unwrap();
    for request in &requests {
        // As standardwebhooks.com has it, and not with our own code.
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp")).as_bytes());
        mac.update(&request.body);
        let signature = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
        assert_eq!(request.header("webhook-signature"), signature);
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
    let received = receiver.wait_for(4);
    let ids: Vec<&str> = received.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids[..3], [ids[0]; 3], "the receiver can know a repetition by its id");
    let results: Vec<Value> = received.iter().map(|request| request.json()["result"].clone()).collect();
    assert_eq!(results, ["[api] hello", "[api] hello", "[api] hello", "Understood."], "what comes later waits");
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
    receiver.answers(&[302, 302]);
    let session = world.server.session("web:alice");
    let task = world
        .server
        .ask_with(&session, json!({"content": "hello", "dispatch_config": {"type": "webhook", "url": receiver.url()}}));
    world.server.complete(&task);
    let row = world.server.outbox(&task, &["dead", "held", "parked", "sent"]);
    assert_eq!((&row["state"], &row["error"]["status"]), (&json!("dead"), &json!(302)), "{row:#}");
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
