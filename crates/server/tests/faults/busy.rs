//! Parts that compute without an end and never let go of their thread.

use crate::{
    tools::Arguments,
    webhooks::{scheme, signed},
    world::{World, board, open_with, place, start},
};
use futures::future::join_all;
use serde_json::{Map, Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tercel_sdk::{
    Checked, Dedupe, Depth, Host, Inbound, Integration, Outbound, Outcome, Receipt, Received, Refusal, Result,
    dispatcher, hook, writes,
};

/// Keeps the threads of busy parts until the test is over.
#[derive(Clone, Default)]
struct Busy(Arc<AtomicBool>);

impl Busy {
    #[expect(clippy::disallowed_methods, reason = "this is the part that keeps a thread")]
    fn wait(&self) {
        while !self.0.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Lets them go, also when the test fails: the runtime would wait for them.
struct Until(Busy);

impl Drop for Until {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::SeqCst);
    }
}

fn busy() -> (Busy, Until) {
    let busy = Busy::default();
    (busy.clone(), Until(busy))
}

async fn call(world: &World, tool: &str) -> Value {
    world.call("POST", &format!("/api/v1/tools/{tool}/call"), json!({})).await["error"].clone()
}

#[tokio::test]
async fn a_tool_is_left_behind_in_time_and_not_called_for_ever() {
    let (busy, _until) = busy();
    let tool = move |_: Host, _: Arguments| {
        let busy = busy.clone();
        async move {
            busy.wait();
            Ok(json!("late"))
        }
    };
    let place = place();
    let world = start(place.path(), vec![board().tool("board_compute", writes(tool))]).await;
    for error in join_all((0..8).map(|_| call(&world, "board_compute"))).await {
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("unknown_outcome"), &json!("The tool `board_compute` took longer than 0.5 seconds"))
        );
    }
    let error = call(&world, "board_compute").await;
    assert_eq!(error["code"], "network", "surely nothing was done: {error}");
    assert!(error["message"].as_str().unwrap().contains("8 earlier calls of it have not come back"), "{error}");
    let session = world.session(json!({"type": "none"})).await;
    let task = world.say(&session, "hello").await;
    assert_eq!(world.ended(&task).await["result"], "You said: hello", "others work");
}

#[tokio::test]
async fn what_a_dispatcher_did_that_is_left_behind_is_unknown() {
    let (busy, _until) = busy();
    let deliver = move |_: Host, _: Map<String, Value>, _: Outbound| {
        let busy = busy.clone();
        async move {
            busy.wait();
            Ok(Receipt::default())
        }
    };
    let place = place();
    let world = start(place.path(), vec![board().dispatcher(dispatcher(deliver))]).await;
    let session = world.session(json!({"type": "board"})).await;
    let task = world.say(&session, "hello").await;
    let row = world.row(&task, "held").await;
    assert_eq!(row["error"]["message"], "Sending by `board` took longer than 0.5 seconds");
}

#[tokio::test]
async fn a_test_of_a_connection_and_a_hook_hold_nobody_up() {
    let (busy, _until) = busy();
    let (checks, watches) = (busy.clone(), busy);
    let integration = board()
        .connector(move |_: Host| {
            let busy = checks.clone();
            async move {
                busy.wait();
                Ok(Checked { depth: Depth::Auth, account: None, account_id: None, message: "late".into() })
            }
        })
        .on(move |_: Host, _: hook::BeforeContextAssembly| {
            let busy = watches.clone();
            async move {
                busy.wait();
                Ok(())
            }
        });
    let place = place();
    let world = start(place.path(), vec![integration]).await;
    let test = world.call("POST", "/api/v1/admin/integrations/board/connection/test", json!({})).await;
    assert_eq!((&test["ok"], &test["code"]), (&json!(false), &json!("timeout")), "{test}");
    let session = world.session(json!({"type": "none"})).await;
    let task = world.say(&session, "hello").await;
    assert_eq!(world.ended(&task).await["result"], "You said: hello");
}

/// Computes for as long as it is busy when the post says so.
fn reading(busy: Busy) -> Integration {
    board().webhook(move |_: Host, request: Inbound| -> Result<Received, Refusal> {
        let request = request.signed(&scheme())?;
        let said: Value = request.json()?;
        if said["text"] == "compute" {
            busy.wait();
        }
        Ok(Received { dedupe: Dedupe::Never, name: "post".into(), outcome: Outcome::Ignored("read".into()) })
    })
}

fn post(world: &Arc<World>, text: &str) -> tokio::task::JoinHandle<(u16, Value)> {
    let (world, body) = (world.clone(), json!({"text": text}).to_string());
    tokio::spawn(async move { world.webhook(signed(&body, Duration::ZERO), &body).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_never_comes_back_from_a_request_takes_one_thread_and_is_told() {
    let (busy, _until) = busy();
    let place = place();
    let world = Arc::new(open_with(place.path(), vec![reading(busy.clone())], &[]).await);
    tokio::spawn(tercel::receiving::watch(world.app.clone()));
    let first = post(&world, "compute");
    let second = post(&world, "compute");
    // One of them has a thread that serves everybody else, the other one has its own and is given up.
    let notice = "webhook:board".to_owned();
    world.until("it is told", async || world.open_notices().await.contains(&notice).then_some(())).await;
    let (status, answer) = post(&world, "quick").await.unwrap();
    let fault = "The webhook of `board` has a fault: it is still reading an earlier request";
    assert_eq!((status, &answer["detail"]), (503, &json!(fault)));
    world.get("/health").await;

    busy.0.store(true, Ordering::SeqCst);
    let mut answers = [first.await.unwrap().0, second.await.unwrap().0];
    answers.sort_unstable();
    assert_eq!(answers, [200, 503]);
    world.until("it is over", async || (!world.open_notices().await.contains(&notice)).then_some(())).await;
    assert_eq!(post(&world, "quick").await.unwrap().0, 200);
}

#[tokio::test]
async fn where_there_is_one_thread_a_webhook_is_read_beside_it_and_given_up_in_time() {
    let (busy, _until) = busy();
    let place = place();
    let world = Arc::new(open_with(place.path(), vec![reading(busy)], &[]).await);
    let (status, answer) = post(&world, "compute").await.unwrap();
    assert_eq!((status, &answer["detail"]), (503, &json!("The webhook of `board` has a fault; nothing was stored")));
    world.get("/health").await;
}
