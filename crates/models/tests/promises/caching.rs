//! What providers keep for the next request: what they are told of it, and how it is counted.

use crate::service::{KEY, Service, ask, plain, request, stream};
use futures::executor::block_on;
use serde_json::{Value, json};
use tercel_models::{Anthropic, Model, NoSink, Options, SecretString};
use tercel_sdk::{
    chat::{Message, Request, Usage},
    http::Client,
};

fn anthropic() -> Anthropic {
    Anthropic::new("https://models.test", Some(SecretString::from(KEY)), Options::default())
}

fn usage(prompt: u64, completion: u64, cached: u64, written: u64) -> Usage {
    Usage { prompt_tokens: prompt, completion_tokens: completion, cached_tokens: cached, cache_written_tokens: written }
}

/// Where the marks of a body stand.
fn marked(body: &Value) -> Value {
    let of = |list: &Value| -> Vec<bool> {
        list.as_array().unwrap().iter().map(|block| block["cache_control"] == json!({"type": "ephemeral"})).collect()
    };
    json!([of(&body["system"]), of(&body["tools"])])
}

fn fine() -> Value {
    json!({"type": "message", "model": "c", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"})
}

#[test]
fn anthropic_is_told_to_keep_the_tools_and_the_prompt() {
    let service = Service::new([Ok(plain(200, fine()))]);
    let said = ["You help.", "# Skill: One", "Be quick."].map(Message::system);
    let messages = said.into_iter().chain([Message::user("Go")]).collect();
    let asked = Request { messages, ..request() };
    block_on(anthropic().answer(&Client::new(service.clone()), &asked, &NoSink)).unwrap();
    let body = service.bodies().remove(0);
    assert_eq!(marked(&body), json!([[true, false, true], [false, true]]));
    assert!(!body["messages"].to_string().contains("cache_control"));
}

#[test]
fn a_server_that_knows_no_marks_gets_none_from_then_on() {
    let refusal = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "tools.1.cache_control: Extra inputs are not permitted"}});
    let service = Service::new([Ok(plain(400, refusal)), Ok(plain(200, fine())), Ok(plain(200, fine()))]);
    let model = anthropic();
    for _ in 0..2 {
        block_on(model.answer(&Client::new(service.clone()), &request(), &NoSink)).unwrap();
    }
    let marks: Vec<Value> = service.bodies().iter().map(marked).collect();
    assert_eq!(
        marks,
        [json!([[true], [false, true]]), json!([[false], [false, false]]), json!([[false], [false, false]])]
    );
}

/// As Anthropic sends it: what is read of the cache and written to it stands beside `input_tokens`.
const ANTHROPIC: &str = include_str!("../data/anthropic_cached.sse");

#[test]
fn what_anthropic_read_from_its_cache_and_put_there_is_counted_apart_and_with_the_rest() {
    let service = Service::new([Ok(stream([ANTHROPIC]))]);
    let answer = block_on(anthropic().answer(&Client::new(service), &request(), &NoSink)).unwrap();
    assert_eq!((answer.text.as_str(), answer.usage), ("Hello!", usage(2120, 6, 1920, 188)));
}

#[test]
fn what_openai_and_others_found_in_their_caches_is_counted_as_they_say_it() {
    let whole = |counts: Value| {
        let choice = json!({"message": {"content": "Hello"}, "finish_reason": "stop"});
        ask(plain(200, json!({"model": "m", "choices": [choice], "usage": counts}))).unwrap().usage
    };
    let openai = json!({
        "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    });
    assert_eq!(whole(openai), usage(2006, 300, 1920, 0));
    let deepseek = json!({
        "prompt_tokens": 150, "completion_tokens": 9, "total_tokens": 159, "prompt_cache_hit_tokens": 128,
        "prompt_cache_miss_tokens": 22,
    });
    assert_eq!(whole(deepseek), usage(150, 9, 128, 0));
    let none = json!({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": null});
    assert_eq!(whole(none), usage(5, 1, 0, 0));
}
