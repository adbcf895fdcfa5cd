//! What is sent to a provider.

use crate::service::{KEY, Service, message, openai, plain, request};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tercel_models::{Model, NoSink, OpenAi, Options, Provider, from_config};
use tercel_sdk::{
    Kind, Result,
    chat::{Answer, Message, Request, ToolCall},
    http::Client,
};

fn ask(model: &dyn Model, service: &Arc<Service>, request: &Request) -> Result<Answer> {
    block_on(model.answer(&Client::new(service.clone()), request, &NoSink))
}

fn hello() -> Result<crate::service::Reply> {
    Ok(message(json!({ "content": "Hello" })))
}

#[test]
fn a_conversation_is_sent_in_openais_words() {
    let service = Service::new([hello()]);
    let mut asked = request();
    let call = |id: &str, arguments: &str| ToolCall { id: id.into(), name: "wait".into(), arguments: arguments.into() };
    let mut assistant = Message::assistant("");
    assistant.tool_calls = vec![call("a", "{\"s\":1}"), call("b", "{\"s\":")];
    asked.messages.extend([
        assistant,
        Message::tool("a", "ok"),
        Message::tool("b", "malformed"),
        Message::assistant("Done"),
    ]);
    asked.temperature = Some(0.5);
    asked.max_tokens = Some(100);
    asked.tools.remove(0);
    ask(&openai("https://models.test/v1/"), &service, &asked).unwrap();
    let function = |arguments: &str| json!({ "name": "wait", "arguments": arguments });
    assert_eq!(
        service.bodies(),
        [json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "You help." },
                { "role": "user", "content": "Look at https://forge.example/o/r/pull/12" },
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "a", "type": "function", "function": function("{\"s\":1}") },
                    { "id": "b", "type": "function", "function": function("{\"malformed\":\"{\\\"s\\\":\"}") },
                ] },
                { "role": "tool", "tool_call_id": "a", "content": "ok" },
                { "role": "tool", "tool_call_id": "b", "content": "malformed" },
                { "role": "assistant", "content": "Done" },
            ],
            "tools": [{ "type": "function", "function": { "name": "wait", "description": "A tool", "parameters": { "type": "object", "properties": {} } } }],
            "temperature": 0.5,
            "max_tokens": 100,
            "stream": true,
            "stream_options": { "include_usage": true },
        })]
    );
    let sent = &service.sent()[0];
    assert_eq!(sent.url.as_str(), "https://models.test/v1/chat/completions");
    assert_eq!(sent.headers["authorization"], format!("Bearer {KEY}"));
    assert!(sent.headers["authorization"].is_sensitive() && sent.repeatable);
    assert_eq!(sent.timeout, Some(Duration::from_secs(120)));
}

#[test]
fn without_a_key_none_is_sent() {
    for api_key in [None, Some(" ".to_owned().into())] {
        let service = Service::new([hello()]);
        let provider = Provider::OpenAi { base_url: "http://localhost:11434/v1/chat/completions".into(), api_key };
        let model = from_config(provider, Options { stream: false, ..Options::default() });
        ask(&*model, &service, &request()).unwrap();
        assert!(!service.sent()[0].headers.contains_key("authorization"));
        assert_eq!(service.sent()[0].url.as_str(), "http://localhost:11434/v1/chat/completions");
        assert_eq!((&service.bodies()[0]["stream"], service.bodies()[0].get("stream_options")), (&json!(false), None));
    }
}

/// The value of `option` in every request, when the server first answers with a refusal and is asked once more after.
fn values(option: &str, status: u16, refusal: &str) -> Vec<Option<Value>> {
    let service = Service::new([Ok(plain(status, json!({ "error": { "message": refusal } }))), hello(), hello()]);
    let model = openai("https://models.test/v1");
    let asked = Request { max_tokens: Some(5), temperature: Some(0.0), ..request() };
    ask(&model, &service, &asked).unwrap();
    ask(&model, &service, &asked).unwrap();
    service.bodies().iter().map(|body| body.get(option).cloned()).collect()
}

#[test]
fn an_option_that_a_server_refuses_is_left_out_from_then_on() {
    let usage = Some(json!({ "include_usage": true }));
    assert_eq!(
        values("stream_options", 400, "Unrecognized request argument supplied: stream_options"),
        [usage.clone(), None, None]
    );
    assert_eq!(values("stream_options", 422, "Bad request"), [usage, None, None]);
    let refusal =
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    assert_eq!(values("max_tokens", 400, refusal), [Some(json!(5)), None, None]);
    assert_eq!(values("max_completion_tokens", 400, refusal), [None, Some(json!(5)), Some(json!(5))]);
    let refusal = "Unsupported value: 'temperature' does not support 0 with this model.";
    assert_eq!(values("temperature", 400, refusal), [Some(json!(0.0)), None, None]);
}

#[test]
fn a_request_that_is_refused_for_another_reason_is_not_repeated_once_the_options_are_known() {
    let too_long = || Ok(plain(400, json!({ "error": { "message": "Too long" } })));
    let service = Service::new([hello(), too_long()]);
    let model = openai("https://models.test/v1");
    ask(&model, &service, &request()).unwrap();
    let failure = ask(&model, &service, &request()).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Schema, "The model provider answered 400: Too long"));
    assert_eq!(service.sent().len(), 2);
}

#[test]
fn an_address_that_is_none_is_said() {
    let model = OpenAi::new("models.test", None, Options::default());
    let failure = ask(&model, &Service::new([]), &request()).unwrap_err();
    assert_eq!(failure.kind, Kind::Schema);
}

#[test]
fn a_base_address_without_a_path_is_hinted_at() {
    let service = Service::new([Ok(plain(404, "404 page not found"))]);
    let failure = ask(&openai("http://localhost:11434"), &service, &request()).unwrap_err();
    assert_eq!(
        failure.hint.as_deref(),
        Some("Check the name of the model, and LLM_BASE_URL, whose path usually ends in /v1")
    );
}
