//! The protocol is enough: a worker in Node's standard library has every part that one in Python has.

use crate::world::{World, call, handler, host, log, until};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode};
use serde_json::json;
use std::{fs, time::Duration};
use tercel_hosts::{Loaded, Way};
use tercel_sdk::{Dispatcher, Effect, Kind, Outbound, Target};
use uuid::Uuid;

async fn board(world: &mut World) -> Loaded {
    world.write("board/integration.yaml", include_str!("fixtures/board/integration.yaml"));
    world.write("board/worker.mjs", include_str!("fixtures/board/worker.mjs"));
    world.set("BOARD_WALL", "south");
    let board = world.load("board").await;
    assert_eq!(board.problems, [], "{:?}", log(&board));
    board
}

#[tokio::test]
async fn it_is_what_manifest_and_code_say() {
    let mut world = World::new();
    let board = board(&mut world).await;
    let it = &board.integration;
    assert_eq!(
        (board.way, it.label.as_str(), it.version.as_str(), it.tier.as_str()),
        (Way::Worker, "Notice board", "1.4.0", "paid")
    );
    let fields: Vec<_> = it.fields.iter().map(|field| (field.env.as_str(), field.secret, field.required)).collect();
    assert_eq!(fields, [("BOARD_TOKEN", true, true), ("BOARD_WALL", false, false), ("TZ", false, false)]);
    let tools: Vec<_> = it.tools.iter().map(|tool| (tool.name.as_str(), tool.effect, tool.declared)).collect();
    assert_eq!(tools, [("board_pin", Effect::Write, true), ("board_count", Effect::Read, true)]);
    assert_eq!(it.tools[0].parameters["required"], json!(["text"]));
    let routes = it.routes.as_ref().unwrap();
    assert_eq!((routes.webhook.as_deref(), routes.verify.is_some()), (Some("/webhook"), true));
    let process = it.process.as_ref().unwrap();
    assert_eq!((process.command[0].as_str(), &process.required[..]), ("node", &["BOARD_TOKEN".to_owned()][..]));
    assert_eq!(it.dispatchers["board"].limit, 200);
    assert_eq!(it.hooks.len(), 1);
    assert_eq!(board.permissions.hosts, ["board.example"]);
}

#[tokio::test]
async fn its_tools_answer_and_their_errors_keep_kind_and_hint() {
    let mut world = World::new();
    let board = board(&mut world).await;
    assert_eq!(call(&board, "board_pin", json!({"text": "a", "times": 2})).await.unwrap(), json!({"notes": 2}));
    assert_eq!(call(&board, "board_count", json!({})).await.unwrap(), json!(2));
    let error = call(&board, "board_pin", json!({"text": ""})).await.unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (Kind::Schema, Some("Write one")));
}

#[tokio::test]
async fn it_delivers_and_hears_of_events() {
    let mut world = World::new();
    let board = board(&mut world).await;
    let outbound = Outbound {
        bot_name: None,
        id: Uuid::now_v7(),
        marker: "m-1".into(),
        text: "Done".into(),
        part: 1,
        parts: 1,
        attempt: 1,
        bot_id: "default".into(),
        task_id: Some(Uuid::now_v7()),
        session_id: None,
        created_at: "2026-01-01T00:00:00Z".into(),
        client_actions: Vec::new(),
    };
    let target = Target::new("board", json!({"wall": "west"}));
    let deliver = &board.integration.dispatchers["board"].deliver;
    let receipt = deliver(host(20.0), Dispatcher::call(&target, &outbound)).await.unwrap();
    assert_eq!(receipt, json!({"id": "m-1"}));
    let event = json!({"context": {}, "tool_name": "board_pin", "tool_args": {}, "duration_ms": 3});
    assert_eq!((board.integration.hooks[0].handler)(host(20.0), event.into()).await.unwrap(), json!(null));
    until("the hook's line is in the log", || log(&board).contains(&"hook: board_pin".to_owned())).await;
}

