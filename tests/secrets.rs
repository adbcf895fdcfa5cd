//! Secrets that services and models repeat are nowhere to be seen: not stored, not shown, not logged, not passed on.

use serde_json::json;
use std::{fs, path::Path};
use tercel_tests::{
    Receiver, Turn, World, events,
    github::{Fault, On, reads_pull_request},
    server::KEY,
    until,
};

const TOKEN: &str = "ghp_canary-of-the-token-0123456789";
const TARGET_TOKEN: &str = "xoxb-canary-of-the-target-0123456789";
const LLM_KEY: &str = "sk-canary-of-the-model-0123456789";
/// `x-access-token:` and the token, as Git sends them.
const TOKEN_AS_BASIC: &str = "eC1hY2Nlc3MtdG9rZW46Z2hwX2NhbmFyeS1vZi10aGUtdG9rZW4tMDEyMzQ1Njc4OQ==";
/// The last one is the token in base64.
const CANARIES: [&str; 6] = [TOKEN, TARGET_TOKEN, LLM_KEY, events::SECRET, KEY, "Z2hwX2NhbmFyeS1vZi10aGUtdG9rZW4"];
const MASK: &str = "••••••••";

/// Everything that talks to the server repeats every secret it could know.
fn world_of_parrots() -> World {
    let world = World::start_with(|options| options.allow_loopback().env("LLM_API_KEY", LLM_KEY));
    let saved = json!({"settings": {"GITHUB_TOKEN": TOKEN}});
    world.server.put("/api/v1/admin/integrations/github/settings", saved).accepted();
    world.github.quotes(&format!(" It said {TOKEN}, {}, {TOKEN_AS_BASIC}.", events::SECRET));
    world
}

#[track_caller]
fn is_clean(what: &str, text: &[u8]) {
    for canary in CANARIES {
        let found = text.windows(canary.len()).position(|window| window == canary.as_bytes());
        if let Some(at) = found {
            let near = String::from_utf8_lossy(&text[at.saturating_sub(200)..(at + 100).min(text.len())]).into_owned();
            panic!("`{canary}` is in {what}: {near}");
        }
    }
}

fn every_file(directory: &Path, look: &mut impl FnMut(&Path, Vec<u8>)) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => every_file(&entry.path(), look),
            kind if kind.is_file() => look(&entry.path(), fs::read(entry.path()).unwrap()),
            _ => {}
        }
    }
}

/// Reads all that the server tells, keeps and has sent.
fn nothing_leaked(mut world: World, receiver: &Receiver) {
    let mut told = String::new();
    for list in ["tasks", "sessions", "deliveries", "outbox", "notices", "bots", "channels", "keys", "tools"] {
        for row in world.server.list(&format!("/api/v1/{list}")) {
            told += &row.to_string();
            let mut look = |path: String| told += &world.server.get(&path).text();
            let Some(id) = row["id"].as_str() else { continue };
            match list {
                "tasks" => {
                    look(format!("/api/v1/tasks/{id}"));
                    look(format!("/api/v1/tasks/{id}/trace"));
                    look(format!("/api/v1/tasks/{id}/events"));
                }
                "sessions" => look(format!("/api/v1/sessions/{id}/messages")),
                "deliveries" | "outbox" => look(format!("/api/v1/{list}/{id}")),
                _ => {}
            }
        }
    }
    for path in ["", "/github/settings", "/github/connection", "/github/webhook"] {
        told += &world.server.get(&format!("/api/v1/admin/integrations{path}")).text();
    }
    told += &world.server.get("/metrics").text();
    assert!(told.contains(MASK), "nobody repeated a secret: this test tests nothing");
    is_clean("an answer of the API", told.as_bytes());
    is_clean("the log", world.server.log().as_bytes());
    for asked in world.model.asked() {
        is_clean("what the model was told", asked.0.to_string().as_bytes());
    }
    for request in world.github.requests() {
        is_clean("what GitHub was told", format!("{} {:?} ", request.path, request.query).as_bytes());
        is_clean("what GitHub was told", &request.body);
    }
    receiver.received().iter().for_each(|request| is_clean("what the receiver was told", &request.body));
    let directory = world.server.options.data_directory().to_owned();
    let check = || {
        let mut files = 0;
        every_file(&directory, &mut |path, bytes| {
            files += 1;
            is_clean(path.to_str().unwrap(), &bytes);
        });
        assert!(files >= 2, "the database and the key are there");
    };
    check();
    world.server.stop();
    check();
    is_clean("the log", world.server.log().as_bytes());
}

#[test]
fn secrets_that_a_tool_and_a_model_repeat() {
    let world = world_of_parrots();
    world.model.script(|asked| match asked.results().len() {
        0 => reads_pull_request(1),
        1 => Turn::TextAndCalls(
            format!("I shall put {TOKEN} into an address."),
            vec![("github_get_file".into(), json!({"repo": "octo/hello", "path": format!("{TOKEN}/{KEY}")}))],
        ),
        _ => Turn::Text(format!("{} I know {TOKEN} and {LLM_KEY}.", asked.results().join("\n"))),
    });
    let task = world.server.github_task(&events::pull_request("opened", 1));
    let result = world.server.complete(&task)["result"].as_str().unwrap().to_owned();
    assert!(result.contains(&format!("It said {MASK}, {MASK}, ")), "{result}");
    assert!(result.contains(&format!("I know {MASK} and [LLM_API_KEY].")), "{result}");
    world.server.outbox(&task, &["sent"]);
    assert_eq!(world.github.comments().len(), 1);
    nothing_leaked(world, &Receiver::start());
}

