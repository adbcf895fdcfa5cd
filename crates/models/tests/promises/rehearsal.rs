//! Answers without a model.

use crate::service::{Service, Watcher, pull_request_tool, request, tool};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::time::Duration;
use tercel_models::{Model, NoSink, Options, Provider, Rehearsal, from_config};
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Answer, Message, Request, ToolSpec},
    http::Client,
};

fn ask(model: &Rehearsal, request: &Request) -> Result<Answer> {
    block_on(model.answer(&Client::new(Service::new([])), request, &NoSink))
}

fn of(tools: Vec<ToolSpec>, messages: Vec<Message>) -> Request {
    Request { tools, messages, ..request() }
}

/// The call that a rehearsal makes, as `name arguments`.
fn first_call(tools: Vec<ToolSpec>, messages: Vec<Message>) -> Option<String> {
    let answer = ask(&Rehearsal::new(), &of(tools, messages)).unwrap();
    answer.tool_calls.first().map(|call| format!("{} {}", call.name, call.arguments))
}

#[test]
fn a_tool_is_called_with_what_was_written() {
    let expected = Some(r#"forge_get_pr {"repo":"o/r","number":12}"#.to_owned());
    for (system, user) in [
        ("You help.", "Look at https://forge.example/o/r/pull/12"),
        ("You help and/or listen.", "See (https://forge.example/o/r/pull/12)."),
        ("You help.", "Please review o/r#12."),
        ("You help.", "Repository: o/r, PR #12"),
        ("Conversation forge:o/r, thread pr/12", "What is new?"),
        ("Repository `o/r`", "Look at #12"),
    ] {
        let messages = vec![Message::system(system), Message::user(user)];
        assert_eq!(first_call(vec![pull_request_tool()], messages), expected, "{system} {user}");
    }
}

#[test]
fn a_tool_whose_arguments_are_not_known_is_not_called() {
    let schema = |required: Value, properties: Value| json!({ "type": "object", "properties": properties, "required": required });
    let repository =
        json!({ "repo": { "type": "string" }, "limit": { "type": "integer" }, "token": { "type": "string" } });
    for tools in [
        vec![],
        vec![tool("get_time", json!({ "type": "object" }))],
        vec![tool("get_it", schema(json!(["repo", "limit"]), repository.clone()))],
        vec![tool("get_it", schema(json!(["token"]), repository.clone()))],
        vec![tool("get_it", schema(json!(["missing"]), repository.clone()))],
        vec![tool("delete_repo", schema(json!(["repo"]), repository.clone()))],
    ] {
        let user = vec![Message::user("Look at https://forge.example/o/r/pull/12")];
        assert_eq!(first_call(tools.clone(), user), None, "{tools:?}");
    }
    for text in ["Hello", "this and/or that 3/4", "text/plain"] {
        assert_eq!(first_call(vec![pull_request_tool()], vec![Message::user(text)]), None, "{text}");
    }
}

#[test]
fn owner_name_address_and_defaults_are_found() {
    let properties = json!({
        "owner": { "type": "string" }, "repo": { "type": "string" }, "issue_number": { "type": ["integer", "null"] },
        "url": { "type": "string" }, "page": { "type": "integer", "default": 1 },
    });
    let schema = json!({ "type": "object", "properties": properties, "required": ["owner", "repo", "issue_number", "url", "page"] });
    assert_eq!(
        first_call(vec![tool("tracker.read-issue", schema)], vec![Message::user("https://x.test/o/r/issues/7")]),
        Some(r#"tracker.read-issue {"owner":"o","repo":"r","issue_number":7,"url":"https://x.test/o/r/issues/7","page":1}"#.into())
    );
}

#[test]
fn what_is_quoted_after_the_name_of_an_argument_is_its_value() {
    let schema = json!({ "type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"] });
    let call = |system: &str| {
        first_call(vec![tool("board_get_room", schema.clone())], vec![Message::system(system), Message::user("Hi")])
    };
    for written in ["This was written in room `general`.", "room: \"general\"", "room='general'"] {
        assert_eq!(call(written), Some(r#"board_get_room {"room":"general"}"#.into()), "{written}");
    }
    for written in ["the ballroom `general`", "rooms `general`", "the room is large", "room `", "room `a b`"] {
        assert_eq!(call(written), None, "{written}");
    }
}

#[test]
fn a_newcomer_sees_the_whole_path() {
    let model = from_config(Provider::Rehearsal, Options::default());
    let client = Client::new(Service::new([]));
    let mut asked = request();
    let first = block_on(model.answer(&client, &asked, &NoSink)).unwrap();
    let mut assistant = Message::assistant("");
    assistant.tool_calls = first.tool_calls.clone();
    let result = json!({ "title": "Fix the door", "state": "open", "files": ["a", "b"], "user": { "login": "x" }, "body": "One\nTwo" });
    asked.messages.extend([assistant, Message::tool(&first.tool_calls[0].id, result.to_string())]);
    let watcher = Watcher::default();
    let second = block_on(model.answer(&client, &asked, &watcher)).unwrap();
    assert_eq!(
        second.text,
        "(rehearsal: no model is configured)\n\nI called `forge_get_pr` with `{\"repo\":\"o/r\",\"number\":12}` and read:\n\
         > title: Fix the door\n> state: open\n> files: 2 entries\n> body: One\n\n\
         A real model answers once LLM_BASE_URL and LLM_MODEL are set."
    );
    assert_eq!(watcher.text.into_inner().unwrap(), second.text);
    assert_eq!((model.id(), second.model.as_str(), second.tool_calls.len()), ("rehearsal", "rehearsal", 0));
    assert!(second.usage.prompt_tokens > 0 && second.usage.completion_tokens > 0);
    assert_eq!(block_on(model.answer(&client, &asked, &NoSink)), Ok(second));
}

#[test]
fn a_result_that_is_no_json_is_shown_by_its_first_lines() {
    let messages = vec![Message::user("Hi"), Message::tool("a", "one\n\n two\nthree\nfour")];
    let text = ask(&Rehearsal::new(), &of(vec![], messages)).unwrap().text;
    assert!(text.contains("I read:\n> one\n> two\n> three\n\n"), "{text}");
}

#[test]
fn without_a_tool_it_says_what_it_received() {
    assert_eq!(
        ask(&Rehearsal::new(), &of(vec![], vec![Message::user("Hello")])).unwrap().text,
        "(rehearsal: no model is configured)\n\nI received: “Hello”\n\nA real model answers once LLM_BASE_URL and LLM_MODEL are set."
    );
}

const SCRIPT: &str = r#"Please
rehearse: [{"call": [{"name": "wait", "arguments": {"s": 1}}, {"name": "wait", "arguments": "{bad"}]}, {"wait_ms": 0}, {"say": "Done."}]
Thanks"#;

fn turn(script: &str, answered: usize) -> Request {
    let mut messages = vec![Message::user("earlier"), Message::assistant("earlier"), Message::user(script)];
    messages.extend((0..answered).flat_map(|_| [Message::assistant(""), Message::tool("a", "ok")]));
    of(vec![], messages)
}

#[test]
fn a_script_is_followed_answer_by_answer() {
    let model = Rehearsal::scripted();
    let calls = ask(&model, &turn(SCRIPT, 0)).unwrap().tool_calls;
    let calls: Vec<_> =
        calls.iter().map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("c00003000", "wait", "{\"s\":1}"), ("c00003001", "wait", "{bad")]);
    assert_eq!(ask(&model, &turn(SCRIPT, 1)).unwrap().text, "Done.");
    assert!(ask(&model, &turn(SCRIPT, 2)).unwrap().text.starts_with("(rehearsal: no model is configured)"));
}

#[test]
fn a_script_can_fail() {
    let script = r#"rehearse: {"fail": {"code": "rate_limited", "message": "Slow", "hint": "Wait", "status": 429, "retry_after": 3}}"#;
    let failure =
        Error::new(Kind::RateLimited, "Slow").hint("Wait").status(429).retry_after(Some(Duration::from_secs(3)));
    assert_eq!(ask(&Rehearsal::scripted(), &turn(script, 0)), Err(failure));
}

#[test]
fn a_script_that_cannot_be_read_is_said() {
    for script in ["rehearse: {", "rehearse: nonsense", r#"rehearse: {"shout": 1}"#, "rehearse:"] {
        assert_eq!(ask(&Rehearsal::scripted(), &turn(script, 0)).unwrap_err().kind, Kind::Schema, "{script}");
    }
}

#[test]
fn who_writes_to_a_bot_does_not_script_it() {
    let answer = ask(&Rehearsal::new(), &turn(SCRIPT, 0)).unwrap();
    assert_eq!(answer.tool_calls, []);
    assert!(answer.text.starts_with("(rehearsal: no model is configured)"));
}
