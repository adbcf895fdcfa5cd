//! One call, one answer.

use serde_json::{Value, json};
use tercel_tests::{Turn, World, until};

#[test]
fn a_bot_answers_in_one_call_and_the_session_has_both() {
    let world = World::start();
    world.model.script(|asked| Turn::Text(format!("You said: {}", asked.question())));
    let answer = world.server.post("/chat", json!({"message": "hello"})).expect(200);
    let session = answer["session_id"].as_str().unwrap();
    assert_eq!(
        (&answer["response"], &answer["transcript"], &answer["client_actions"]),
        (&json!("You said: hello"), &Value::Null, &json!([]))
    );
    let again = world.server.post("/chat", json!({"message": "more", "bot_id": "default"})).expect(200);
    assert_eq!(again["session_id"], session, "the session of the client is got, not made");
    let by_id = world.server.post("/chat", json!({"message": "and more", "session_id": session})).expect(200);
    assert_eq!(by_id["response"], "You said: and more");
    let said: Vec<_> = world.server.messages(session).iter().map(|m| m["content"].clone()).collect();
    let expected = ["hello", "You said: hello", "more", "You said: more", "and more", "You said: and more"];
    assert_eq!(said, expected);
    let other = world.server.post("/chat", json!({"message": "hi", "client_id": "web:bob"})).expect(200);
    assert_ne!(other["session_id"], session);
    let task = world.server.task(answer["task_id"].as_str().unwrap());
    assert_eq!((&task["status"], &task["origin"]), (&json!("complete"), &json!("ui")));
}

#[test]
fn what_cannot_be_answered_is_refused_and_says_why() {
    let world = World::start();
    let refuse = |body: Value, status: u16, code: &str| world.server.post("/chat", body).refused(status, code);
    refuse(json!({}), 400, "bad_request");
    refuse(json!({"message": " \n"}), 400, "bad_request");
    assert!(refuse(json!({"message": "a", "bot_id": "nobody"}), 404, "not_found").contains("`nobody`"));
    refuse(json!({"message": "a", "session_id": uuid::Uuid::nil()}), 404, "not_found");
    refuse(json!({"message": 5}), 422, "invalid");
    refuse(json!({"message": "a", "session_id": "x"}), 422, "invalid");
    refuse(json!({"message": "a", "client_id": ""}), 422, "invalid");
    refuse(json!({"message": "a", "client_tools": [{"name": "t"}]}), 422, "invalid");
    refuse(json!({"message": "a".repeat((1 << 20) + 1)}), 413, "too_large");
    let detail = world.server.key(&["chat:read"]).post("/chat", json!({"message": "a"})).refused(403, "forbidden");
    assert_eq!(detail, "Missing required scope: chat:write");
    world.server.anonymous().post("/chat", json!({"message": "a"})).refused(401, "unauthorized");
    assert_eq!(world.server.list("/api/v1/sessions").len(), 0, "what is refused leaves nothing");
    assert_eq!(world.model.calls(), 0);
    world.server.key(&["chat:write"]).post("/chat", json!({"message": "a"})).expect(200);
}

#[test]
fn a_model_that_does_not_answer_is_a_502_and_the_message_is_kept() {
    let world = World::start();
    world.model.script(|_| Turn::fails(400));
    let detail = world.server.post("/chat", json!({"message": "hello"})).refused(502, "model");
    assert!(detail.contains("did not answer"), "{detail}");
    world.model.script(|_| Turn::fails(401));
    let detail = world.server.post("/chat", json!({"message": "again"})).refused(503, "unavailable");
    assert!(detail.contains("The run waits and goes on later") && detail.contains("session"), "{detail}");
    let session = world.server.session("default");
    assert_eq!(world.server.messages(&session).len(), 2);
}

#[test]
fn a_run_that_waits_at_a_ceiling_or_for_a_paused_integration_says_which() {
    let world = World::start();
    let budget = json!({"scope": "bot:default", "period": "day", "runs": 1, "action": "park"});
    let budget = world.server.post("/api/v1/budgets", budget).expect(201);
    world.server.post("/chat", json!({"message": "one"})).expect(200);
    let answer = world.server.post("/chat", json!({"message": "two"}));
    let detail = answer.refused(429, "rate_limited");
    assert!(detail.contains("ceiling of `bot:default`") && detail.contains("goes on"), "{detail}");
    assert!(answer.header("retry-after").is_some());
    let path = format!("/api/v1/budgets/{}", budget["id"].as_str().unwrap());
    world.server.call("DELETE", &path, &[], "").expect(204);

    world.server.post("/api/v1/admin/integrations/github/pause", json!({})).expect(200);
    let paused = json!({"message": "three", "source": "github", "client_id": "web:other"});
    let detail = world.server.post("/chat", paused).refused(503, "unavailable");
    assert!(detail.contains("`github` is paused"), "{detail}");
}

#[test]
fn the_same_key_is_the_same_message_and_waits_for_the_same_answer() {
    let world = World::start();
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let say = |text: &str| world.server.call("POST", "/chat", &headers, json!({"message": text}).to_string());
    let (first, second) = (say("hello").expect(200), say("hello").expect(200));
    assert_eq!(first, second);
    assert_eq!(world.model.calls(), 1);
    say("something else").refused(409, "conflict");
}

#[test]
fn who_hangs_up_finds_the_answer_in_the_session() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["One ", "two ", "three"]);
    world.model.queue([turn]);
    let mut stream = world.server.open("POST", "/chat/stream", &[], json!({"message": "count"}));
    gate.add_permits(1);
    let heard = stream.until("text_delta");
    let session = heard.data["session_id"].as_str().unwrap().to_owned();
    drop(stream);
    gate.add_permits(9);
    until("the answer is in the session", || {
        world.server.messages(&session).iter().find(|m| m["content"] == "One two three").cloned()
    });
}

#[test]
fn a_run_is_cancelled_by_its_session_its_task_or_its_place() {
    let world = World::start();
    world.model.script(|_| Turn::Never);
    for by in ["session_id", "task_id", "client_id"] {
        let calls = world.model.calls();
        let mut stream = world.server.open("POST", "/chat/stream", &[], json!({"message": "wait", "client_id": by}));
        world.model.wait_for_calls(calls + 1);
        let task = world.server.list("/api/v1/tasks?status=running")[0].clone();
        let which = match by {
            "task_id" => task["id"].clone(),
            "session_id" => task["session_id"].clone(),
            _ => json!(by),
        };
        let done = world.server.post("/chat/cancel", json!({by: which})).expect(200);
        assert_eq!((&done["cancelled"], &done["task_id"]), (&json!(true), &task["id"]));
        let rest = stream.rest();
        assert_eq!(rest.iter().map(|heard| heard.kind()).collect::<Vec<_>>(), ["cancelled"], "{rest:#?}");
    }
    let idle = world.server.post("/chat/cancel", json!({})).expect(200);
    assert_eq!(idle, json!({"cancelled": false, "task_id": null, "session_id": null}));
    world.server.post("/chat/cancel", json!({"task_id": uuid::Uuid::nil()})).refused(404, "not_found");
}
