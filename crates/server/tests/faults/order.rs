use crate::{
    tools::Arguments,
    world::{board, open_with, place, start},
};
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tercel_sdk::{Host, reads};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_messages_at_once_are_answered_one_after_the_other_in_their_order() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entered, seen) = (inside.clone(), most.clone());
    let tool = move |_: Host, _: Arguments| {
        let (inside, most) = (entered.clone(), seen.clone());
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(json!("done"))
        }
    };
    let place = place();
    let world = start(place.path(), vec![board().tool("board_work", reads(tool))]).await;
    let session = world.session(json!({"type": "none"})).await;
    let texts: Vec<String> = (0..50).map(|n| format!("message {n}\ncall board_work")).collect();
    let tasks = join_all(texts.iter().map(|text| world.say(&session, text))).await;
    for ended in join_all(tasks.iter().map(|task| world.ended(task))).await {
        assert_eq!((&ended["status"], &ended["result"]), (&json!("complete"), &json!("done")));
    }
    assert_eq!(most.load(Ordering::SeqCst), 1, "one run of a session at a time");

    let messages = world.get(&format!("/api/v1/sessions/{session}/messages?limit=200")).await;
    let tasks_of = |role: &str| -> Vec<Value> {
        let messages = messages.as_array().unwrap().iter().filter(|message| message["role"] == role);
        messages.map(|message| message["metadata"]["task_id"].clone()).collect()
    };
    assert_eq!(tasks_of("user").len(), 50);
    assert_eq!(tasks_of("user"), tasks_of("assistant"), "in the order of the messages");
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_its_tool_hangs_ends_at_once() {
    let place = place();
    let world = start(place.path(), vec![board().tool("board_hang", reads(crate::tools::hangs))]).await;
    let session = world.session(json!({"type": "none"})).await;
    let task = world.say(&session, "call board_hang").await;
    let next = world.say(&session, "hello").await;
    world.call("POST", &format!("/api/v1/tasks/{task}/cancel"), Value::Null).await;
    assert_eq!(world.ended(&task).await["status"], "cancelled");
    assert_eq!(world.ended(&next).await["result"], "You said: hello");
}

#[tokio::test]
async fn what_was_accepted_before_the_tokens_of_the_day_were_spent_waits_for_the_next() {
    let place = place();
    let world = open_with(place.path(), Vec::new(), &[("TERCEL_TOKENS_PER_DAY", "2"), ("TERCEL_OPEN_RUNS", "1")]).await;
    let session = world.session(json!({"type": "none"})).await;
    let (first, second) = (world.say(&session, "one").await, world.say(&session, "two").await);
    world.work();
    assert_eq!(world.ended(&first).await["status"], "complete");
    let waiting = world.ended(&second).await;
    assert_eq!(
        (&waiting["status"], &waiting["error"]["code"]),
        (&json!("waiting"), &json!("rate_limited")),
        "{waiting:#}"
    );
    assert_eq!((world.model_calls(), world.open_notices().await), (1, vec!["ceiling:server".to_owned()]));
}
