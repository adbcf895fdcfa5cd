//! The path: a signed webhook becomes an agent's answer, and everything on the way can be seen.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;
use tercel_tests::{
    FakeModel, Options, Receiver, Server, Turn, World, events,
    github::reads_pull_request,
    until,
    wait::{pause, until_within},
};

const REVIEW: &str = "Looks good. One greeting too many, though.";

/// Reads the pull request once, then says the review.
fn review(world: &World) {
    world.model.script(|asked| match asked.results().as_slice() {
        [] => reads_pull_request(1),
        _ => Turn::text(REVIEW),
    });
}

#[test]
fn a_signed_pull_request_becomes_a_comment() {
    let world = World::start();
    review(&world);

    let answer = world.server.github(&events::pull_request("opened", 1)).accepted();
    let task = answer["tasks"][0].as_str().unwrap().to_owned();
    assert_eq!(answer["status"], "processed");

    let done = world.server.complete(&task);
    assert_eq!(
        (&done["result"], &done["error"], &done["dispatch_type"]),
        (&json!(REVIEW), &Value::Null, &json!("github"))
    );
    let comments = world.github.wait_for_comments(1);
    let comment = &comments[0];
    assert_eq!((comment.repository.as_str(), comment.number, comment.in_reply_to), ("octo/hello", 1, None));
    let hidden = comment.body.strip_prefix(REVIEW).expect("the comment starts with the answer");
    assert!(hidden.trim().starts_with("<!--") && hidden.trim().ends_with("-->"), "not a hidden marker: {hidden}");
    assert_eq!(world.model.calls(), 2);
}

#[test]
fn the_agent_is_told_what_the_event_needs() {
    let world = World::start();
    review(&world);
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);

    let asked = world.model.asked();
    let (first, second) = (&asked[0], &asked[1]);
    assert!(first.tools().contains(&"github_get_pr"), "{:?}", first.tools());
    assert!(first.question().contains("Say hello 1 times"), "the event is the question: {}", first.question());
    let roles: Vec<_> = first.messages().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles[roles.len() - 2..], ["system", "user"], "the preamble stands just before the event");
    assert!(first.messages()[roles.len() - 2]["content"].as_str().unwrap().to_lowercase().contains("review"));
    let skill = first.said_by("system").join("\n");
    assert!(skill.contains("github_get_pr"), "the skill's text is in the context: {skill}");
    let [result] = second.results()[..] else { panic!("one result: {:?}", second.0) };
    assert!(result.contains("hello, everybody"), "the diff came back from the tool: {result}");
}

#[test]
fn the_trace_tells_the_whole_story() {
    let world = World::start();
    review(&world);
    let event = events::pull_request("opened", 1);
    let task = world.server.github_task(&event);
    world.server.complete(&task);
    world.server.outbox(&task, &["sent"]);

    let trace = world.server.trace(&task);
    assert_eq!(trace["delivery"]["event"], "pull_request.opened", "{trace:#}");
    assert_eq!(trace["delivery"]["state"], "processed");
    assert_eq!(trace["delivery"]["outcome"], "run");
    assert!(trace["verification"].to_string().contains("github"), "{}", trace["verification"]);
    assert_eq!(trace["session"]["client_id"], "github:octo/hello");
    assert_eq!(trace["session"]["thread"], "pr/1");
    assert_eq!((&trace["task"]["id"], &trace["task"]["status"]), (&json!(task), &json!("complete")));
    let steps = trace["steps"].as_array().unwrap();
    assert!(steps.len() >= 3, "a model's wish, a tool's result, an answer: {steps:#?}");
    let told = trace["steps"].to_string();
    assert!(told.contains("github_get_pr") && told.contains("hello, everybody") && told.contains(REVIEW), "{told}");
    let [row] = &trace["outbox"].as_array().unwrap()[..] else { panic!("one part was sent: {trace:#}") };
    assert_eq!(row["state"], "sent");
    assert_eq!(row["text"], REVIEW);
    assert_eq!(row["attempts"].as_array().map(Vec::len), Some(1), "{row:#}");
    assert_eq!(row["receipt"]["id"], world.github.comments()[0].id.to_string());
    let told = trace.to_string();
    for secret in ["ghp_of_the_tests", "sk-of-the-tests", events::SECRET] {
        assert!(!told.contains(secret), "a secret is in the trace");
    }
}

