//! What is typed at the server on a place that is bound to others is seen there.

use serde_json::{Value, json};
use tercel_tests::{Receiver, World, until};

/// A channel bound to two places.
fn bound(world: &World, receivers: &[&Receiver]) {
    let channel = world.server.post("/api/v1/channels", json!({"client_id": "web:team"})).expect(201);
    for (n, receiver) in receivers.iter().enumerate() {
        let body = json!({
            "client_id": format!("other:{n}"), "dispatch_config": {"type": "webhook", "url": receiver.url()},
        });
        let path = format!("/api/v1/channels/{}/bindings", channel["id"].as_str().unwrap());
        world.server.post(&path, body).expect(201);
    }
}

fn told(world: &World, receiver: &Receiver) -> Vec<Value> {
    until("everything is sent", || {
        let rows = world.server.list("/api/v1/outbox");
        rows.iter().all(|row| row["state"] == "sent").then_some(())
    });
    receiver.received().iter().map(|request| request.json()["result"].clone()).collect()
}

#[test]
fn a_message_and_its_answer_are_posted_wherever_the_channel_is_bound() {
    let world = World::start_with(|options| options.allow_loopback());
    let (one, two) = (Receiver::start(), Receiver::start());
    bound(&world, &[&one, &two]);
    let body = json!({"message": "Is it raining?", "client_id": "web:team", "user": {"display_name": "Alice"}});
    world.server.post("/chat", body).expect(200);
    for receiver in [&one, &two] {
        assert_eq!(told(&world, receiver), ["[Alice] Is it raining?", "Understood."]);
    }
}

#[test]
fn a_message_from_elsewhere_is_not_mirrored() {
    let world = World::start_with(|options| options.allow_loopback());
    let (one, two) = (Receiver::start(), Receiver::start());
    bound(&world, &[&one, &two]);
    let session = world.server.session("web:team");
    let task = world.server.ask_with(&session, json!({"content": "from a program", "notify": false}));
    world.server.complete(&task);
    assert_eq!(
        (told(&world, &one), told(&world, &two)),
        (vec![json!("Understood.")], vec![]),
        "the first is its target"
    );
    let task =
        world.server.ask_with(&session, json!({"content": "typed", "source": "ui", "user": {"display_name": "Bob"}}));
    world.server.complete(&task);
    assert_eq!(told(&world, &two), ["[Bob] typed", "Understood."]);
    assert_eq!(told(&world, &one), ["Understood.", "[Bob] typed", "Understood."], "each once");
}
