//! Anthropic's Messages API: what goes there, what is read of its answers.

use crate::service::{KEY, Reply, Service, Watcher, plain, request, stream};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::time::Duration;
use tercel_models::{Anthropic, Model, NoSink, Options, SecretString};
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Answer, Message, Request, ToolCall, Usage},
    http::Client,
};

fn model() -> Anthropic {
    Anthropic::new("https://models.test/v1/", Some(SecretString::from(KEY)), Options::default())
}

fn ask(reply: Reply) -> Result<Answer> {
    block_on(model().answer(&Client::new(Service::new([Ok(reply)])), &request(), &NoSink))
}

fn fails(reply: Reply) -> Error {
    ask(reply).unwrap_err()
}

/// The body that a request becomes.
fn body(request: &Request) -> Value {
    let service = Service::new([Ok(whole(json!([{"type": "text", "text": "ok"}]), "end_turn"))]);
    block_on(model().answer(&Client::new(service.clone()), request, &NoSink)).unwrap();
    service.bodies().remove(0)
}

fn whole(content: Value, stop_reason: &str) -> Reply {
    let usage =
        json!({"input_tokens": 3, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 6, "output_tokens": 7});
    plain(200, json!({"type": "message", "model": "c", "content": content, "stop_reason": stop_reason, "usage": usage}))
}

fn events(events: &[Value]) -> Reply {
    stream(events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())))
}

fn call(id: &str, name: &str) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments: "{\"a\":1}".into() }
}

#[test]
fn the_key_goes_in_its_own_header_to_the_right_address() {
    let service = Service::new([Ok(whole(json!([{"type": "text", "text": "ok"}]), "end_turn"))]);
    block_on(model().answer(&Client::new(service.clone()), &request(), &NoSink)).unwrap();
    let sent = service.sent().remove(0);
    assert_eq!(sent.url.as_str(), "https://models.test/v1/messages");
    assert_eq!(
        (&sent.headers["x-api-key"], &sent.headers["anthropic-version"]),
        (&KEY.parse().unwrap(), &"2023-06-01".parse().unwrap())
    );
    assert!(sent.headers["x-api-key"].is_sensitive() && !sent.headers.contains_key("authorization"));
}

#[test]
fn a_conversation_is_put_as_this_interface_wants_it() {
    let said = |content: &str, calls: Vec<ToolCall>| Message { tool_calls: calls, ..Message::assistant(content) };
    let messages = vec![
        Message::system("You help."),
        Message::assistant("Earlier. "),
        Message::user("One"),
        Message::user("Two"),
        said("", vec![call("call.1", "wait"), call("b", "wait")]),
        Message::tool("b", "second"),
        Message::system("Be quick."),
        Message::user("Go on"),
        Message::tool("lost", "late"),
        Message::user(" "),
    ];
    let sent = body(&Request { messages, temperature: Some(1.7), ..request() });
    let text = |text: &str| json!({"type": "text", "text": text});
    let result = |id: &str, content: &str| json!({"type": "tool_result", "tool_use_id": id, "content": content});
    let uses = |id: &str| json!({"type": "tool_use", "id": id, "name": "wait", "input": {"a": 1}});
    let expected = json!([
        {"role": "user", "content": [text("(The conversation began earlier.)")]},
        {"role": "assistant", "content": [text("Earlier.")]},
        {"role": "user", "content": [text("One"), text("Two")]},
        {"role": "assistant", "content": [uses("call_1"), uses("b")]},
        {"role": "user", "content": [
            result("b", "second"), result("call_1", "No result of this call was recorded."), text("Go on"),
            text("Result of an earlier call: late"),
        ]},
    ]);
    assert_eq!(sent["messages"], expected);
    let kept = |said: &str| json!({"type": "text", "text": said, "cache_control": {"type": "ephemeral"}});
    assert_eq!(sent["system"], json!([kept("You help."), kept("Be quick.")]));
    assert_eq!((&sent["max_tokens"], &sent["temperature"]), (&json!(8192), &json!(1.0)));
}

#[test]
fn without_tools_those_of_the_conversation_are_named_and_none_may_be_called() {
    let calls = Message { tool_calls: vec![call("a", "wait")], ..Message::assistant("") };
    let messages = vec![Message::user("Go"), calls, Message::tool("a", "done")];
    let sent = body(&Request { messages, tools: Vec::new(), ..request() });
    assert_eq!(sent["tools"], json!([{"name": "wait", "input_schema": {"type": "object"}}]));
    assert_eq!(sent["tool_choice"], json!({"type": "none"}));
    assert!(body(&Request { tools: Vec::new(), ..request() }).get("tools").is_none());
}