#[test]
fn the_delivery_is_listed_and_can_be_read() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    let answer = world.server.github(&event).accepted();

    let list = world.server.list("/api/v1/deliveries?integration=github");
    let [delivery] = &list[..] else { panic!("one delivery: {list:#?}") };
    assert_eq!(delivery["id"], answer["delivery_id"]);
    let expected = json!(["github", "default", "pull_request.opened", "processed", "run", "github"]);
    let told =
        ["integration", "connection", "event", "state", "outcome", "verified_by"].map(|key| delivery[key].clone());
    assert_eq!(json!(told), expected);

    let shown = world.server.get(&format!("/api/v1/deliveries/{}", delivery["id"].as_str().unwrap())).expect(200);
    assert_eq!(serde_json::from_str::<Value>(shown["body"].as_str().unwrap()).unwrap(), event.body);
    assert_eq!(shown["headers"]["x-github-event"], "pull_request");
    assert_eq!(shown["headers"]["x-hub-signature-256"], Value::Null, "what proves a request is not kept");
    assert_eq!((&shown["tasks"], &shown["answer"]), (&answer["tasks"], &Value::Null));
}

#[test]
fn an_event_that_needs_no_answer_is_kept_in_its_session() {
    let world = World::start();
    let answer = world.server.github(&events::push()).accepted();
    assert_eq!((&answer["status"], &answer["tasks"]), (&json!("stored"), &json!([])));

    let session = world.server.session("github:octo/hello");
    let messages = world.server.messages(&session);
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0]["content"].as_str().unwrap().contains("Say hello twice"));
    assert_eq!((world.model.calls(), world.github.posts()), (0, 0));
}

#[test]
fn a_person_and_the_agent_talk_over_the_api() {
    let world = World::start();
    world.model.script(|asked| Turn::Text(format!("You said: {}", asked.question())));
    let session = world.server.session("web:alice");
    for text in ["hello", "and hello again"] {
        let task = world.server.ask(&session, text);
        assert_eq!(world.server.complete(&task)["result"], format!("You said: {text}"));
    }
    let said: Vec<_> = world.server.messages(&session).iter().map(|m| json!([m["role"], m["content"]])).collect();
    let expected = [
        json!(["user", "hello"]),
        json!(["assistant", "You said: hello"]),
        json!(["user", "and hello again"]),
        json!(["assistant", "You said: and hello again"]),
    ];
    assert_eq!(said, expected);
    let second = &world.model.asked()[1];
    assert_eq!(
        (second.said_by("user"), second.said_by("assistant")),
        (vec!["hello", "and hello again"], vec!["You said: hello"])
    );
}

/// What a receiver at the session's target is told about one message, in order.
fn told(message: Value) -> Vec<Value> {
    let world = World::start_with(|options| options.allow_loopback());
    let receiver = Receiver::start();
    let target = json!({"type": "webhook", "url": receiver.url()});
    let made =
        world.server.post("/api/v1/sessions", json!({"client_id": "web:alice", "dispatch_config": target})).expect(201);
    let session = made["session_id"].as_str().unwrap();
    let sent = world.server.post(&format!("/api/v1/sessions/{session}/messages"), message).expect(201);
    if let Some(task) = sent["task_id"].as_str() {
        world.server.complete(task);
    }
    until("everything is sent", || {
        world.server.list("/api/v1/outbox").iter().all(|row| row["state"] == "sent").then_some(())
    });
    let texts = receiver.received().iter().map(|request| request.json()["result"].clone()).collect();
    let asked = world.model.asked();
    assert!(asked.iter().all(|asked| asked.question() == "The build is red"), "the agent is asked what was said");
    texts
}

#[test]
fn a_message_is_shown_where_its_session_is_followed() {
    let message = json!({"content": "The build is red", "source": "ci"});
    assert_eq!(told(message), ["[ci] The build is red"]);
}

#[test]
fn a_message_is_shown_before_the_answer_to_it() {
    let message = json!({"content": "The build is red", "source": "ci", "run_agent": true});
    assert_eq!(told(message), ["[ci] The build is red", "Understood."]);
}

#[test]
fn a_message_is_not_shown_where_it_came_from_nor_when_the_sender_wants_it_quiet() {
    let from_there = json!({"content": "The build is red", "source": "webhook", "run_agent": true});
    assert_eq!(told(from_there), ["Understood."]);
    let quiet = json!({"content": "The build is red", "source": "ci", "notify": false, "run_agent": true});
    assert_eq!(told(quiet), ["Understood."]);
}