#[test]
fn secrets_in_failures_of_tools_and_models() {
    let world = world_of_parrots();
    world.github.fail(On::Reads, Fault::Status(404, vec![]));
    world.model.script(|asked| match asked.results().len() {
        0 => reads_pull_request(1),
        _ => Turn::Status(400, vec![], json!({"error": {"message": format!("{TOKEN} is no {LLM_KEY}"), "code": "x"}})),
    });
    let task = world.server.github_task(&events::pull_request("opened", 1));
    let failed = world.server.wait_for(&task, &["failed", "complete"]);
    assert!(failed["error"]["message"].as_str().unwrap().contains(&format!("{MASK} is no ")), "{failed:#}");
    let called = world
        .server
        .post("/api/v1/tools/github_get_pr/call", json!({"arguments": {"repo": "octo/hello", "number": 1}}))
        .expect(200);
    assert!(called["error"]["message"].as_str().unwrap().contains(&format!("It said {MASK}")), "{called:#}");
    nothing_leaked(world, &Receiver::start());
}

#[test]
fn secrets_in_failures_of_dispatchers() {
    let world = world_of_parrots();
    world.github.fail(On::Posts, Fault::Status(422, vec![]));
    let task = world.server.github_task(&events::pull_request("opened", 1));
    let row = world.server.outbox(&task, &["dead", "sent"]);
    assert!(row["error"]["message"].as_str().unwrap().contains(&format!("It said {MASK}")), "{row:#}");
    world.server.notice("dead:github");

    let receiver = Receiver::start();
    receiver.quotes(TARGET_TOKEN);
    receiver.answers(&[422]);
    let target =
        json!({"type": "webhook", "url": receiver.url(), "token": TARGET_TOKEN, "nested": {"password": TARGET_TOKEN}});
    let made =
        world.server.post("/api/v1/sessions", json!({"client_id": "web:alice", "dispatch_config": target})).expect(201);
    let ask = json!({"content": "hello", "notify": false});
    let task = world.server.ask_with(made["session_id"].as_str().unwrap(), ask);
    let row = world.server.outbox(&task, &["dead", "sent"]);
    assert!(row["error"]["message"].as_str().unwrap().contains(&format!("\"said\":\"{MASK}\"")), "{row:#}");
    nothing_leaked(world, &receiver);
}

#[test]
fn secrets_in_the_test_of_a_connection() {
    let world = world_of_parrots();
    world.github.fail(On::User, Fault::Status(403, vec![]));
    let path = "/api/v1/admin/integrations/github/connection";
    // The test at the start does not know what is typed later: it must be over before that is quoted.
    until("the test at the start", || world.server.log().contains("Tested the connection").then_some(()));
    let saved = world.server.post(&format!("{path}/test"), json!({})).expect(200);
    assert!(saved["message"].as_str().unwrap().contains(&format!("It said {MASK}")), "{saved:#}");
    let draft = "ghp_not-saved-0123456789";
    world.github.quotes(&format!(" {draft} is wrong, {TOKEN} was right."));
    let tested = world.server.post(&format!("{path}/connect?insist=true"), json!({"token": draft})).text();
    assert!(tested.contains(&format!("{MASK} is wrong, {MASK} was right.")), "{tested}");
    assert!(!tested.contains(draft) && !world.server.log().contains(draft));
    nothing_leaked(world, &Receiver::start());
}

#[test]
fn the_log_holds_no_body() {
    let world = World::start();
    world.model.script(|asked| match asked.results().as_slice() {
        [] => reads_pull_request(1),
        _ => Turn::text("Looks good."),
    });
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    world.github.wait_for_comments(1);
    let log = world.server.log();
    for text in
        ["ghp_of_the_tests", "sk-of-the-tests", events::SECRET, KEY, "Greets everybody in the room", "Looks good."]
    {
        assert!(!log.contains(text), "`{text}` is in the log:\n{log}");
    }
}

#[test]
fn secrets_of_a_target_are_kept_for_the_dispatcher_alone() {
    let world = World::start_with(|options| options.allow_loopback());
    let receiver = Receiver::start();
    let config = json!({"type": "webhook", "url": receiver.url(), "token": "xoxb-very-secret", "nested": {"password": "pa55-very-secret"}});
    let made =
        world.server.post("/api/v1/sessions", json!({"client_id": "web:alice", "dispatch_config": config})).expect(201);
    let session = made["session_id"].as_str().unwrap();
    let task = world.server.ask(session, "hello");
    world.server.complete(&task);
    world.server.outbox(&task, &["sent"]);
    for path in [
        "/api/v1/outbox".into(),
        "/api/v1/tasks".into(),
        format!("/api/v1/tasks/{task}"),
        format!("/api/v1/tasks/{task}/trace"),
        format!("/api/v1/sessions/{session}/messages"),
    ] {
        let text = world.server.get(&path).text();
        assert!(!text.contains("very-secret"), "{path}: {text}");
    }
    let database: Vec<u8> = std::fs::read_dir(world.server.options.data_directory())
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path()).ok())
        .flatten()
        .collect();
    for secret in ["xoxb-very-secret", "pa55-very-secret"] {
        assert!(
            !database.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "`{secret}` lies open in the data directory"
        );
    }
    assert!(!world.server.log().contains("very-secret"));
}
