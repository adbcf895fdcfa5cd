//! Answers as they come, and what is left of them when something breaks.

use serde_json::{Value, json};
use tercel_tests::{Heard, Turn, World, github::reads_pull_request, shown, until};

fn kinds(heard: &[Heard]) -> Vec<&str> {
    let mut kinds: Vec<&str> = heard.iter().map(Heard::kind).collect();
    kinds.dedup();
    kinds
}

fn ask(text: &str) -> Value {
    json!({"message": text})
}

fn resumed(world: &World, task: &Value, last: &str) -> tercel_tests::EventStream {
    let path = format!("/chat/stream?task_id={}", task.as_str().unwrap());
    world.server.open("GET", &path, &[("last-event-id", last)], Value::Null)
}

#[test]
fn a_stream_tells_what_the_agent_does_and_ends_with_the_answer() {
    let world = World::start();
    world.model.script(|asked| match asked.results().as_slice() {
        [] => {
            let Turn::Calls(calls) = reads_pull_request(1) else { unreachable!() };
            Turn::TextAndCalls("I look at it.".into(), calls)
        }
        _ => Turn::text("<think>It is fine.</think>It looks good to me."),
    });
    let body = json!({"message": "review", "execution_config": {"tools": ["*"]}});
    let mut stream = world.server.open("POST", "/chat/stream", &[], body);
    let heard = stream.rest();
    let expected = ["text_delta", "tool_start", "tool_result", "thinking", "text_delta", "response"];
    assert_eq!(kinds(&heard), expected, "{heard:#?}");
    let of = |kind: &str| heard.iter().find(|heard| heard.kind() == kind).unwrap();
    let (start, result, end) = (of("tool_start"), of("tool_result"), heard.last().unwrap());
    assert_eq!(start.data["call_id"], result.data["call_id"]);
    assert_eq!((&start.data["name"], &result.data["ok"]), (&json!("github_get_pr"), &json!(true)));
    assert!(result.data["result"].as_str().unwrap().contains("hello, everybody"));
    assert_eq!(end.data["text"], "It looks good to me.");
    assert_eq!(end.data["tools_used"], json!(["github_get_pr"]));
    assert_eq!((&end.data["client_actions"], &end.data["correlation_id"]), (&json!([]), &end.data["task_id"]));
    let text: Vec<&str> = heard
        .iter()
        .filter(|heard| heard.kind() == "text_delta")
        .filter_map(|heard| heard.data["text"].as_str())
        .collect();
    assert_eq!(text.concat(), "I look at it.It looks good to me.", "nothing was said twice");
    let session = &end.data["session_id"];
    assert!(heard.iter().all(|heard| heard.data["session_id"] == *session), "{heard:#?}");
    let with_id: Vec<&str> = heard.iter().filter(|heard| !heard.id.is_empty()).map(Heard::kind).collect();
    assert_eq!(with_id, ["tool_start", "tool_result"], "only what is committed has an id");
}

#[test]
fn deltas_come_while_the_model_still_writes() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["One ", "two ", "three."]);
    world.model.queue([turn]);
    let mut stream = world.server.open("POST", "/chat/stream", &[], ask("count"));
    for piece in ["One ", "two ", "three."] {
        gate.add_permits(1);
        assert_eq!(stream.until("text_delta").data["text"], piece);
    }
    gate.add_permits(1);
    assert_eq!(kinds(&stream.rest()), ["response"]);
}

#[test]
fn a_resumed_stream_has_one_snapshot_and_then_goes_on() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["One ", "two ", "three."]);
    world.model.queue([turn]);
    let mut first = world.server.open("POST", "/chat/stream", &[], ask("count"));
    gate.add_permits(2);
    let heard = until("two pieces", || {
        let heard = first.heard()?;
        heard.data["text"].as_str().is_some_and(|text| text.contains("two")).then_some(heard)
    });
    let task = heard.data["task_id"].clone();
    drop(first);

    let mut second = resumed(&world, &task, "0");
    let snapshot = second.heard().unwrap();
    assert_eq!((&snapshot.data["text"], &snapshot.data["reset"]), (&json!("One two "), &json!(true)));
    let path = format!("/api/v1/tasks/{}/events", task.as_str().unwrap());
    let mut third = world.server.open("GET", &path, &[("last-event-id", "0")], Value::Null);
    let snapshot = third.until("text_delta");
    assert_eq!(snapshot.data, json!({"text": "One two ", "reset": true}));
    gate.add_permits(1);
    assert_eq!(third.until("text_delta").data, json!({"text": "three."}));
    let last = second.heard().unwrap();
    assert_eq!((&last.data["text"], last.data.get("reset")), (&json!("three."), None));
    gate.add_permits(1);
    assert_eq!(kinds(&second.rest()), ["response"]);
    let rest: Vec<String> = third.rest().into_iter().map(|heard| heard.event).collect();
    assert_eq!(rest, ["step", "step", "end"]);
}

