//! Tools that the client has: asked for over the stream, answered by a request.

use serde_json::{Value, json};
use tercel_tests::{EventStream, Turn, World};

fn offer(seconds: u64) -> Value {
    json!({
        "message": "Where am I?", "client_tool_seconds": seconds,
        "client_tools": [{"name": "locate", "description": "Where the person is", "parameters": {
            "type": "object", "properties": {"precise": {"type": "boolean"}}, "required": ["precise"],
        }}],
    })
}

fn world() -> World {
    let world = World::start();
    world.model.script(|asked| match asked.results().as_slice() {
        [] => Turn::call("locate", json!({"precise": "true"})),
        [result] => Turn::Text(format!("Told: {result}")),
        _ => Turn::text("Too much"),
    });
    world
}

fn open(world: &World, seconds: u64) -> EventStream {
    world.server.open("POST", "/chat/stream", &[], offer(seconds))
}

#[test]
fn a_client_answers_the_call_of_its_own_tool() {
    let world = world();
    let mut stream = open(&world, 60);
    assert_eq!(stream.until("tool_start").data["name"], "locate");
    let request = stream.until("tool_request").data;
    assert_eq!((&request["name"], &request["arguments"]), (&json!("locate"), &json!({"precise": true})));
    assert_eq!(world.model.asked()[0].tools(), ["locate"]);
    let answer = json!({"task_id": request["task_id"], "call_id": request["call_id"], "result": {"city": "Bern"}});
    let taken = world.server.post("/chat/tool_result", answer.clone()).expect(200);
    assert_eq!(taken["call_id"], request["call_id"]);
    assert_eq!(world.server.post("/chat/tool_result", answer).expect(200), taken, "a repetition is the same answer");
    let result = stream.until("tool_result");
    assert_eq!(result.data["ok"], true);
    let end = stream.until("response").data;
    assert!(end["text"].as_str().unwrap().contains("Bern"), "{end}");
    assert_eq!(end["tools_used"], json!(["locate"]));
}

#[test]
fn a_run_that_waits_for_its_client_gives_its_session_up() {
    let mut world = world();
    world.model.script(|asked| match (asked.question(), asked.results().as_slice()) {
        ("Where am I?", []) => Turn::call("locate", json!({"precise": true})),
        ("Where am I?", [result]) => Turn::Text(format!("Told: {result}")),
        _ => Turn::text("Meanwhile."),
    });
    let mut stream = open(&world, 60);
    let request = stream.until("tool_request").data;
    let task = request["task_id"].as_str().unwrap();
    let shown = world.server.get(&format!("/api/v1/tasks/{task}")).expect(200);
    let said = "The run waits for its client to answer `locate`";
    assert_eq!((&shown["status"], &shown["error"]["message"]), (&json!("waiting"), &json!(said)));
    let other = json!({"message": "Are you there?", "session_id": request["session_id"]});
    assert_eq!(world.server.post("/chat", other).expect(200)["response"], "Meanwhile.");

    world.server.kill9();
    world.server.start_again();
    let answer = json!({"session_id": request["session_id"], "call_id": request["call_id"], "result": "Bern"});
    world.server.post("/chat/tool_result", answer).expect(200);
    let done = world.server.complete(task);
    assert!(done["result"].as_str().unwrap().contains("Bern"), "{done:#}");
    assert_eq!(world.model.calls(), 3);
}

#[test]
fn the_time_of_a_client_ends_while_the_server_is_away_too() {
    let mut world = world();
    let mut stream = open(&world, 1);
    let task = stream.until("tool_request").data["task_id"].as_str().unwrap().to_owned();
    world.server.kill9();
    world.server.start_again();
    let done = world.server.complete(&task);
    assert!(
        done["result"].as_str().unwrap().contains("did not answer the call of `locate` within 1 seconds"),
        "{done:#}"
    );
}

