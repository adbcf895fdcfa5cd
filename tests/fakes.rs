//! The fakes do what they say: a test against a fake that is wrong proves nothing.

use serde_json::{Value, json};
use std::time::Duration;
use tercel_tests::{
    Client, FakeGitHub, FakeModel, Turn,
    github::{DIFF, Fault, On},
};

fn client(url: &str) -> Client {
    Client { base: url.into(), key: Some("token".into()) }
}

fn ask(model: &FakeModel, stream: bool) -> tercel_tests::Answer {
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]});
    client(&model.url()).post("/chat/completions", body)
}

/// What the pieces of a stream come to.
fn joined(answer: &tercel_tests::Answer) -> (String, Vec<Value>, Value) {
    let (mut text, mut calls, mut usage) = (String::new(), Vec::<Value>::new(), Value::Null);
    let body = answer.text();
    assert!(body.ends_with("data: [DONE]\n\n"), "{body}");
    for chunk in body.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok()) {
        usage = chunk["usage"].clone();
        let delta = &chunk["choices"][0]["delta"];
        text += delta["content"].as_str().unwrap_or_default();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            match calls.get_mut(index) {
                None => calls.push(call["function"].clone()),
                Some(known) => {
                    let more = format!(
                        "{}{}",
                        known["arguments"].as_str().unwrap(),
                        call["function"]["arguments"].as_str().unwrap()
                    );
                    known["arguments"] = more.into();
                }
            }
        }
    }
    (text, calls, usage)
}

#[test]
fn the_model_says_the_same_whole_and_in_pieces() {
    let model = FakeModel::start();
    let calls = vec![("one".to_owned(), json!({"ü": 1})), ("two".to_owned(), json!("not JSON"))];
    let turn = Turn::TextAndCalls("Ünïcode text".into(), calls);
    model.queue([turn.clone(), turn]);
    let whole = ask(&model, false).expect(200);
    let message = &whole["choices"][0]["message"];
    let (text, calls, usage) = joined(&ask(&model, true));
    assert_eq!((message["content"].as_str(), &whole["usage"]), (Some(text.as_str()), &usage));
    let functions: Vec<Value> =
        message["tool_calls"].as_array().unwrap().iter().map(|call| call["function"].clone()).collect();
    assert_eq!(functions, calls);
    assert_eq!(calls[1]["arguments"], "not JSON");
    assert_eq!((model.calls(), model.asked()[0].question()), (2, "hello"));
}

#[test]
fn the_model_fails_as_it_is_told() {
    let model = FakeModel::start();
    model.queue([Turn::busy(7), Turn::Nothing, Turn::Garbage, Turn::fails(500)]);
    let busy = ask(&model, true);
    assert_eq!((busy.status, busy.header("retry-after")), (429, Some("7")));
    assert_eq!(ask(&model, true).body.len(), 0);
    assert!(serde_json::from_slice::<Value>(&ask(&model, true).body).is_err());
    assert_eq!(ask(&model, false).status, 500);
    for stream in [true, false] {
        model.queue([Turn::Close]);
        let body = json!({"model": "m", "stream": stream, "messages": []}).to_string();
        assert!(
            client(&model.url()).try_call("POST", "/chat/completions", &[], body).is_err(),
            "a cut answer is whole"
        );
    }
}

#[test]
fn the_model_takes_its_time() {
    let model = FakeModel::start();
    model.latency(Duration::from_millis(60));
    let start = std::time::Instant::now();
    ask(&model, true);
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn comments_are_remembered_also_when_nobody_is_told() {
    let github = FakeGitHub::start();
    let post = || {
        let body = json!({"body": "hello"}).to_string();
        client(&github.url()).try_call("POST", "/repos/octo/hello/issues/1/comments", &[], body)
    };
    for fault in [Fault::AcceptAndClose, Fault::Close] {
        github.fail_times(1, On::Posts, fault);
        assert!(post().is_err());
    }
    github.fail_times(1, On::Posts, Fault::AcceptAndStatus(502));
    assert_eq!(post().unwrap().status, 502);
    github.fail_times(1, On::Posts, Fault::Status(422, vec![]));
    assert_eq!(post().unwrap().status, 422);
    assert_eq!((post().unwrap().status, github.comments().len(), github.posts()), (201, 3, 5));
}

#[test]
fn lists_come_in_pages() {
    let github = FakeGitHub::start();
    let client = client(&github.url());
    for n in 0..5 {
        client.post("/repos/octo/hello/issues/1/comments", json!({"body": format!("{n}")})).expect(201);
    }
    let first = client.get("/repos/octo/hello/issues/1/comments?per_page=3");
    assert!(first.header("link").is_some_and(|link| link.contains("page=2")));
    let second = client.get("/repos/octo/hello/issues/1/comments?per_page=3&page=2");
    let bodies: Vec<Value> =
        second.expect(200).as_array().unwrap().iter().map(|comment| comment["body"].clone()).collect();
    assert_eq!((bodies, second.header("link")), (vec![json!("3"), json!("4")], None));
    let later = client.get("/repos/octo/hello/issues/1/comments?since=2999-01-01T00:00:00Z");
    assert_eq!(later.expect(200), json!([]));
    let diff = client.call("GET", "/repos/octo/hello/pulls/1", &[("accept", "application/vnd.github.diff")], "");
    assert_eq!(diff.text(), DIFF);
}

#[test]
fn an_address_can_be_shut_and_opened_again() {
    let mut github = FakeGitHub::start();
    let client = client(&github.url());
    github.shut();
    assert!(client.try_call("GET", "/user", &[], "").is_err());
    github.open();
    client.get("/user").expect(200);
}
