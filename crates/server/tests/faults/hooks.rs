//! What integrations are told of runs.

use crate::{
    tools::Arguments,
    world::{World, board, open, open_with, place, start},
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercel_sdk::{
    Error, Host, Integration, Kind, Mode, Outbound, Receipt, Result, Target, dispatcher,
    hook::{self, HookEvent},
    reads,
};

/// What was told: the event's name, the event, and the host's view of the run.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Seen>>>);

type Seen = (&'static str, Value, Option<Target>, Mode);

impl Told {
    fn note<E: HookEvent>(&self) -> impl Fn(Host, E) -> BoxFuture<'static, Result<()>> + Send + Sync + Clone + 'static {
        let told = self.0.clone();
        move |host: Host, event: E| {
            let told = told.clone();
            Box::pin(async move {
                if E::NAME == hook::BeforeContextAssembly::NAME {
                    // However long it takes, it is told before what comes after it.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let seen = (E::NAME, serde_json::to_value(event)?, host.ids().target.clone(), host.mode());
                told.lock().unwrap().push(seen);
                Ok(())
            })
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|(name, ..)| *name).collect()
    }

    fn of(&self, name: &str) -> Vec<Value> {
        let told = self.0.lock().unwrap();
        told.iter().filter(|(told, ..)| *told == name).map(|(_, event, ..)| event.clone()).collect()
    }

    async fn ended(&self, world: &World, count: usize) {
        world.until("the ends are told", async || (self.of("after_task_complete").len() >= count).then_some(())).await;
    }
}

async fn answers(_: Host, _: Arguments) -> Result<Value> {
    Ok(json!("fine"))
}

async fn posts(_: Host, _: Arguments, _: Outbound) -> Result<Receipt> {
    Ok(Receipt::default())
}

fn watching(told: &Told) -> Integration {
    board()
        .tool("board_read", reads(answers))
        .dispatcher(dispatcher(posts))
        .on(told.note::<hook::BeforeContextAssembly>())
        .on(told.note::<hook::BeforeLlmCall>())
        .on(told.note::<hook::AfterLlmCall>())
        .on(told.note::<hook::BeforeToolExecution>())
        .on(told.note::<hook::AfterToolCall>())
        .on(told.note::<hook::AfterResponse>())
        .on(told.note::<hook::AfterTaskComplete>())
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn every_event_of_a_run_is_told_in_order_and_with_all_it_has() {
    let (told, place) = (Told::default(), place());
    let world = start(place.path(), vec![watching(&told)]).await;
    let session = world.session(json!({"type": "board", "token": "t-very-secret", "room": 7})).await;
    let task = world.say(&session, "call board_read").await;
    world.ended(&task).await;
    told.ended(&world, 1).await;
    assert_eq!(
        told.names(),
        [
            "before_context_assembly",
            "before_llm_call",
            "after_llm_call",
            "before_tool_execution",
            "after_tool_call",
            "before_llm_call",
            "after_llm_call",
            "after_response",
            "after_task_complete",
        ]
    );
    let context = json!({
        "bot_id": "default", "session_id": session, "channel_id": null, "client_id": "test:place", "correlation_id": task,
    });
    for (name, event, target, mode) in told.0.lock().unwrap().iter() {
        assert_eq!(event["context"], context, "{name}");
        let target = target.as_ref().unwrap_or_else(|| panic!("{name}: the answer goes to this integration"));
        assert_eq!((target.config["room"].clone(), *mode), (json!(7), Mode::Live));
        assert_ne!(target.config["token"], "t-very-secret", "{name}");
    }
    let call = "context model message_count tools_count provider_id iteration";
    let answer = "context model duration_ms prompt_tokens completion_tokens total_tokens tool_calls_count fallback_used \
                  fallback_model iteration provider_id";
    for (name, expected) in [
        ("before_context_assembly", "context user_message"),
        ("before_llm_call", call),
        ("after_llm_call", answer),
        ("before_tool_execution", "context tool_name tool_type args iteration"),
        ("after_tool_call", "context tool_name tool_args duration_ms"),
        ("after_response", "context response_length tool_calls_made"),
        ("after_task_complete", "context task_id task_type status"),
    ] {
        for event in told.of(name) {
            assert_eq!(keys(&event), expected.split_whitespace().collect(), "{name}");
        }
    }
    assert_eq!(told.of("before_context_assembly")[0]["user_message"], "call board_read");
    let iterations = |name: &str| told.of(name).iter().map(|event| event["iteration"].clone()).collect::<Vec<_>>();
    assert_eq!(iterations("before_llm_call"), [json!(1), json!(2)]);
    assert_eq!(iterations("after_llm_call"), [json!(1), json!(2)]);
    let after = &told.of("after_llm_call")[0];
    assert_eq!((&after["total_tokens"], &after["tool_calls_count"]), (&json!(2), &json!(1)));
    let tool = &told.of("before_tool_execution")[0];
    assert_eq!(
        (&tool["tool_name"], &tool["tool_type"], &tool["args"]),
        (&json!("board_read"), &json!("local"), &json!({}))
    );
    assert_eq!(told.of("after_tool_call")[0]["tool_name"], "board_read");
    let response = &told.of("after_response")[0];
    assert_eq!((&response["response_length"], &response["tool_calls_made"]), (&json!(4), &json!(["board_read"])));
    let end = &told.of("after_task_complete")[0];
    assert_eq!((&end["task_id"], &end["status"]), (&json!(task), &json!("complete")));
}

#[tokio::test]
async fn the_end_of_a_run_that_is_cancelled_before_it_began_is_told() {
    let (told, place) = (Told::default(), place());
    let world = open(place.path(), vec![watching(&told)]).await;
    let session = world.session(json!({"type": "none"})).await;
    let task = world.say(&session, "hello").await;
    for _ in 0..2 {
        world.call("POST", &format!("/api/v1/tasks/{task}/cancel"), Value::Null).await;
    }
    told.ended(&world, 1).await;
    world.work();
    let other = world.say(&session, "hello").await;
    world.ended(&other).await;
    told.ended(&world, 2).await;
    let ends = told.of("after_task_complete");
    let ends: Vec<_> = ends.iter().map(|end| (end["task_id"].clone(), end["status"].clone())).collect();
    assert_eq!(ends, [(json!(task), json!("cancelled")), (json!(other), json!("complete"))], "each once");
    assert_eq!(told.of("after_task_complete")[0]["context"]["client_id"], "test:place");
}

#[tokio::test]
async fn a_run_that_takes_too_long_fails_tells_what_it_called_and_counts_what_was_cut_off() {
    let (told, place) = (Told::default(), place());
    let world = open_with(place.path(), vec![watching(&told)], &[("TERCEL_RUN_SECONDS", "1")]).await;
    world.work();
    let session = world.session(json!({"type": "none"})).await;
    let task = world.say(&session, "call board_read\nthen say nothing").await;
    let ended = world.ended(&task).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("timeout")), "{ended:#}");
    assert_eq!(ended["error"]["message"], "The run took longer than 1 seconds");
    // One and one of the first call, and about what the second was sent.
    assert!(ended["prompt_tokens"].as_i64() > Some(10), "{ended:#}");
    told.ended(&world, 1).await;
    let response = &told.of("after_response")[0];
    assert_eq!((&response["error"], &response["tool_calls_made"]), (&json!(true), &json!(["board_read"])));
    assert_eq!(told.of("after_task_complete")[0]["status"], "failed");
}

#[tokio::test]
async fn a_hook_that_fails_each_time_rests() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let failing = move |_: Host, _: hook::BeforeContextAssembly| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Err::<(), _>(Error::new(Kind::Error, "no")) }
    };
    let (told, place) = (Told::default(), place());
    let integration = board().on(failing).on(told.note::<hook::AfterTaskComplete>());
    let world = start(place.path(), vec![integration]).await;
    let session = world.session(json!({"type": "none"})).await;
    for run in 1..=8 {
        let task = world.say(&session, "hello").await;
        world.ended(&task).await;
        // The end of a run is told after its beginning.
        told.ended(&world, run).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}