#[tokio::test]
async fn its_routes_take_and_give_bodies_in_pieces() {
    let mut world = World::new();
    let board = board(&mut world).await;
    let pieces = stream::iter((0..64_u8).map(|piece| Ok(Bytes::from(vec![piece; 64 << 10])))).boxed();
    let request = Request::builder().method("POST").uri("/integrations/board/sum?x=1").body(pieces).unwrap();
    let routes = board.integration.routes.as_ref().unwrap();
    let answer = (routes.serve)(host(20.0), request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-length"], (64 * (64 << 10)).to_string());
    let text: Vec<Bytes> = answer.into_body().try_collect().await.unwrap();
    assert_eq!(text.concat().len(), 64);
}

#[tokio::test]
async fn what_a_manifest_says_wrong_is_said_with_line_and_nearest_key() {
    let mut world = World::new();
    for (line, expected) in [
        ("wroker: {}", "integration.yaml:3: There is no key `wroker` here; is `worker` meant?"),
        ("worker: {limits: {memory: lots}}", "is not a size such as 64KB or 512MB"),
        ("http: {base: x}", "An address begins with `/`, with `https://` or with a field"),
        ("tools: [{name: other, description: x}]", "begins with the integration's: `wrong_…`"),
        ("webhook: {verify: {standard: token}, events: code}", "There is no field `token`"),
        ("process: {command: [x], needs: [token]}", "There is no field `token`"),
        ("process: {command: [x], instances: 2}", "`instances` is 1 or each"),
        ("label: [", "integration.yaml:"),
    ] {
        world.write("wrong/integration.yaml", &format!("schema: 1\nname: wrong\n{line}\n"));
        let loaded = world.load("wrong").await;
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{line}: {problems:?}");
    }
}

#[tokio::test]
async fn a_manifest_beside_setup_is_refused_naming_both() {
    let mut world = World::new();
    world.write("both/integration.yaml", "schema: 1\nname: both\n");
    world.write("both/setup.py", "SETUP = {}\n");
    let both = world.load("both").await;
    let shown = both.problems[0].to_string();
    assert!(shown.contains("integration.yaml") && shown.contains("setup.py"), "{shown}");
}

#[tokio::test]
async fn one_that_speaks_another_version_is_told_from_one_that_is_broken() {
    let mut world = World::new();
    let worker = include_str!("fixtures/board/worker.mjs");
    for (name, code, expected) in [
        (
            "newer",
            worker.replace("protocol: 1, calls", "protocol: 2, calls"),
            "speaks version 2 of the worker protocol",
        ),
        ("other", worker.replace("{ protocol: 1, calls: open }", "[]"), "not what the worker protocol says"),
        ("gone", "process.exit(4)\n".into(), "ended with code 4 before it was ready"),
    ] {
        let manifest = format!("schema: 1\nname: {name}\nworker: {{command: [node, worker.mjs]}}\n");
        world.write(&format!("{name}/integration.yaml"), &manifest);
        world.write(&format!("{name}/worker.mjs"), &code);
        let loaded = world.load(name).await;
        assert!(loaded.problems[0].message.contains(expected), "{:?}", loaded.problems);
        assert_eq!(loaded.worker.state().state, "failing");
    }
}

#[tokio::test]
async fn a_worker_that_is_not_there_is_a_reason_in_words() {
    let mut world = World::new();
    world.write("none/integration.yaml", "schema: 1\nname: none\nworker: {command: [no-such-program]}\n");
    let none = world.load("none").await;
    assert!(none.problems[0].message.contains("no-such-program"), "{:?}", none.problems);
    assert_eq!(none.worker.state().state, "failing");
}

#[tokio::test]
async fn a_call_that_is_late_is_given_up_and_its_process_is_not_asked_what_only_ours_knows() {
    let mut world = World::new();
    world.write("slow/integration.yaml", "schema: 1\nname: slow\nworker: {command: [node, worker.mjs]}\ntools: [{name: slow_wait, description: Waits}]\n");
    let worker = include_str!("fixtures/board/worker.mjs")
        .replace("board_count: () => notes.length", "slow_wait: () => new Promise(() => {})");
    world.write("slow/worker.mjs", &worker);
    let slow = world.load("slow").await;
    assert_eq!(slow.problems, [], "{:?}", log(&slow));
    let error = crate::world::call_within(&slow, "slow_wait", json!({}), 2.0).await.unwrap_err();
    assert_eq!(error.kind, Kind::UnknownOutcome);
    assert!(!log(&slow).iter().any(|line| line.contains("Debugger listening")), "{:?}", log(&slow));
    assert!(slow.worker.state().failure.unwrap().reason.contains("took longer than 2 s"));
}

#[tokio::test]
async fn it_ends_with_its_standard_input() {
    let mut world = World::new();
    let board = board(&mut world).await;
    call(&board, "board_count", json!({})).await.unwrap();
    let pid = crate::world::pid(&board);
    tokio::time::timeout(Duration::from_secs(10), board.worker.drain(None)).await.unwrap();
    assert!(!crate::world::is_alive(pid));
    let error = handler(&board, "board_count")(host(5.0), json!({}).into()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Network);
    assert!(fs::read_dir(world.path().join("data/run")).unwrap().next().is_none(), "a socket was left");
}
