//! What happens in runs, as hooks of folders hear of it.

use crate::world::{PATIENCE, loads, options, put, root};
use serde_json::{Value, json};
use tercel_tests::{FakeModel, Receiver, Server, Turn, wait::until_within};

const HEARING: &str = r#"
import os
import httpx
from app.agent.hooks import HookContext, register_hook


def body(event, ctx, more):
    return {"event": event, "bot_id": ctx.bot_id, "session_id": ctx.session_id, "client_id": ctx.client_id,
            "correlation_id": ctx.correlation_id, "extra": ctx.extra, "more": sorted(more)}


def awaited(event):
    async def told(ctx: HookContext, **more) -> None:
        async with httpx.AsyncClient() as client:
            await client.post(os.environ["HEARING_URL"], json=body(event, ctx, more))
        raise RuntimeError("nobody minds")
    return told


def plain(event):
    def told(ctx: HookContext, **more) -> str:
        httpx.post(os.environ["HEARING_URL"], json=body(event, ctx, more))
        return "nobody minds"
    return told


for event in ("before_context_assembly", "after_llm_call", "after_tool_call", "after_task_complete"):
    register_hook(event, awaited(event))
for event in ("before_llm_call", "before_tool_execution", "after_response"):
    register_hook(event, plain(event))
"#;

const NOTHING: &str = r#"
from integrations._register import register


@register({"type": "function", "effect": "read", "function": {"name": "hearing_look", "description": "Looks",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}})
def look(at):
    return "seen"
"#;

const STAKE: &str = r#"
from app.agent.hooks import IntegrationMeta, register_hook, register_integration

register_integration(IntegrationMeta("room", "room:"))
register_hook("after_response", lambda ctx, **more: print("heard of", ctx.client_id, flush=True))
"#;

#[test]
fn a_folder_hears_of_every_event_of_a_run_in_order_and_with_all_it_has() {
    let (model, service) = (FakeModel::start(), Receiver::start());
    let options = options().model(&model).env("HEARING_URL", &service.url());
    let setup = "SETUP = {'hooks': 'all', 'env_vars': [{'key': 'HEARING_URL', 'required': True}]}\n";
    put(&root(&options), "hearing", &[("hooks.py", HEARING), ("setup.py", setup), ("tools/look.py", NOTHING)]);
    let server = Server::start(options);
    loads(&server, "hearing");
    model.queue([Turn::call("hearing_look", json!({"at": "it"})), Turn::text("I saw it.")]);
    let body = json!({"message": "Look at it", "client_id": "web:1", "execution_config": {"tools": ["hearing_look"]}});
    let answer = server.post("/chat", body).expect(200);
    let heard: Vec<Value> = service.wait_for(9).iter().map(|request| request.json()).collect();
    let told: Vec<(&str, Vec<&str>)> = heard
        .iter()
        .map(|event| {
            let mut keys: Vec<&str> = event["extra"].as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            (event["event"].as_str().unwrap(), keys)
        })
        .collect();
    let asks = vec!["iteration", "message_count", "model", "provider_id", "tools_count"];
    let answers = vec![
        "completion_tokens",
        "duration_ms",
        "fallback_model",
        "fallback_used",
        "iteration",
        "model",
        "prompt_tokens",
        "provider_id",
        "tool_calls_count",
        "total_tokens",
    ];
    let expected = vec![
        ("before_context_assembly", vec!["user_message"]),
        ("before_llm_call", asks.clone()),
        ("after_llm_call", answers.clone()),
        ("before_tool_execution", vec!["args", "iteration", "tool_name", "tool_type"]),
        ("after_tool_call", vec!["duration_ms", "tool_args", "tool_name"]),
        ("before_llm_call", asks),
        ("after_llm_call", answers),
        ("after_response", vec!["response_length", "tool_calls_made"]),
        ("after_task_complete", vec!["status", "task_id", "task_type"]),
    ];
    assert_eq!(told, expected);
    for event in &heard {
        assert_eq!((&event["bot_id"], &event["client_id"]), (&json!("default"), &json!("web:1")), "{event:#}");
        assert_eq!((&event["session_id"], &event["correlation_id"]), (&answer["session_id"], &answer["task_id"]));
        let is_last = event["event"] == "after_task_complete";
        assert_eq!(event["more"], if is_last { json!(["status", "task"]) } else { json!([]) });
    }
    assert_eq!(
        (&heard[0]["extra"]["user_message"], &heard[1]["extra"]["iteration"]),
        (&json!("Look at it"), &json!(1))
    );
    let tool = &heard[3]["extra"];
    assert_eq!((&tool["tool_type"], &tool["args"]), (&json!("local"), &json!({"at": "it"})));
    assert_eq!(heard[7]["extra"], json!({"response_length": 9, "tool_calls_made": ["hearing_look"]}));
    assert_eq!(heard[8]["extra"]["status"], "complete");
}

#[test]
fn a_folder_hears_of_runs_that_it_has_a_stake_in_and_is_not_started_for_others() {
    let model = FakeModel::start();
    let options = options().model(&model);
    put(&root(&options), "room", &[("hooks.py", STAKE)]);
    let server = Server::start(options);
    loads(&server, "room");
    for client_id in ["web:1", "room:1"] {
        server.post("/chat", json!({"message": "hello", "client_id": client_id})).expect(200);
    }
    let log = until_within(PATIENCE, "what it hears", || {
        let log = server.get("/api/v1/admin/integrations/room/logs").expect(200).to_string();
        log.contains("heard of room:1").then_some(log)
    });
    assert!(!log.contains("heard of web:1"), "{log}");
}