#[test]
fn thoughts_of_a_resumed_stream_stand_in_the_place_of_what_was_seen_of_them() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["<think>First ", "then ", "so</think>", "Done."]);
    world.model.queue([turn]);
    let mut first = world.server.open("POST", "/chat/stream", &[], ask("think"));
    gate.add_permits(2);
    let heard = until("two pieces", || {
        let heard = first.heard()?;
        heard.data["text"].as_str().is_some_and(|text| text.contains("then")).then_some(heard)
    });
    assert_eq!((heard.kind(), heard.data.get("reset")), ("thinking", None));
    let mut second = resumed(&world, &heard.data["task_id"], "0");
    let snapshot = second.until("thinking");
    assert!(snapshot.data["text"].as_str().unwrap().starts_with("First"), "{:#?}", snapshot.data);
    assert_eq!(snapshot.data["reset"], true);
    gate.add_permits(9);
    let rest = second.rest();
    let more: Vec<_> = rest.iter().filter(|heard| heard.kind() == "thinking").collect();
    assert!(more.iter().all(|heard| heard.data.get("reset").is_none()), "{more:#?}");
    assert_eq!(rest.last().unwrap().data["text"], "Done.");
}

#[test]
fn a_stream_that_is_resumed_in_the_middle_of_an_answer_has_only_what_it_missed() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["It ", "looks ", "good."]);
    world.model.script(move |asked| match asked.results().as_slice() {
        [] => reads_pull_request(1),
        _ => turn.clone(),
    });
    let body = json!({"message": "review", "execution_config": {"tools": ["*"]}});
    let mut first = world.server.open("POST", "/chat/stream", &[], body);
    let result = first.until("tool_result");
    gate.add_permits(2);
    until("two pieces", || first.heard()?.data["text"].as_str()?.contains("looks").then_some(()));
    drop(first);
    let mut second = resumed(&world, &result.data["task_id"], &result.id);
    let snapshot = second.heard().unwrap();
    assert_eq!((&snapshot.data["text"], &snapshot.data["reset"]), (&json!("It looks "), &json!(true)), "no step again");
    gate.add_permits(2);
    let rest = second.rest();
    assert_eq!((kinds(&rest), rest[0].data["text"].as_str()), (vec!["text_delta", "response"], Some("good.")));
    assert_eq!(world.model.calls(), 2);
}

#[test]
fn who_hangs_up_in_the_middle_ends_nothing() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["One ", "two ", "three."]);
    world.model.queue([turn]);
    let mut stream = world.server.open("POST", "/chat/stream", &[], ask("count"));
    gate.add_permits(1);
    let heard = stream.until("text_delta");
    drop(stream);
    gate.add_permits(3);
    let done = world.server.complete(heard.data["task_id"].as_str().unwrap());
    assert_eq!(done["result"], "One two three.");
    let said = world.server.messages(heard.data["session_id"].as_str().unwrap());
    assert_eq!(said.last().unwrap()["content"], "One two three.");
}

#[test]
fn a_stream_that_is_resumed_after_the_end_has_the_answer() {
    let world = World::start();
    world.model.script(|asked| match asked.results().as_slice() {
        [] => reads_pull_request(1),
        _ => Turn::text("It looks good."),
    });
    let body = json!({"message": "review", "execution_config": {"tools": ["*"]}});
    let headers = [("idempotency-key", "k")];
    let mut stream = world.server.open("POST", "/chat/stream", &headers, body.clone());
    let start = stream.until("tool_start");
    stream.rest();
    let headers = [("idempotency-key", "k"), ("last-event-id", start.id.as_str())];
    let rest = world.server.open("POST", "/chat/stream", &headers, body).rest();
    assert_eq!(kinds(&rest), ["tool_result", "text_delta", "response"], "{rest:#?}");
    assert_eq!(rest.last().unwrap().data["task_id"], start.data["task_id"], "it is the same run");
    assert_eq!((shown(&rest).as_str(), world.model.calls()), ("It looks good.", 2));
}

#[test]
fn two_streams_of_one_task_see_the_same() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["One ", "two ", "three."]);
    world.model.queue([turn]);
    let mut first = world.server.open("POST", "/chat/stream", &[], ask("count"));
    gate.add_permits(1);
    let heard = first.until("text_delta");
    let path = format!("/chat/stream?task_id={}", heard.data["task_id"].as_str().unwrap());
    let mut second = world.server.open("GET", &path, &[], Value::Null);
    let again = second.until("text_delta");
    assert_eq!(again.data, heard.data, "what came before it was there, in one piece");
    gate.add_permits(3);
    // Who reads late gets the whole in the place of the beginning.
    let all = |beginning, rest| [vec![beginning], rest].concat();
    let (first, second) = (all(heard, first.rest()), all(again, second.rest()));
    assert_eq!(shown(&first), "One two three.");
    assert_eq!((shown(&first), first.last()), (shown(&second), second.last()));
}

