use crate::world::{World, board, place, start};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tercel_sdk::{Host, Integration, Result, Trust, hook, reads, writes};

pub type Arguments = BTreeMap<String, Value>;

pub async fn panics(_: Host, _: Arguments) -> Result<Value> {
    panic!("the tool fell over")
}

pub async fn hangs(_: Host, _: Arguments) -> Result<Value> {
    std::future::pending().await
}

async fn answers(_: Host, _: Arguments) -> Result<Value> {
    Ok(json!("fine"))
}

/// What the model reads when it calls the tool.
async fn told(integration: Integration, tool: &str) -> Value {
    let place = place();
    let world = start(place.path(), vec![integration]).await;
    let session = world.session(json!({"type": "none"})).await;
    let task = world.say(&session, &format!("call {tool}")).await;
    let ended = world.ended(&task).await;
    assert_eq!(ended["status"], "complete", "{ended:#}");
    serde_json::from_str(ended["result"].as_str().unwrap()).unwrap_or_else(|_| panic!("{ended:#}"))
}

#[tokio::test]
async fn one_that_panics_hurts_its_call_only() {
    let said = told(board().tool("board_read", reads(panics)), "board_read").await;
    assert_eq!(said["error"], "The tool `board_read` has a fault: it panicked (the tool fell over)");
    assert_eq!((&said["code"], &said["note"]), (&json!("error"), &Value::Null));
}

#[tokio::test]
async fn one_that_hangs_is_given_up_in_time() {
    let said = told(board().tool("board_read", reads(hangs)), "board_read").await;
    assert_eq!(said["error"], "The tool `board_read` took longer than 0.5 seconds");
}

#[tokio::test]
async fn one_that_may_have_changed_something_says_so_when_it_fails_in_the_middle() {
    for (tool, integration) in [
        ("board_panic", board().tool("board_panic", writes(panics))),
        ("board_hang", board().tool("board_hang", writes(hangs))),
    ] {
        let said = told(integration, tool).await;
        assert_eq!(said["code"], "unknown_outcome", "{said}");
        assert!(said["note"].as_str().unwrap().contains("check before doing it again"), "{said}");
    }
}

#[tokio::test]
async fn hooks_that_hang_or_panic_hold_nothing_up() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let hanging = move |_: Host, _: hook::BeforeToolExecution| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<()>>()
    };
    let integration = board()
        .tool("board_read", reads(answers))
        .on(hanging)
        .on(async |_: Host, _: hook::AfterLlmCall| -> Result<()> { panic!("the hook fell over") });
    let place = place();
    let world = start(place.path(), vec![integration]).await;
    let session = world.session(json!({"type": "none"})).await;
    // More often than the patience with a failing hook lasts. A hook may take ten seconds.
    for _ in 0..8 {
        let task = world.say(&session, "call board_read").await;
        assert_eq!(world.ended(&task).await["result"], "fine");
    }
    // Each of them hangs still.
    world.until("all are told", async || (calls.load(Ordering::SeqCst) == 8).then_some(())).await;
}

#[tokio::test]
async fn what_a_tool_read_makes_the_answer_untrusted() {
    let place = place();
    let world = start(place.path(), vec![board().tool("board_read", reads(answers))]).await;
    let session = world.session(json!({"type": "none"})).await;
    for (text, expected) in [("hello", true), ("call board_read", false)] {
        let task = world.say(&session, text).await;
        world.ended(&task).await;
        assert_eq!(last_is_trusted(&world, &session).await, expected, "{text}");
    }
}

#[tokio::test]
async fn what_was_read_before_makes_the_next_call_untrusted() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = seen.clone();
    let tool = move |host: Host, _: Arguments| {
        noted.lock().unwrap().push(host.trust());
        async { Ok(json!("fine")) }
    };
    let place = place();
    let world = start(place.path(), vec![board().tool("board_read", reads(tool))]).await;
    let session = world.session(json!({"type": "none"})).await;
    let task = world.say(&session, "call board_read\ntwice").await;
    world.ended(&task).await;
    assert_eq!(*seen.lock().unwrap(), [Trust::Trusted, Trust::Untrusted]);
}

#[tokio::test]
async fn what_is_asked_for_and_not_there_is_said_on_the_task() {
    let place = place();
    let world = start(place.path(), vec![board()]).await;
    let session = world.session(json!({"type": "none"})).await;
    let config = json!({"tools": ["board_nothing"], "skills": ["integrations/board/nothing"]});
    let body = json!({"content": "hello", "run_agent": true, "execution_config": config});
    let posted = world.call("POST", &format!("/api/v1/sessions/{session}/messages"), body).await;
    let ended = world.ended(posted["task_id"].as_str().unwrap()).await;
    let expected = json!(["There is no skill `integrations/board/nothing`", "There is no tool `board_nothing`"]);
    assert_eq!((&ended["status"], &ended["warnings"]), (&json!("complete"), &expected));
}

async fn last_is_trusted(world: &World, session: &str) -> bool {
    let messages = world.get(&format!("/api/v1/sessions/{session}/messages")).await;
    let last = messages.as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["role"], "assistant");
    last["metadata"]["trusted"].as_bool().unwrap()
}