#[test]
fn a_client_may_say_that_it_could_not_and_answer_by_its_session() {
    let world = world();
    let mut stream = open(&world, 60);
    let request = stream.until("tool_request").data;
    let path = "/chat/tool_result";
    world.server.post(path, json!({"call_id": request["call_id"]})).refused(422, "invalid");
    world.server.post(path, json!({"session_id": request["session_id"], "call_id": "other"})).refused(404, "not_found");
    world.server.post(path, json!({"task_id": uuid::Uuid::nil(), "call_id": "x"})).refused(404, "not_found");
    let answer =
        json!({"session_id": request["session_id"], "call_id": request["call_id"], "error": "The person said no"});
    world.server.post(path, answer.clone()).expect(200);
    assert_eq!(stream.until("tool_result").data["ok"], false);
    assert!(stream.until("response").data["text"].as_str().unwrap().contains("The person said no"));
    let taken = world.server.post(path, answer).expect(200);
    assert_eq!(taken["task_id"], request["task_id"], "the run is over, and the same answer is the same");
    world.server.post(path, json!({"session_id": request["session_id"], "call_id": "other"})).refused(404, "not_found");
}

#[test]
fn a_client_that_does_not_answer_is_waited_for_only_so_long() {
    let world = world();
    let mut stream = open(&world, 1);
    let request = stream.until("tool_request").data;
    let text = stream.until("response").data["text"].to_string();
    assert!(text.contains("did not answer the call of `locate` within 1 seconds"), "{text}");
    let late = json!({"task_id": request["task_id"], "call_id": request["call_id"], "result": 1});
    // The first result counts, and that was the silence.
    world.server.post("/chat/tool_result", late).expect(200);
}

#[test]
fn a_call_outlives_the_process_and_a_stream_that_comes_back_sees_it() {
    let mut world = world();
    let mut stream = open(&world, 60);
    let request = stream.until("tool_request").data;
    world.server.kill9();
    world.server.start_again();
    let path = format!("/chat/stream?task_id={}", request["task_id"].as_str().unwrap());
    let mut again = world.server.open("GET", &path, &[("last-event-id", &stream.last_id)], Value::Null);
    let repeated = again.until("tool_request").data;
    assert_eq!(repeated, request, "the same call under the same id");
    let path = format!("/api/v1/tasks/{}/events", request["task_id"].as_str().unwrap());
    let mut events = world.server.open("GET", &path, &[], Value::Null);
    assert_eq!(events.until("tool_request").data["call_id"], request["call_id"]);
    let answer = json!({"task_id": request["task_id"], "call_id": request["call_id"], "result": "Bern"});
    world.server.post("/chat/tool_result", answer).expect(200);
    assert!(again.until("response").data["text"].as_str().unwrap().contains("Bern"));
    assert_eq!(world.model.calls(), 2, "the answer that made the call was committed");
}

#[test]
fn a_run_that_waits_for_its_client_can_be_cancelled() {
    let world = world();
    let mut stream = open(&world, 60);
    let request = stream.until("tool_request").data;
    world.server.post("/chat/cancel", json!({"session_id": request["session_id"]})).expect(200);
    stream.until("cancelled");
    let answer = json!({"task_id": request["task_id"], "call_id": request["call_id"], "result": 1});
    world.server.post("/chat/tool_result", answer).refused(404, "not_found");
}

#[test]
fn a_clients_tool_takes_no_name_of_the_servers() {
    let world = world();
    let refuse = |tools: Value| {
        let body = json!({"message": "a", "client_tools": tools});
        world.server.post("/chat/stream", body).refused(422, "invalid")
    };
    assert!(refuse(json!([{"name": "github_get_pr"}])).contains("github_get_pr"));
    refuse(json!([{"name": "a"}, {"name": "a"}]));
    refuse(json!([{"name": "a b"}]));
    refuse(json!([{"name": "a", "parameters": []}]));
    assert_eq!(world.model.calls(), 0);
}
