//! A tier that does not have an integration: what is kept, what is refused, what waits, and that it goes on later.

use crate::{
    tools::Arguments,
    world::{Place, World, board, open_with, place},
};
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercel::{
    connection::retest::{self, Pace},
    polls,
};
use tercel_sdk::{
    Brief, Checked, Cursor, Dedupe, Depth, Event, Field, Host, Inbound, Integration, Outbound, Outcome, Polled,
    Receipt, Received, Refusal, dispatcher, hook, reads,
};

const PATH: &str = "/api/v1/admin/integrations/board";
const WHY: &str = "`board` needs the tier paid; the tier in force is free (TERCEL_TIER)";

/// A board that counts every call of any of its parts.
fn board_of_all_parts(calls: &Arc<AtomicUsize>) -> Integration {
    let count = || {
        let calls = calls.clone();
        move || _ = calls.fetch_add(1, Ordering::SeqCst)
    };
    let (received, checked, looked, posted, polled, told) = (count(), count(), count(), count(), count(), count());
    let receive = move |_: Host, request: Inbound| {
        received();
        let text = String::from_utf8_lossy(request.unsigned("a test").body()).into_owned();
        let event = Event::stored("board:main", text).run(Brief::default());
        Ok::<_, Refusal>(Received { dedupe: Dedupe::Never, name: "post".into(), outcome: Outcome::Events(vec![event]) })
    };
    let check = move |_: Host| {
        checked();
        async { Ok(Checked { depth: Depth::Auth, account: None, account_id: None, message: "It works".into() }) }
    };
    let look = move |_: Host, _: Arguments| {
        looked();
        async { Ok(json!("seen")) }
    };
    let post = move |_: Host, _: Map<String, Value>, _: Outbound| {
        posted();
        async { Ok(Receipt::default()) }
    };
    let poll = move |_: Host, _: Cursor| {
        polled();
        async { Ok(Polled::default()) }
    };
    let tell = move |_: Host, _: hook::AfterTaskComplete| {
        told();
        async { Ok(()) }
    };
    board()
        .tier("paid")
        .feature("board_boost", "premium")
        .feature("company_research", "free")
        .field(Field::password("token", "Token").required())
        .webhook(receive)
        .connector(check)
        .dispatcher(dispatcher(post))
        .poll("posts", Duration::from_millis(5), poll)
        .on(tell)
        .tool("board_look", reads(look))
}

async fn start(place: &Place, calls: &Arc<AtomicUsize>, tier: &str) -> World {
    let world = open_with(place.path(), vec![board_of_all_parts(calls)], &[("TERCEL_TIER", tier)]).await;
    world.work();
    let often = Duration::from_millis(5);
    world.app.work.spawn(polls::run_all(world.app.clone()));
    world.app.work.spawn(retest::run_by(world.app.clone(), Pace { healthy: often, asleep: often, failing: often }));
    world
}

#[tokio::test]
async fn a_lower_tier_keeps_what_is_stored_refuses_what_is_asked_and_lets_wait_what_was_promised() {
    let (place, calls) = (place(), Arc::new(AtomicUsize::new(0)));
    let world = start(&place, &calls, "paid").await;
    let connect = format!("{PATH}/connection/connect");
    assert_eq!(world.call("POST", &connect, json!({"token": "t0ken"})).await["ok"], true);
    let session = world.session(json!({"type": "board"})).await;
    let sent = world.say(&session, "hello").await;
    world.row(&sent, "sent").await;
    world.stop().await;
    drop(world);

    let world = start(&place, &calls, "free").await;
    calls.store(0, Ordering::SeqCst);
    let refused = |answer: (u16, Value)| assert_eq!(answer, (403, json!({"detail": WHY, "code": "tier"})));
    refused(world.try_call("POST", &connect, json!({"token": "other"})).await);
    refused(world.try_call("POST", &format!("{PATH}/connection/test"), json!({})).await);
    refused(world.try_call("PUT", &format!("{PATH}/settings"), json!({"settings": {"BOARD_TOKEN": "other"}})).await);
    refused(world.try_call("POST", "/api/v1/tools/board_look/call", json!({})).await);
    refused(world.webhook(HeaderMap::new(), "hello").await);
    let told = world.get(&format!("{PATH}/webhook")).await;
    assert_eq!(told["refused"]["reason"], WHY, "{told:#}");
    let card = &world.get("/api/v1/admin/integrations").await["integrations"][0];
    assert_eq!((&card["locked"], &card["error"], &card["tier"]), (&json!(true), &json!(WHY), &json!("paid")));
    let kept = world.get(&format!("{PATH}/connection")).await;
    assert_eq!(kept["values"], json!({"token": "••••••••"}), "what is stored stays");

    // The bot's run goes on without it, and its answer waits.
    let task = world.say(&session, "call board_look").await;
    let ended = world.ended(&task).await;
    assert!(ended["result"].as_str().unwrap().contains("board_look"), "{ended:#}");
    let row = world.row(&task, "parked").await;
    assert_eq!(row["error"]["message"], format!("The answer waits: {WHY}"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0, "something of it was called");
    world.stop().await;
    drop(world);

    let world = start(&place, &calls, "premium").await;
    world.app.store.unpark_outbox("board").await.unwrap();
    world.row(&task, "sent").await;
    assert_eq!(world.webhook(HeaderMap::new(), "hello").await.0, 200);
    assert_eq!(world.call("POST", "/api/v1/tools/board_look/call", json!({})).await["ok"], true);
    assert!(calls.load(Ordering::SeqCst) > 2);
}

#[tokio::test]
async fn a_connection_can_be_ended_whatever_the_tier() {
    let (place, calls) = (place(), Arc::new(AtomicUsize::new(0)));
    let world = start(&place, &calls, "paid").await;
    world.call("POST", &format!("{PATH}/connection/connect"), json!({"token": "t0ken"})).await;
    world.stop().await;
    drop(world);
    let world = start(&place, &calls, "free").await;
    let ended = world.call("POST", &format!("{PATH}/connection/disconnect"), Value::Null).await;
    assert_eq!((&ended["message"], &ended["connection"]["values"]), (&json!("It was disconnected"), &json!({})));
}

#[tokio::test]
async fn features_are_the_usual_ones_and_those_of_integrations_which_change_none() {
    let (place, calls) = (place(), Arc::new(AtomicUsize::new(0)));
    let world = start(&place, &calls, "paid").await;
    let told = world.get("/api/v1/features").await;
    assert_eq!((&told["tier"], &told["tiers"]), (&json!("paid"), &json!(["free", "paid", "premium", "ultra"])));
    let features = &told["features"];
    assert_eq!((&features["board_boost"], &features["company_research"]), (&json!("premium"), &json!("paid")));
    let locked = told["locked"].as_object().unwrap();
    let names: Vec<&str> = locked.keys().map(String::as_str).collect();
    assert_eq!(names, ["board_boost", "llm_voice_guidelines", "model_fine_tuning", "multi_user"]);
    assert_eq!(locked["board_boost"], "`board_boost` needs the tier premium; the tier in force is paid (TERCEL_TIER)");
}
