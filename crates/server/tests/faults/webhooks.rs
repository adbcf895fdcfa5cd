use crate::world::{World, board, open_with, place, start};
use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tercel_sdk::{Brief, Dedupe, Event, Host, Inbound, Outcome, Received, Refusal, Scheme, signature::Recipe};

const SECRET: &str = "the-signing-secret";

fn receive(_: Host, request: Inbound) -> Result<Received, Refusal> {
    let request = request.signed(&scheme())?;
    let said: Value = request.json()?;
    let text = said["text"].as_str().expect("every post has a text");
    let by_bot = said["by_bot"] == true;
    let event = Event::stored("board:main", text).run(Brief::default()).by_bot(by_bot);
    Ok(Received { dedupe: Dedupe::Body, name: "post".into(), outcome: Outcome::Events(vec![event]) })
}

pub async fn listening(place: &crate::world::Place) -> World {
    start(place.path(), vec![board().webhook(receive)]).await
}

/// The same with settings, before it begins to work.
pub async fn listening_in(place: &crate::world::Place, settings: &[(&str, &str)]) -> World {
    open_with(place.path(), vec![board().webhook(receive)], settings).await
}

/// One that signs the time as well.
pub fn scheme() -> Scheme {
    let recipe = Recipe {
        header: "x-board-signature".into(),
        signs: "{timestamp}.{body}".into(),
        timestamp: Some("x-board-timestamp".into()),
        ..Recipe::default()
    };
    Scheme::hmac(SECRET, recipe).unwrap()
}

pub fn signed(body: &str, age: Duration) -> HeaderMap {
    scheme().sign(body.as_bytes(), SystemTime::now() - age)
}

#[tokio::test]
async fn a_signature_that_is_old_missing_or_wrong_is_refused_and_leaves_nothing() {
    let place = place();
    let world = listening(&place).await;
    let body = json!({"text": "hello"}).to_string();
    let soon = Duration::ZERO;
    let mut unsigned = signed(&body, soon);
    unsigned.remove("x-board-signature");
    let mut timeless = signed(&body, soon);
    timeless.remove("x-board-timestamp");
    // The time is signed: an old request does not become a new one by a new time.
    let mut renewed = signed(&body, Duration::from_secs(3600));
    renewed.extend(
        signed("another body", soon)
            .remove("x-board-timestamp")
            .map(|time| (Some(axum::http::HeaderName::from_static("x-board-timestamp")), time)),
    );
    for (headers, reason) in [
        (signed(&body, Duration::from_secs(301 + 60)), "The signature's time is 36"),
        (signed("another body", soon), "The signature does not match"),
        (unsigned, "Header `x-board-signature` is missing"),
        (timeless, "Header `x-board-timestamp` is missing"),
        (renewed, "The signature does not match"),
    ] {
        let (status, answer) = world.webhook(headers, &body).await;
        assert_eq!(status, 403, "{answer}");
        assert!(answer["detail"].as_str().unwrap().starts_with(reason), "{answer}");
    }
    assert_eq!(world.get("/api/v1/deliveries").await, json!([]));
    assert_eq!(world.model_calls(), 0);
    let refused = world.get("/api/v1/admin/integrations/board/webhook").await["refused"].clone();
    assert_eq!((&refused["count"], &refused["source"]), (&json!(5), &json!("192.0.2.1")), "{refused}");
    assert_eq!(refused["reason"], "The signature does not match: is the secret the same on both sides?");
    assert!(refused["last_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{refused}");
    let (status, answer) = world.webhook(signed(&body, Duration::from_secs(240)), &body).await;
    assert_eq!((status, answer["status"].as_str()), (200, Some("processed")), "{answer}");
}

#[tokio::test]
async fn a_part_that_panics_takes_nothing_and_the_sender_may_come_again() {
    let place = place();
    let world = listening(&place).await;
    // The second is large enough to be read beside the others.
    for body in [json!({}).to_string(), json!({"padding": "x".repeat(300_000)}).to_string()] {
        let (status, answer) = world.webhook(signed(&body, Duration::ZERO), &body).await;
        assert_eq!(
            (status, &answer["detail"]),
            (503, &json!("The webhook of `board` has a fault; nothing was stored"))
        );
    }
    assert_eq!(world.get("/api/v1/deliveries").await, json!([]));
    let body = json!({"text": "hello"}).to_string();
    let (_, answer) = world.webhook(signed(&body, Duration::ZERO), &body).await;
    assert_eq!(world.ended(answer["tasks"][0].as_str().unwrap()).await["result"], "You said: hello");
}
