//! How much is let in, and how much is worked on at once.

use crate::{
    tools::Arguments,
    webhooks::{listening_in, signed},
    world::{World, board, open_with, place},
};
use axum::{body::Body, http::Request};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercel_sdk::{Host, Integration, reads};

#[tokio::test]
async fn no_more_tasks_wait_than_may_wait() {
    let place = place();
    // There is room for more runs: the queue is bounded all the same.
    let settings = [("TERCEL_QUEUE", "3"), ("TERCEL_OPEN_RUNS", "2000")];
    let world = listening_in(&place, &settings).await;
    let session = world.session(json!({"type": "none"})).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(world.say(&session, "hello").await);
    }
    let body = json!({"content": "hello", "run_agent": true}).to_string();
    let path = format!("/api/v1/sessions/{session}/messages");
    let (status, answer) = world.send(world.request("POST", &path).body(Body::from(body)).unwrap()).await;
    assert_eq!((status, &answer["detail"]), (503, &json!("Too many runs are waiting: try again later")));
    let event = json!({"text": "hello"}).to_string();
    let (status, answer) = world.webhook(signed(&event, Duration::ZERO), &event).await;
    assert_eq!((status, &answer["detail"]), (503, &json!("Too many runs are waiting: try again later")));
    assert_eq!(world.get("/api/v1/deliveries").await, json!([]), "nothing was stored");

    world.work();
    join_all(tasks.iter().map(|task| world.ended(task))).await;
    let taken = async || {
        let (status, _) = world.webhook(signed(&event, Duration::ZERO), &event).await;
        (status == 200).then_some(())
    };
    world.until("there is room again", taken).await;
}

/// Counts how many calls are at work at once.
fn counting(most: &Arc<AtomicUsize>) -> Integration {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), most.clone());
    let tool = move |_: Host, _: Arguments| {
        let (inside, most) = (inside.clone(), most.clone());
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(json!("done"))
        }
    };
    board().tool("board_work", reads(tool))
}

/// How many calls of a tool are at work at once when four conversations want one.
async fn at_once(settings: &[(&str, &str)]) -> usize {
    let (most, place) = (Arc::new(AtomicUsize::new(0)), place());
    let world = open_with(place.path(), vec![counting(&most)], settings).await;
    world.session(json!({"type": "none"})).await;
    let tasks = join_all((0..4).map(async |n| {
        let opened = world.call("POST", "/api/v1/sessions", json!({"client_id": format!("test:{n}")})).await;
        world.say(opened["session_id"].as_str().unwrap(), "call board_work").await
    }));
    let tasks: Vec<String> = tasks.await;
    world.work();
    for ended in join_all(tasks.iter().map(|task| world.ended(task))).await {
        assert_eq!(ended["result"], "done", "{ended:#}");
    }
    most.load(Ordering::SeqCst)
}

#[tokio::test]
async fn runs_and_steps_are_bounded_apart() {
    assert_eq!(at_once(&[("TERCEL_STEPS", "1"), ("TERCEL_OPEN_RUNS", "4")]).await, 1);
    assert_eq!(at_once(&[("TERCEL_STEPS", "4"), ("TERCEL_OPEN_RUNS", "1")]).await, 1);
    assert!(at_once(&[("TERCEL_STEPS", "4"), ("TERCEL_OPEN_RUNS", "4")]).await > 1);
}

#[tokio::test]
async fn what_the_tier_does_not_have_is_refused_with_both_tiers() {
    let place = place();
    let integration = Integration { tier: "premium".into(), ..board() };
    let world: World = open_with(place.path(), vec![integration], &[("TERCEL_TIER", "free")]).await;
    let refused = json!("`board` needs the tier premium; the tier in force is free (TERCEL_TIER)");
    for (method, path) in [
        ("PUT", "/api/v1/admin/integrations/board/settings"),
        ("POST", "/api/v1/admin/integrations/board/connection/test"),
        ("POST", "/api/v1/admin/integrations/board/connection/connect"),
    ] {
        let body = Body::from(json!({"settings": {}}).to_string());
        let (status, answer) = world.send(world.request(method, path).body(body).unwrap()).await;
        assert_eq!((status, &answer["detail"]), (403, &refused), "{method} {path}");
    }
    let listed = world.get("/api/v1/admin/integrations").await["integrations"][0].clone();
    assert_eq!((&listed["locked"], &listed["tier"]), (&json!(true), &json!("premium")));
}

#[tokio::test]
async fn a_channel_that_cannot_be_read_is_left_out_and_the_others_are_there() {
    let place = place();
    let world = open_with(place.path(), vec![board()], &[]).await;
    let good = world.call("POST", "/api/v1/channels", json!({"client_id": "board:good"})).await;
    let bad = tercel_store::Channel {
        id: tercel_store::Uuid::now_v7(),
        client_id: "board:bad".into(),
        bot_id: "default".into(),
        display_name: None,
        options: "no JSON".into(),
        sealed_target: None,
        created_at: 0,
    };
    world.app.store.create_channel(bad).await.unwrap();
    let binding = tercel_store::Binding {
        id: tercel_store::Uuid::now_v7(),
        channel_id: good["id"].as_str().unwrap().parse().unwrap(),
        client_id: "board:elsewhere".into(),
        display_name: None,
        event_filter: Some("no JSON".into()),
        sealed_target: None,
        created_at: 0,
    };
    world.app.store.bind(binding).await.unwrap();
    world.app.reload().await.unwrap();
    let channels = world.get("/api/v1/channels").await;
    let names: Vec<&Value> = channels.as_array().unwrap().iter().map(|channel| &channel["client_id"]).collect();
    assert_eq!(names, ["board:good"]);
    assert_eq!(channels[0]["bindings"], json!([]));
}

#[tokio::test]
async fn closed_notices_fill_their_pages() {
    let place = place();
    let world = open_with(place.path(), Vec::new(), &[]).await;
    let store = &world.app.store;
    for n in 0..6 {
        let key = format!("n{n}");
        let notice = tercel_store::NewNotice {
            key: key.clone(),
            severity: "warning",
            title: key.clone(),
            detail: String::new(),
            repair: None,
        };
        store.raise(notice).await.unwrap();
        if n % 2 == 0 {
            store.close_notice(&key).await.unwrap();
        }
    }
    let keys = async |query: &str| -> Vec<Value> {
        let notices = world.get(&format!("/api/v1/notices?limit=3&{query}")).await;
        notices.as_array().unwrap().iter().map(|notice| notice["key"].clone()).collect()
    };
    assert_eq!(keys("open=false").await, ["n4", "n2", "n0"]);
    assert_eq!(keys("open=true").await, ["n5", "n3", "n1"]);
    let request = Request::get("/api/v1/notices").body(Body::empty()).unwrap();
    assert_eq!(world.send(request).await.0, 401);
}