#[test]
fn without_a_model_the_rehearsal_answers_and_says_so() {
    let model = FakeModel::start();
    let named = |options: Options| options.env("LLM_MODEL", "rehearsal");
    for options in [Options::new(), named(Options::new()), named(Options::new().model(&model))] {
        let server = Server::start(options);
        let task = server.complete(&server.ask(&server.session("web:alice"), "hello"));
        assert_eq!(task["rehearsal"], true, "{task:#}");
        let result = task["result"].as_str().unwrap().to_lowercase();
        assert!(result.contains("rehears"), "the answer does not say that no model gave it: {result}");
    }
    assert_eq!(model.calls(), 0);
}

/// The headers that prove a body, as each scheme is described by those who made it, and not with our own code.
type Proof = fn(mac: &dyn Fn(&str) -> Vec<u8>, time: i64, body: &str) -> Vec<(&'static str, String)>;

#[test]
fn an_old_request_is_refused_by_each_scheme_that_signs_the_time() {
    const SECRET: &str = "the-secret-of-these-tests-0123456789";
    let mac = |text: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(text);
        mac.finalize().into_bytes().to_vec()
    };
    let slack: Proof = |mac, time, body| {
        let signature = format!("v0={}", hex::encode(mac(&format!("v0:{time}:{body}"))));
        vec![("x-slack-request-timestamp", time.to_string()), ("x-slack-signature", signature)]
    };
    let standard: Proof = |mac, time, body| {
        let signature = format!("v1,{}", BASE64.encode(mac(&format!("msg_1.{time}.{body}"))));
        let id = ("webhook-id", "msg_1".to_owned());
        vec![id, ("webhook-timestamp", time.to_string()), ("webhook-signature", signature)]
    };
    let stripe: Proof = |mac, time, body| {
        vec![("stripe-signature", format!("t={time},v1={}", hex::encode(mac(&format!("{time}.{body}")))))]
    };
    for (scheme, proof) in [("slack", slack), ("standard", standard), ("stripe", stripe)] {
        let server = Server::start(Options::new().env("WEBHOOK_SCHEME", scheme).env("WEBHOOK_SECRET", SECRET));
        let send = |age: i64| {
            let body = json!({"text": "hello"}).to_string();
            let headers = proof(&mac, Utc::now().timestamp() - age, &body);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            server.anonymous().call("POST", "/integrations/webhook/webhook", &headers, body)
        };
        for age in [3_600, 360, -360] {
            let said = send(age).refused(403, "forbidden");
            assert!(said.contains("seconds off; 300 are allowed"), "{scheme}, {age}: {said}");
        }
        assert_eq!(server.list("/api/v1/deliveries"), [] as [Value; 0], "{scheme}");
        assert_eq!(send(200).expect(200)["status"], "processed", "{scheme}");
    }
}

/// How often the writer was given something so far.
fn groups(server: &Server) -> u64 {
    let text = server.get("/metrics").text();
    let count = text.lines().find_map(|line| line.strip_prefix("tercel_store_group_size_count "));
    count.unwrap_or_else(|| panic!("nobody counts what the writer does: {text}")).parse().unwrap()
}

