//! Channels in which the agent answers only who mentions it.

use crate::{
    webhooks::{listening, signed},
    world::{World, place},
};
use serde_json::{Value, json};
use std::time::Duration;

async fn post(world: &World, text: &str) -> (Value, Value) {
    send(world, json!({"text": text})).await
}

async fn send(world: &World, post: Value) -> (Value, Value) {
    let body = post.to_string();
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

#[tokio::test]
async fn a_name_is_mentioned_as_a_whole() {
    let place = place();
    let world = listening(&place).await;
    world.call("POST", "/api/v1/bots", json!({"id": "rev", "display_name": "The Reviewer"})).await;
    let channel = json!({"client_id": "board:main", "bot_id": "rev", "require_mention": true});
    world.call("POST", "/api/v1/channels", channel).await;
    for text in ["ask @reviewer", "mail me@rev please", "@rev_2 too", "@rev-bot", "see @rev.example", "@The Reviewers"]
    {
        assert_eq!(post(&world, text).await.0, "stored", "{text}");
    }
    for text in ["@rev", "hello @rev!", "(@REV)", "Ask @rev.", "it is @rev's", "@rev - please", "@the reviewer, look"] {
        assert_eq!(post(&world, text).await.0, "processed", "{text}");
    }
}

#[tokio::test]
async fn what_bots_write_is_answered_where_the_channel_allows_it() {
    let place = place();
    let world = listening(&place).await;
    let by_bot = |text: &str| json!({"text": text, "by_bot": true});
    assert_eq!(send(&world, by_bot("one")).await.0, "stored", "without a channel");
    let made = world.call("POST", "/api/v1/channels", json!({"client_id": "board:main"})).await;
    assert_eq!((send(&world, by_bot("two")).await.0, &made["allow_bot_messages"]), (json!("stored"), &json!(false)));
    let path = format!("/api/v1/channels/{}", made["id"].as_str().unwrap());
    assert_eq!(world.call("PUT", &path, json!({"allow_bot_messages": true})).await["allow_bot_messages"], true);
    assert_eq!(send(&world, by_bot("three")).await.0, "processed");
    assert_eq!(kept(&world).await[..2], [json!("one"), json!("two")]);
}

#[tokio::test]
async fn an_event_that_every_filter_leaves_out_says_so() {
    let place = place();
    let world = listening(&place).await;
    let made = world.call("POST", "/api/v1/channels", json!({"client_id": "web:team"})).await;
    let path = format!("/api/v1/channels/{}/bindings", made["id"].as_str().unwrap());
    world.call("POST", &path, json!({"client_id": "board:main", "event_filter": ["release.*"]})).await;
    let (status, reason) = post(&world, "hello").await;
    assert_eq!((status, reason), (json!("ignored"), json!("No binding of its place has `post` in its event_filter")));
}
