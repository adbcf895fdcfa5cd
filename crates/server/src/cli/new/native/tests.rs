//! The parts, with an outside world that answers as scripted.

use super::integration;
use serde_json::json;
use tercel_sdk::{
    Outcome, Target,
    testing::{Bench, Fake, check},
};

fn bench() -> Bench {
    check(integration()).with("token", "t0ken").with("webhook_secret", "s3cret")
}

#[test]
fn a_new_message_is_answered_in_its_room() {
    let received = bench().receive(&integration().samples[0]).unwrap();
    let Outcome::Events(events) = received.outcome else { panic!("{received:?}") };
    assert_eq!(
        (events[0].from.as_str(), events[0].text.as_str()),
        ("myservice:general", "ada wrote: Who has a ladder?")
    );
    assert!(events[0].brief.is_some());
}

#[test]
fn other_events_start_nothing() {
    let mut sample = integration().samples.remove(0);
    sample.body["event"] = json!("room.renamed");
    assert!(matches!(bench().receive(&sample).unwrap().outcome, Outcome::Ignored(_)));
}

#[tokio::test]
async fn the_test_of_the_connection_says_whose_token_it_is() {
    let world = Fake::new().on("GET /me", 200, json!({"name": "tercel"}));
    assert_eq!(bench().world(&world).test().await.unwrap().account.as_deref(), Some("tercel"));
}

#[tokio::test]
async fn the_agent_can_read_a_room() {
    let world = Fake::new().on("GET /rooms/general", 200, json!({"name": "General", "topic": "Ladders"}));
    let room = bench().world(&world).call("myservice_get_room", json!({"room": "general"})).await.unwrap();
    assert_eq!(room["topic"], "Ladders");
}

#[tokio::test]
async fn an_answer_is_posted_in_the_room_it_is_for() {
    let world = Fake::new().on("POST /rooms/general/messages", 201, json!({"id": 7}));
    let target = Target::new("myservice", json!({"room": "general"}));
    let receipt = bench().world(&world).deliver(&target, "I do").await.unwrap();
    assert_eq!(receipt.id.as_deref(), Some("7"));
    let sent: serde_json::Value = serde_json::from_slice(&world.requests()[0].body).unwrap();
    assert_eq!(sent, json!({"text": "I do"}));
}