#[test]
fn a_server_that_has_nothing_to_do_asks_the_database_for_nothing() {
    let world = World::start();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    world.server.outbox(&task, &["sent"]);
    let mut before = groups(&world.server);
    until_within(Duration::from_secs(60), "all is done", || {
        pause(Duration::from_secs(2));
        let now = groups(&world.server);
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    // A claim is a write, too. A sign that the server is there is left every half minute.
    pause(Duration::from_secs(6));
    let more = groups(&world.server) - before;
    assert!(more < 3, "the writer was given something {more} times");
    // It sleeps, and is woken at once by what comes.
    world.server.complete(&world.server.github_task(&events::pull_request("opened", 2)));
}

#[test]
fn everything_is_still_there_after_a_restart() {
    let mut world = World::start();
    review(&world);
    let event = events::pull_request("opened", 1);
    let task = world.server.github_task(&event);
    world.server.complete(&task);
    world.server.outbox(&task, &["sent"]);
    let before = (world.server.trace(&task), world.server.list("/api/v1/deliveries"));
    world.server.restart();
    assert_eq!((world.server.trace(&task), world.server.list("/api/v1/deliveries")), before);
    assert_eq!(world.server.github(&event).accepted()["status"], "duplicate");
    assert_eq!(world.github.comments().len(), 1);
}

#[test]
fn a_run_that_was_under_way_at_a_kill_is_finished_after_the_next_start() {
    let mut world = World::start();
    world.model.script(|asked| match asked.results().as_slice() {
        [] => reads_pull_request(1),
        _ => Turn::Never,
    });
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.model.wait_for_calls(2);
    world.server.kill9();
    review(&world);
    world.server.start_again();
    assert_eq!(world.server.complete(&task)["result"], REVIEW);
    world.github.wait_for_comments(1);
    let reads = world
        .github
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("/pulls/1") && request.header("accept").contains("diff"))
        .count();
    assert_eq!(reads, 1, "a tool whose result was committed is not called again");
}

#[test]
fn the_address_and_a_first_hint_are_in_the_log() {
    let model = FakeModel::start();
    let server = Server::start(Options::new().model(&model));
    let log = server.log();
    assert!(log.contains(server.base.trim_start_matches("http://")), "where does it listen? {log}");
}

#[test]
fn what_went_out_is_in_the_ledger() {
    let world = World::start();
    review(&world);
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    world.server.outbox(&task, &["sent"]);
    let calls = until("the ledger has all of it", || {
        let calls = world.server.list(&format!("/api/v1/egress?task_id={task}"));
        calls.iter().any(|call| call["method"] == "POST" && call["integration"] == "github").then_some(calls)
    });
    let posted = calls.iter().find(|call| call["integration"] == "github" && call["method"] == "POST").unwrap();
    assert_eq!((&posted["path"], &posted["status"]), (&json!("/repos/octo/hello/issues/1/comments"), &json!(201)));
    assert!(posted["sent_bytes"].as_i64() > Some(0) && posted["received_bytes"].as_i64() > Some(0), "{posted:#}");
    assert!(calls.iter().any(|call| call["integration"].is_null()), "the model was asked by the server: {calls:#?}");

    let all = world.server.list("/api/v1/egress?integration=github&limit=500");
    assert!(all.len() >= 2 && all.iter().all(|call| call["integration"] == "github"), "{all:#?}");
    let times: Vec<&str> = all.iter().map(|call| call["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert_eq!(world.server.list("/api/v1/egress?integration=nobody"), [] as [Value; 0]);
    world.server.key(&["tasks:read"]).get("/api/v1/egress").expect(403);
    world.server.key(&["egress:read"]).get("/api/v1/egress").expect(200);
}

#[test]
fn a_stranger_cannot_have_another_repository_read_through_a_channel_of_another_name() {
    let world = World::start();
    let channel = world.server.post("/api/v1/channels", json!({"client_id": "web:team"})).expect(201);
    let bindings = format!("/api/v1/channels/{}/bindings", channel["id"].as_str().unwrap());
    world.server.post(&bindings, json!({"client_id": "github:octo/hello"})).expect(201);
    world.model.script(|asked| match asked.results().as_slice() {
        [] => Turn::call("github_get_pr", json!({"repo": "octo/private", "number": 1})),
        [result] => Turn::text(result),
        _ => Turn::text("done"),
    });
    let task = world.server.github_task(&events::pull_request("opened", 1));
    let done = world.server.complete(&task);
    assert_eq!(
        world.server.get(&format!("/api/v1/sessions/{}", done["session_id"].as_str().unwrap())).json()["client_id"],
        "web:team"
    );
    let told = done["result"].as_str().unwrap();
    assert!(told.contains("This conversation is about `octo/hello` and may not use `octo/private`"), "{told}");
    assert!(world.github.requests().iter().all(|request| !request.path.contains("octo/private")));
}

#[test]
fn a_run_is_seen_at_github_while_it_is_at_work() {
    let world = World::start_with(|options| options.without("GITHUB_REACTION"));
    let (piece, gate) = Turn::pieces(&["done"]);
    world.model.queue([piece]);
    let task = world.server.github_task(&events::pull_request("opened", 1));
    let reactions = || {
        let requests = world.github.requests();
        let reactions = requests.into_iter().filter(|request| request.path.contains("/reactions"));
        reactions.map(|request| format!("{} {}", request.method, request.path)).collect::<Vec<_>>()
    };
    let made = "POST /repos/octo/hello/issues/1/reactions";
    until("it is seen", || (reactions() == [made]).then_some(()));
    gate.add_permits(9);
    world.server.complete(&task);
    until("it is taken away", || {
        (reactions().last()? == "DELETE /repos/octo/hello/issues/1/reactions/77").then_some(())
    });
    assert_eq!(world.github.wait_for_comments(1).len(), 1);
}