#[test]
fn an_answer_that_breaks_off_is_taken_back_and_given_anew() {
    let world = World::start();
    world.model.queue([Turn::Close, Turn::text("This one is whole.")]);
    let heard = world.server.open("POST", "/chat/stream", &[], ask("hello")).rest();
    assert_eq!(shown(&heard), "This one is whole.", "{heard:#?}");
    let voids = heard.iter().filter(|heard| heard.data["reset"] == true).count();
    let broken = heard.iter().any(|heard| heard.data["text"].as_str().is_some_and(|text| text.contains("This s")));
    assert_eq!(voids, usize::from(broken), "{heard:#?}");
    assert_eq!(heard.last().unwrap().data["text"], "This one is whole.");
}

#[test]
fn a_stream_that_a_kill_cut_is_resumed_and_shows_the_new_answer_only() {
    let mut world = World::start();
    let (turn, gate) = Turn::pieces(&["An answer that ", "nobody will ", "ever see whole"]);
    world.model.script(move |asked| match asked.results().as_slice() {
        [] => reads_pull_request(1),
        _ => turn.clone(),
    });
    let body = json!({"message": "review", "execution_config": {"tools": ["*"]}});
    let mut stream = world.server.open("POST", "/chat/stream", &[], body);
    stream.until("tool_result");
    gate.add_permits(1);
    let mut seen = vec![stream.until("text_delta")];
    assert_eq!(shown(&seen), "An answer that ");
    world.server.kill9();
    assert_eq!(stream.heard(), None, "the stream breaks off without an end");

    let (turn, gate) = Turn::pieces(&["It looks ", "good."]);
    world.model.script(move |_| turn.clone());
    world.server.start_again();
    let task = seen[0].data["task_id"].clone();
    let mut again = resumed(&world, &task, &stream.last_id);
    gate.add_permits(9);
    seen.extend(again.rest());
    assert_eq!(kinds(&seen), ["text_delta", "response"], "{seen:#?}");
    assert_eq!(seen[1].data["reset"], true, "what the dead process said is void");
    assert_eq!(shown(&seen), "It looks good.");
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up_and_gets_all_of_it() {
    let world = World::start();
    let piece = "0123456789abcdef".repeat(8192);
    let pieces = vec![piece.as_str(); 64];
    let (turn, gate) = Turn::pieces(&pieces);
    gate.add_permits(1000);
    world.model.queue([turn]);
    let mut slow = world.server.open("POST", "/chat/stream", &[], ask("much"));
    let heard = slow.until("text_delta");
    let task = heard.data["task_id"].as_str().unwrap().to_owned();
    let path = format!("/chat/stream?task_id={task}");
    let quick = world.server.open("GET", &path, &[], Value::Null).rest();
    assert_eq!(quick.last().unwrap().kind(), "response", "another reader has all of it");
    world.server.complete(&task);
    let mut all = vec![heard];
    all.extend(slow.rest());
    assert_eq!(all.last().unwrap().kind(), "response");
    let whole = piece.repeat(64);
    assert!(shown(&all).trim_end() == whole.trim_end(), "{} of {} bytes", shown(&all).len(), whole.len());
}

#[test]
fn a_secret_that_the_model_says_in_pieces_is_not_shown() {
    let world = World::start();
    let (turn, gate) = Turn::pieces(&["The key is sk-of-", "the-tests", "-0123456789", ", keep it."]);
    gate.add_permits(9);
    world.model.queue([turn]);
    let heard = world.server.open("POST", "/chat/stream", &[], ask("tell")).rest();
    let text: String = heard.iter().map(|heard| heard.data.to_string()).collect();
    assert!(!text.contains("sk-of") && !text.contains("0123456789"), "{text}");
    assert_eq!(shown(&heard), heard.last().unwrap().data["text"].as_str().unwrap());
}

#[test]
fn a_stream_ends_with_what_became_of_the_run() {
    let world = World::start();
    let last = |turn: Turn| {
        world.model.script(move |_| turn.clone());
        let heard = world.server.open("POST", "/chat/stream", &[], ask("hello")).rest();
        let last = heard.last().unwrap().clone();
        (last.kind().to_owned(), last.data["message"].as_str().unwrap_or_default().to_owned())
    };
    let (kind, message) = last(Turn::fails(400));
    assert_eq!(kind, "error");
    assert!(message.contains("did not answer"), "{message}");
    let (kind, message) = last(Turn::fails(401));
    assert_eq!(kind, "queued");
    assert!(message.contains("waits"), "{message}");
}

#[test]
fn a_stream_ends_when_the_server_stops_and_its_run_goes_on_at_the_next_start() {
    let mut world = World::start();
    let (turn, gate) = Turn::pieces(&["One ", "two"]);
    world.model.script(move |_| turn.clone());
    let mut stream = world.server.open("POST", "/chat/stream", &[], ask("count"));
    gate.add_permits(1);
    let task = stream.until("text_delta").data["task_id"].clone();
    world.server.ask_to_stop();
    assert_eq!(stream.heard(), None);
    world.server.wait_exit();
    gate.add_permits(9);
    world.server.start_again();
    assert_eq!(resumed(&world, &task, "0").rest().last().unwrap().data["text"], "One two");
}
