//! The same call twice, under an Idempotency-Key.

use crate::{
    webhooks::{listening, signed},
    world::{World, board, open_with, place},
};
use axum::body::Body;
use serde_json::{Value, json};
use std::time::Duration;

async fn keyed(world: &World, path: &str, body: Value) -> (u16, Value) {
    let request = world.request("POST", path).header("idempotency-key", "k1");
    world.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// The first body makes something; again it is the same; every other one is refused.
async fn is_once(world: &World, path: &str, bodies: &[Value]) -> Value {
    let (status, made) = keyed(world, path, bodies[0].clone()).await;
    assert_eq!(status, 201, "{path}: {made}");
    assert_eq!(keyed(world, path, bodies[0].clone()).await, (201, made.clone()), "{path}");
    for other in &bodies[1..] {
        let (status, answer) = keyed(world, path, other.clone()).await;
        assert_eq!(status, 409, "{path}: {other} {answer}");
    }
    made
}

fn with(body: &Value, key: &str, value: Value) -> Value {
    let mut other = body.clone();
    other[key] = value;
    other
}

#[tokio::test]
async fn what_is_made_under_a_key_is_made_once_and_other_content_is_refused() {
    let place = place();
    let world = open_with(place.path(), vec![board()], &[]).await;
    world.call("POST", "/api/v1/bots", json!({"id": "other"})).await;

    let target = json!({"type": "webhook", "url": "https://receiver.example", "secret": "one"});
    let other_target = json!({"type": "webhook", "url": "https://receiver.example", "secret": "two"});
    let channel = json!({"client_id": "board:main", "dispatch_config": target});
    let made = is_once(
        &world,
        "/api/v1/channels",
        &[
            channel.clone(),
            with(&channel, "client_id", json!("board:x")),
            with(&channel, "bot_id", json!("other")),
            with(&channel, "display_name", json!("Main")),
            with(&channel, "require_mention", json!(true)),
            with(&channel, "dispatch_config", other_target.clone()),
        ],
    )
    .await;
    let bindings = format!("/api/v1/channels/{}/bindings", made["id"].as_str().unwrap());
    let binding = json!({"client_id": "board:else", "event_filter": ["post"]});
    is_once(
        &world,
        &bindings,
        &[
            binding.clone(),
            with(&binding, "client_id", json!("board:x")),
            with(&binding, "event_filter", Value::Null),
            with(&binding, "display_name", json!("Else")),
            with(&binding, "dispatch_config", other_target.clone()),
        ],
    )
    .await;
    let bot = json!({"id": "third", "system_prompt": "Be brief."});
    is_once(&world, "/api/v1/bots", &[bot.clone(), with(&bot, "system_prompt", json!("Be long."))]).await;

    let key = json!({"name": "ci", "scopes": ["tasks:read"]});
    assert_eq!(keyed(&world, "/api/v1/keys", key.clone()).await.0, 201);
    let (status, answer) = keyed(&world, "/api/v1/keys", key).await;
    assert_eq!(status, 409, "it is shown once: {answer}");
    assert_eq!(world.get("/api/v1/keys").await.as_array().unwrap().len(), 1);

    let message = json!({"content": "hello", "run_agent": false, "dispatch_config": target});
    let opened = world.call("POST", "/api/v1/sessions", json!({"client_id": "board:main"})).await;
    let messages = format!("/api/v1/sessions/{}/messages", opened["session_id"].as_str().unwrap());
    is_once(
        &world,
        &messages,
        &[
            message.clone(),
            with(&message, "content", json!("hallo")),
            with(&message, "source", json!("ui")),
            with(&message, "run_agent", json!(true)),
            with(&message, "notify", json!(false)),
            with(&message, "dispatch_config", other_target),
            with(&message, "execution_config", json!({"tools": ["x"]})),
        ],
    )
    .await;
    let shown = world.get(&messages).await;
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert!(shown[0]["metadata"]["request"].is_null(), "{shown:#}");
}

#[tokio::test]
async fn a_session_under_a_key_is_the_same_even_after_a_reset() {
    let place = place();
    let world = open_with(place.path(), vec![board()], &[]).await;
    let body = json!({"client_id": "board:main"});
    let made = is_once(&world, "/api/v1/sessions", &[body.clone(), with(&body, "thread", json!("pr/1"))]).await;
    assert_eq!(made["created"], true);
    let id = made["session_id"].as_str().unwrap();
    world.call("POST", &format!("/api/v1/sessions/{id}/reset"), Value::Null).await;
    assert_eq!(keyed(&world, "/api/v1/sessions", body.clone()).await, (201, made.clone()));
    let other = world.call("POST", "/api/v1/sessions", body).await;
    assert_ne!(other["session_id"], made["session_id"], "without the key a new conversation begins");
}

#[tokio::test]
async fn a_replay_under_a_key_is_one_replay() {
    let place = place();
    let world = listening(&place).await;
    let event = json!({"text": "hello"}).to_string();
    let (_, taken) = world.webhook(signed(&event, Duration::ZERO), &event).await;
    let path = format!("/api/v1/deliveries/{}/replay", taken["delivery_id"].as_str().unwrap());
    let (status, first) = keyed(&world, &path, Value::Null).await;
    assert_eq!((status, &first["generation"]), (202, &json!(2)), "{first}");
    let (_, again) = keyed(&world, &path, Value::Null).await;
    assert_eq!(again["generation"], first["generation"], "{again}");
    let tasks = world.get("/api/v1/tasks").await;
    assert_eq!(tasks.as_array().unwrap().len(), 2, "one of the delivery, one of its replay");
}
