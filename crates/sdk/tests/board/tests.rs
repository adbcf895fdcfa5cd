use super::integration;
use serde_json::json;
use tercel_sdk::{
    Outcome, Target, hook,
    host::Ids,
    testing::{Bench, Fake, check},
};

fn bench() -> Bench {
    check(integration()).with("token", "t").with("webhook_secret", "s").account("tercel")
}

#[test]
fn a_new_post_is_answered_in_its_own_thread() {
    let received = bench().receive(&integration().samples[0]).unwrap();
    let Outcome::Events(events) = received.outcome else { panic!("{received:?}") };
    assert_eq!((events[0].from.as_str(), events[0].thread.as_deref()), ("board:main", Some("post/7")));
    assert!(events[0].brief.is_some());
}

#[test]
fn the_bot_does_not_answer_itself() {
    let mut sample = integration().samples.remove(0);
    sample.body["post"]["author"] = json!("tercel");
    assert_eq!(bench().receive(&sample).unwrap().outcome, Outcome::Ignored("own post".into()));
}

#[test]
fn a_request_without_a_signature_is_refused() {
    let refusal = bench().receive_raw(Default::default(), "{}".into(), std::time::SystemTime::now());
    assert!(refusal.is_err());
}

#[tokio::test]
async fn the_agent_can_read_a_post() {
    let world = Fake::new().on("GET /posts/7", 200, json!({"id": 7, "author": "ada", "text": "Who has a ladder?"}));
    let post = bench().world(&world).call("board_get_post", json!({"id": 7})).await.unwrap();
    assert_eq!(post["text"], "Who has a ladder?");
}

#[tokio::test]
async fn a_reply_that_nobody_acknowledged_is_found_by_its_marker() {
    let world = Fake::new().on("POST /posts/7/replies", 201, json!({"id": 71, "text": "I do"}));
    let target = Target::new("board", json!({"post": 7}));
    let receipt = bench().world(&world).deliver(&target, "I do").await.unwrap();
    assert_eq!(receipt.id.as_deref(), Some("71"));

    let posted: serde_json::Value = serde_json::from_slice(&world.requests()[0].body).unwrap();
    world.on("GET /posts/7/replies", 200, json!([{"id": 71, "text": posted["text"]}]));
    assert_eq!(bench().world(&world).find(&target, "I do").await.unwrap(), Some(receipt));
}

#[tokio::test]
async fn the_test_of_the_connection_says_whose_token_it_is() {
    let world = Fake::new().on("GET /me", 200, json!({"name": "tercel"}));
    let checked = bench().world(&world).test().await.unwrap();
    assert_eq!(checked.account.as_deref(), Some("tercel"));
}

#[tokio::test]
async fn a_post_that_was_looked_at_is_marked() {
    let world = Fake::new().on("POST /posts/7/seen", 204, json!(""));
    let ids = Ids { target: Some(Target::new("board", json!({"post": 7}))), ..Ids::default() };
    let (context, task_id) = (hook::Context::default(), "t1".into());
    let end = hook::AfterTaskComplete { context, task_id, task_type: "agent".into(), status: "complete".into() };
    bench().world(&world).ids(ids).tell(end).await.unwrap();
    assert_eq!(world.requests().len(), 1);
}
