//! What is asked for when something happens in a run.

use super::{bench, made, wrong};
use serde_json::json;
use tercel_sdk::{
    Target,
    hook::{AfterTaskComplete, AfterToolCall, Context, Watches},
    host::Ids,
};

pub const WATCHES: &str = r#"
fields: [{key: log, type: text}]
http: {base: "https://api.forge.example"}
dispatch: {target: {room: {type: string}, about: {type: string, default: null}}, deliver: {post: /posts, json: {text: "{{ text }}"}}}
hooks:
  - on: after_tool_call
    when: target.about
    post: "/rooms/{{ target.room }}/marks"
    json: {of: "{{ target.about }}", mark: "{{ event.tool_name }}"}
  - on: after_tool_call
    when: fields.log
    runs: all
    post: "/logs/{{ fields.log }}"
    json: {text: "{{ event.tool_name }} by {{ context.bot_id }}: {{ event.tool_args.path }}", ms: "{{ event.duration_ms }}"}
"#;

fn called(args: serde_json::Value) -> AfterToolCall {
    let context = Context { bot_id: Some("default".into()), ..Context::default() };
    AfterToolCall { context, tool_name: "crm_look".into(), tool_args: args, duration_ms: 7 }
}

fn run_of(kind: &str) -> Ids {
    let target = json!({"room": "a b", "about": "m/1", "other": "x"});
    Ids { target: Some(Target::new(kind, target)), ..Ids::default() }
}

#[tokio::test]
async fn a_request_is_made_when_its_condition_holds() {
    let (bench, fake) = bench(WATCHES);
    fake.on("POST /rooms/a%20b/marks", 200, json!({}));
    fake.on("POST /logs/all", 200, json!({}));
    let bench = bench.ids(run_of("forge"));
    bench.tell(called(json!({"path": "{{ 7*7 }}"}))).await.unwrap();
    let sent = |number: usize| serde_json::from_slice::<serde_json::Value>(&fake.requests()[number].body).unwrap();
    assert_eq!(fake.requests().len(), 1, "nobody wants a log");
    assert_eq!(sent(0), json!({"of": "m/1", "mark": "crm_look"}));
    let bench = bench.with("log", "all");
    bench.tell(called(json!({"path": "{{ 7*7 }}"}))).await.unwrap();
    assert_eq!(sent(2), json!({"text": "crm_look by default: {{ 7*7 }}", "ms": 7}));
    let bench = bench.ids(run_of("other"));
    bench.tell(called(json!(null))).await.unwrap();
    assert_eq!(fake.requests().len(), 4, "the target of another integration is none of its own");
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_not_repeated() {
    let (bench, fake) = bench(WATCHES);
    fake.on("POST /rooms/a%20b/marks", 500, json!({}));
    let error = bench.ids(run_of("forge")).tell(called(json!({}))).await.unwrap_err();
    assert_eq!((error.status, fake.requests().len()), (Some(500), 1));
}

#[test]
fn a_hook_says_which_runs_it_is_about() {
    let watches: Vec<_> = made(WATCHES).hooks.iter().map(|hook| (hook.event, hook.watches)).collect();
    assert_eq!(watches, [("after_tool_call", Watches::Stake), ("after_tool_call", Watches::All)]);
}

#[test]
fn a_hook_has_an_event_and_a_request() {
    let hook = |rest: &str| wrong(&format!("http: {{base: \"https://a.example\"}}\nhooks: [{{{rest}}}]\n"));
    assert!(hook("on: after_tool_cal, get: /x").contains("is `after_tool_call` meant?"));
    assert!(hook("on: before_transcription, get: /x").contains("There is no event `before_transcription`"));
    assert!(hook("on: after_response").contains("A hook needs a request"));
    assert!(hook("on: after_response, get: \"/{{ target.room }}\"").contains("There is no `target.room`"));
    assert!(hook("on: after_response, get: \"/{{ evnt.x }}\"").contains("is `event` meant?"));
    assert!(hook("on: after_response, when: secrets.x, get: /x").contains("Secrets can stand in requests only"));
    assert!(hook("on: after_response, runs: some, get: /x").contains("some"));
}

#[tokio::test]
async fn the_end_of_a_run_is_an_event_like_others() {
    let (bench, fake) = bench(
        "http: {base: \"https://a.example\"}\nhooks: [{on: after_task_complete, post: \"/{{ event.task_id }}/{{ event.status }}\"}]\n",
    );
    fake.on("POST /7/complete", 204, json!(""));
    let context = Context::default();
    let event =
        AfterTaskComplete { context, task_id: "7".into(), task_type: "message".into(), status: "complete".into() };
    bench.tell(event).await.unwrap();
    assert_eq!(fake.requests().len(), 1);
}
