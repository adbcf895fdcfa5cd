//! Channels in which the agent answers only who mentions it.

use crate::{
    webhooks::{listening, signed},
    world::{World, place},
};
use serde_json::{Value, json};
use std::time::Duration;

async fn post(world: &World, text: &str) -> (Value, Value) {
    let body = json!({"text": text}).to_string();
    let (status, answer) = world.webhook(signed(&body, Duration::ZERO), &body).await;
    assert_eq!(status, 200, "{answer}");
    (answer["status"].clone(), answer["reason"].clone())
}

async fn kept(world: &World) -> Vec<Value> {
    let sessions = world.get("/api/v1/sessions?client_id=board:main").await;
    let Some(session) = sessions[0]["id"].as_str() else { return Vec::new() };
    let messages = world.get(&format!("/api/v1/sessions/{session}/messages")).await;
    messages.as_array().unwrap().iter().map(|message| message["content"].clone()).collect()
}

#[tokio::test]
async fn what_does_not_mention_the_bot_is_kept_or_not_as_the_channel_says() {
    let place = place();
    let world = listening(&place).await;
    let channel = json!({"client_id": "board:main", "require_mention": true, "passive_memory": false});
    let made = world.call("POST", "/api/v1/channels", channel).await;
    let (status, reason) = post(&world, "among ourselves").await;
    assert_eq!(status, "ignored");
    assert!(reason.as_str().unwrap().starts_with("It mentions no bot"), "{reason}");
    assert_eq!(kept(&world).await, [] as [Value; 0]);
    assert_eq!(post(&world, "@default hello").await.0, "processed");

    let path = format!("/api/v1/channels/{}", made["id"].as_str().unwrap());
    assert_eq!(world.call("PUT", &path, json!({"passive_memory": true})).await["passive_memory"], true);
    assert_eq!(post(&world, "to be remembered").await.0, "stored");
    let kept = kept(&world).await;
    assert!(kept.contains(&json!("to be remembered")) && !kept.contains(&json!("among ourselves")), "{kept:?}");
}