#[test]
fn an_answer_in_pieces_is_put_together_and_shown() {
    let start = json!({"type": "message_start", "message": {"model": "c-1", "usage": {"input_tokens": 3, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 6, "output_tokens": 1}}});
    let delta = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let reply = events(&[
        start,
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hm."})),
        delta(0, json!({"type": "signature_delta", "signature": "abc"})),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        delta(1, json!({"type": "text_delta", "text": "Let me "})),
        delta(1, json!({"type": "text_delta", "text": "look."})),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "wait", "input": {}}}),
        delta(2, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"a\""})),
        delta(2, json!({"type": "input_json_delta", "partial_json": ":1}"})),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "toolu_2", "name": "wait", "input": {}}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}}),
        json!({"type": "something_new"}),
        json!({"type": "message_stop"}),
    ]);
    let watcher = Watcher::default();
    let answer = block_on(model().answer(&Client::new(Service::new([Ok(reply)])), &request(), &watcher)).unwrap();
    let calls = vec![call("toolu_1", "wait"), ToolCall { arguments: "{}".into(), ..call("toolu_2", "wait") }];
    let expected = Answer {
        text: "Let me look.".into(),
        tool_calls: calls,
        usage: Usage { prompt_tokens: 11, completion_tokens: 7, cached_tokens: 6, cache_written_tokens: 2 },
        model: "c-1".into(),
        truncated: false,
        repairs: Vec::new(),
    };
    assert_eq!(answer, expected);
    assert_eq!(
        (&*watcher.text.lock().unwrap(), &*watcher.thinking.lock().unwrap()),
        (&"Let me look.".to_owned(), &"Hm.".to_owned())
    );
}

#[test]
fn the_reason_of_the_end_counts() {
    let text = || json!([{"type": "text", "text": "Half"}]);
    let truncated = |reason| ask(whole(text(), reason)).unwrap().truncated;
    let reasons = ["end_turn", "stop_sequence", "max_tokens", "model_context_window_exceeded", "refusal"];
    assert_eq!(reasons.map(truncated), [false, false, true, true, false]);
    assert_eq!(fails(whole(json!([]), "refusal")).message, "The model refused to answer");
    assert_eq!(ask(whole(json!([]), "end_turn")).unwrap().repairs, ["the answer is empty"]);
}

#[test]
fn each_failure_is_the_kind_that_the_agent_relies_on() {
    let cases = [
        (400, "invalid_request_error", Kind::Schema, 400),
        (401, "authentication_error", Kind::Auth, 401),
        (402, "billing_error", Kind::Forbidden, 402),
        (403, "permission_error", Kind::Forbidden, 403),
        (404, "not_found_error", Kind::NotFound, 404),
        (413, "request_too_large", Kind::Schema, 413),
        (429, "rate_limit_error", Kind::RateLimited, 429),
        (500, "api_error", Kind::Network, 500),
        (529, "overloaded_error", Kind::Network, 529),
    ];
    for (status, code, kind, told) in cases {
        let body = json!({"type": "error", "error": {"type": code, "message": "Said so"}});
        let mut reply = plain(status, &body);
        reply.headers.push(("retry-after", "7"));
        let failure = fails(reply);
        assert_eq!((failure.kind, failure.status), (kind, Some(told)), "{code}");
        assert_eq!(failure.message, format!("The model provider answered {status}: Said so"));
        let waits = matches!(status, 429 | 500 | 529);
        assert_eq!(failure.retry_after, waits.then_some(Duration::from_secs(7)), "{code}");
        // The same after the answer had begun.
        let failure = fails(events(&[json!({"type": "message_start", "message": {}}), body]));
        assert_eq!((failure.kind, failure.status), (kind, Some(told)), "{code} in the stream");
    }
    let empty = "Your credit balance is too low to access the Anthropic API.";
    let failure =
        fails(plain(400, json!({"type": "error", "error": {"type": "invalid_request_error", "message": empty}})));
    assert_eq!((failure.kind, failure.status), (Kind::Forbidden, Some(402)));
}

#[test]
fn what_breaks_off_or_makes_no_sense_is_said_and_no_key_is_in_it() {
    let start = json!({"type": "message_start", "message": {}});
    let broken = fails(events(&[start]));
    assert_eq!((broken.kind, broken.message.contains("broke off")), (Kind::Network, true), "{broken}");
    for reply in [plain(200, "<html>"), plain(200, json!({"content": 1})), stream(["data: <oops>\n\n"])] {
        assert_eq!(fails(reply).kind, Kind::Error);
    }
    let quoted =
        json!({"type": "error", "error": {"type": "authentication_error", "message": format!("Bad key {KEY}")}});
    for reply in [plain(401, &quoted), events(std::slice::from_ref(&quoted)), plain(200, KEY)] {
        let failure = fails(reply);
        assert!(!format!("{failure:?}").contains(KEY), "{failure:?}");
    }
}

#[test]
fn what_a_model_does_not_take_is_left_out_from_then_on() {
    let refused = |message: &str| {
        Ok(plain(400, json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}})))
    };
    let fine = || Ok(whole(json!([{"type": "text", "text": "ok"}]), "end_turn"));
    let too_many = "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for c";
    let service = Service::new([refused(too_many), refused("`temperature` is not supported"), fine(), fine()]);
    let (model, client) = (model(), Client::new(service.clone()));
    let request = Request { temperature: Some(0.5), ..request() };
    for _ in 0..2 {
        block_on(model.answer(&client, &request, &NoSink)).unwrap();
    }
    let sent: Vec<Value> =
        service.bodies().iter().map(|body| json!([body["max_tokens"], body["temperature"]])).collect();
    assert_eq!(sent, [json!([8192, 0.5]), json!([4096, 0.5]), json!([4096, null]), json!([4096, null])]);
}
