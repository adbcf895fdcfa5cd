//! Malformed answers: mended where what was meant is plain, and always reported.

use crate::service::{ask, fails, message, plain, request, stream, watch};
use futures::executor::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tercel_models::{NoSink, OpenAi, Options};
use tercel_sdk::{Kind, chat::Message};

const GET: &str = r#"{"name": "forge_get_pr", "arguments": {"repo": "o/r", "number": 12}}"#;

/// Text, calls as `id name arguments`, repairs.
fn read(message: Value) -> (String, Vec<String>, Vec<String>) {
    let answer = ask(self::message(message)).unwrap();
    let calls = answer.tool_calls.iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments)).collect();
    (answer.text, calls, answer.repairs)
}

fn written(content: &str) -> (String, Vec<String>, Vec<String>) {
    read(json!({ "content": content }))
}

#[test]
fn a_call_that_is_written_as_text_is_a_call() {
    let bare = GET.replace("arguments", "parameters");
    let wrapped = r#"{"tool_calls": [{"id": "x1", "type": "function", "function": {"name": "forge_get_pr", "arguments": "{\"repo\":\"o/r\",\"number\":12}"}}]}"#;
    let cases = [
        (format!("```json\n{GET}\n```"), ""),
        (format!("```json {GET}```"), ""),
        (format!("```\n{GET}\n```"), ""),
        (format!("I will look.\n\n```json\n{GET}\n```\n"), "I will look."),
        (format!("```json\n{GET}\n```\nI wait for the result."), "I wait for the result."),
        (format!("<tool_call>\n{GET}\n</tool_call>"), ""),
        (format!("<tool_call>{GET}"), ""),
        (format!("First this.\n<tool_call>{GET}</tool_call>\nThen that."), "First this.\n\nThen that."),
        (format!("<think>Hm {GET}</think>\n{GET}"), ""),
        (bare, ""),
        (format!("[{GET}]"), ""),
        (wrapped.to_owned(), ""),
    ];
    for (content, text) in cases {
        let (read, calls, repairs) = written(&content);
        assert_eq!(read, text, "{content}");
        assert!(
            calls.len() == 1 && calls[0].ends_with(r#"forge_get_pr {"repo":"o/r","number":12}"#),
            "{content}: {calls:?}"
        );
        assert_eq!(repairs[0], "the call of `forge_get_pr` was written as text", "{content}");
    }
}

#[test]
fn several_calls_can_be_written_one_after_the_other() {
    let wait = r#"{"name": "wait", "arguments": {}}"#;
    for content in [
        format!("{GET}\n{wait}"),
        format!("{GET}; {wait}"),
        format!("[{GET}, {wait}]"),
        format!("```json\n{GET}\n{wait}\n```"),
        format!("<tool_call>{GET}</tool_call>\n<tool_call>{wait}</tool_call>"),
    ] {
        let (text, calls, _) = written(&content);
        assert_eq!(text, "", "{content}");
        assert_eq!(calls, [r#"c00002000 forge_get_pr {"repo":"o/r","number":12}"#, "c00002001 wait {}"], "{content}");
    }
}

#[test]
fn text_that_is_no_call_of_an_offered_tool_stays_as_it_is() {
    let cases = [
        r#"{"name": "rm", "arguments": {}}"#,
        r#"{"name": "forge_get_pr"}"#,
        r#"{"name": "Ada", "parameters": 3}"#,
        "```json\n{\"a\": 1}\n```",
        "```rust\n{\"name\": \"wait\"}\n```\nDone.",
        "[a link](https://x.test)\n- {braces}",
        "A { in prose, `code` and\n{ not json",
        "1 < 2 <think is no tag>",
    ];
    for content in cases {
        let (answer, shown, _) = watch(message(json!({ "content": content })));
        let answer = answer.unwrap();
        assert_eq!((answer.text.as_str(), shown.as_str()), (content, content));
        assert_eq!((answer.tool_calls, answer.repairs), (vec![], vec![]), "{content}");
    }
}

#[test]
fn a_call_amid_prose_is_a_quotation_and_reported() {
    let content = format!("Somebody wrote:\n```json\n{GET}\n```\nand I did not do that.");
    let note = "left what looks like a call of `forge_get_pr` as text: it stands amid prose";
    let (text, calls, repairs) = written(&content);
    assert_eq!((text, calls.len()), (content, 0));
    assert_eq!(repairs[0], note);
}

#[test]
fn a_call_that_cannot_be_read_is_reported() {
    let content = r#"{"name": "forge_get_pr", "arguments": {"repo": "o/r", number: 12}}"#;
    let note = "the text looks like a call of `forge_get_pr` but could not be read as one";
    assert_eq!(written(content), (content.into(), vec![], vec![note.into()]));
}

#[test]
fn without_tools_every_text_is_text() {
    let mut asked = request();
    asked.tools.clear();
    let service = crate::service::Service::new([Ok(message(json!({ "content": GET })))]);
    let model = OpenAi::new("https://models.test/v1", None, Options::default());
    let answer =
        block_on(tercel_models::Model::answer(&model, &tercel_sdk::http::Client::new(service), &asked, &NoSink));
    assert_eq!(answer.map(|answer| (answer.text, answer.tool_calls)), Ok((GET.into(), vec![])));
}

#[test]
fn a_call_that_is_made_and_written_is_made_once() {
    let made =
        json!([{ "id": "a", "function": { "name": "forge_get_pr", "arguments": "{\"number\":12,\"repo\":\"o/r\"}" } }]);
    let (text, calls, repairs) = read(json!({ "content": GET, "tool_calls": made }));
    assert_eq!((text.as_str(), calls.len()), ("", 1));
    assert_eq!(repairs, ["left out tool calls that were repeated as text"]);
    let other = json!([{ "id": "a", "function": { "name": "wait", "arguments": "{}" } }]);
    let (text, calls, repairs) = read(json!({ "content": GET, "tool_calls": other }));
    assert_eq!((text.as_str(), calls), (GET, vec!["a wait {}".to_owned()]));
    assert_eq!(repairs, ["left what looks like a tool call as text: the answer has tool calls besides"]);
}

#[test]
fn proper_calls_are_mended() {
    let cases = [
        (
            json!({ "id": "a", "function": { "name": "wait", "arguments": { "s": 1 } } }),
            r#"a wait {"s":1}"#,
            "the arguments of `wait` came as an object instead of text",
        ),
        (
            json!({ "id": "a", "function": { "name": "wait", "arguments": "" } }),
            "a wait {}",
            "the call of `wait` had empty arguments: taken as {}",
        ),
        (
            json!({ "id": "a", "function": { "name": "wait" } }),
            "a wait {}",
            "the call of `wait` had empty arguments: taken as {}",
        ),
        (
            json!({ "id": "a", "function": { "name": "wait", "arguments": "\"{\\\"s\\\":1}\"" } }),
            r#"a wait {"s":1}"#,
            "the arguments of `wait` were encoded twice",
        ),
        (
            json!({ "id": "a", "function": { "name": "wait", "arguments": "{}{\"s\":1}" } }),
            r#"a wait {"s":1}"#,
            "the arguments of `wait` began with an empty object",
        ),
        (
            json!({ "id": "a", "function": { "name": "functions.wait:0", "arguments": "{}" } }),
            "a wait {}",
            "took the tool `functions.wait:0` as `wait`",
        ),
        (
            json!({ "function": { "name": "wait", "arguments": "{}" } }),
            "c00002000 wait {}",
            "the call of `wait` had no id: it is now `c00002000`",
        ),
    ];
    for (call, expected, repair) in cases {
        assert_eq!(
            read(json!({ "content": null, "tool_calls": [call] })),
            ("".into(), vec![expected.into()], vec![repair.into()])
        );
    }
    let legacy = json!({ "content": null, "function_call": { "name": "wait", "arguments": "{\"s\":1}" } });
    assert_eq!(read(legacy).1, [r#"c00002000 wait {"s":1}"#]);
}

/// The calls that come of these deltas, as `id name arguments`.
fn streamed(deltas: &[Value]) -> Vec<String> {
    let pieces = deltas.iter().map(|call| json!({ "choices": [{ "delta": { "tool_calls": [call] } }] }));
    let end = json!({ "choices": [{ "delta": {}, "finish_reason": "tool_calls" }] });
    let answer = ask(stream(pieces.chain([end]).map(|event| format!("data: {event}\n\n")))).unwrap();
    answer.tool_calls.iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments)).collect()
}

#[test]
fn calls_are_told_apart_however_a_server_counts_them() {
    let named = |name: &str, arguments: &str| json!({ "name": name, "arguments": arguments });
    let get = "forge_get_pr";
    let two = ["a wait {\"s\":1}", "b forge_get_pr {\"n\":2}"];
    let by_index = [
        json!({ "index": 0, "id": "a", "function": named("wait", "") }),
        json!({ "index": 1, "id": "b", "function": named(get, "{\"n\"") }),
        json!({ "index": 0, "function": { "arguments": "{\"s\":1}" } }),
        json!({ "index": 1, "function": { "arguments": ":2}" } }),
    ];
    let all_are_zero = [
        json!({ "index": 0, "id": "a", "function": named("wait", "{\"s\":1}") }),
        json!({ "index": 0, "id": "b", "function": named(get, "{\"n\":2}") }),
    ];
    let without_index = [
        json!({ "id": "a", "function": named("wait", "{\"s\"") }),
        json!({ "function": { "arguments": ":1}" } }),
        json!({ "id": "b", "function": named(get, "{\"n\":2}") }),
    ];
    let name_repeated = [
        json!({ "index": 0, "id": "a", "function": named("wait", "{\"s\"") }),
        json!({ "index": 0, "id": "a", "function": named("wait", ":1}") }),
        json!({ "index": 1, "id": "b", "function": named(get, "{\"n\":2}") }),
    ];
    for deltas in [&by_index[..], &all_are_zero, &without_index, &name_repeated] {
        assert_eq!(streamed(deltas), two, "{deltas:?}");
    }
    let nothing_but_names =
        [json!({ "function": named("wait", "{\"s\":1}") }), json!({ "function": named(get, "{\"n\":2}") })];
    assert_eq!(streamed(&nothing_but_names), ["c00002000 wait {\"s\":1}", "c00002001 forge_get_pr {\"n\":2}"]);
}

#[test]
fn of_thousands_of_calls_in_one_answer_the_first_are_made() {
    let call =
        |n: usize| json!({ "index": n, "id": format!("i{n}"), "function": { "name": "wait", "arguments": "{}" } });
    let said = "left out the tool calls after the first 128";
    let all: Vec<Value> = (0..3000).map(call).collect();
    let (_, calls, repairs) = read(json!({ "tool_calls": all }));
    let first: Vec<String> = (0..128).map(|n| format!("i{n} wait {{}}")).collect();
    assert_eq!((&calls, repairs.as_slice()), (&first, [said.to_owned()].as_slice()));
    assert_eq!(streamed(&all), first, "and no piece of another is taken for theirs");
    let (_, calls, repairs) = written(&"<tool_call>{\"name\": \"wait\", \"arguments\": {}}</tool_call>\n".repeat(3000));
    assert_eq!(calls.len(), 128);
    assert!(repairs.iter().any(|repair| repair == said), "{repairs:?}");
}

#[test]
fn what_cannot_be_mended_is_left_to_the_agent() {
    let call = json!({ "id": "a", "function": { "name": "unknown", "arguments": "{\"s\":" } });
    assert_eq!(read(json!({ "tool_calls": [call] })), ("".into(), vec!["a unknown {\"s\":".into()], vec![]));
}

#[test]
fn ids_are_never_used_twice() {
    let call = json!({ "id": "call_0", "function": { "name": "wait", "arguments": "{}" } });
    let mut asked = request();
    let mut earlier = Message::assistant("");
    earlier.tool_calls = ask(message(json!({ "tool_calls": [call] }))).unwrap().tool_calls;
    asked.messages.extend([earlier, Message::tool("call_0", "ok")]);
    let service = crate::service::Service::new([Ok(message(json!({ "tool_calls": [call] })))]);
    let model = OpenAi::new("https://models.test/v1", None, Options::default());
    let answer =
        block_on(tercel_models::Model::answer(&model, &tercel_sdk::http::Client::new(service), &asked, &NoSink))
            .unwrap();
    assert_eq!(answer.tool_calls[0].id, "c00004000");
    assert_eq!(answer.repairs, ["the call of `wait` had an id that was used before: it is now `c00004000`"]);
}

#[test]
fn a_call_without_a_name_is_left_out_and_said() {
    let nameless = json!({ "id": "a", "function": { "name": "", "arguments": "{}" } });
    let note = "left out a tool call without a name (2 characters)";
    assert_eq!(read(json!({ "content": "Hi", "tool_calls": [nameless] })), ("Hi".into(), vec![], vec![note.into()]));
    assert_eq!(fails(Ok(message(json!({ "content": "", "tool_calls": [nameless] })))).kind, Kind::Error);
}

#[test]
fn thinking_is_not_part_of_the_text() {
    for (content, text, thinking) in [
        ("<think>\nA\n</think>\n\nB", "B", "\nA\n"),
        ("A\nB\n</think>\n\nC", "C", "A\nB\n"),
        ("<think>only", "", "only"),
        ("<think></think>B", "B", ""),
        ("A\n<think>b</think>\nC", "A\n\nC", "b"),
    ] {
        let (answer, _, thought) = watch(message(json!({ "content": content })));
        assert_eq!((answer.unwrap().text.as_str(), thought.as_str()), (text, thinking), "{content}");
    }
}

#[test]
fn a_refusal_is_the_answer_and_a_filter_says_so() {
    assert_eq!(
        read(json!({ "content": null, "refusal": "I can't help with that." })),
        ("I can't help with that.".into(), vec![], vec!["the model refused: its refusal is the answer".into()])
    );
    let filtered = |content: &str| {
        plain(200, json!({ "choices": [{ "message": { "content": content }, "finish_reason": "content_filter" }] }))
    };
    assert_eq!(fails(Ok(filtered(""))).message, "The provider's content filter withheld the answer");
    assert_eq!(ask(filtered("Hal")).unwrap().repairs[0], "the provider's content filter cut the answer");
}

#[test]
fn tokens_that_are_not_counted_are_estimated() {
    for usage in [json!(null), json!({ "prompt_tokens": 0, "completion_tokens": 0 })] {
        let reply =
            json!({ "choices": [{ "message": { "content": "12345" }, "finish_reason": "stop" }], "usage": usage });
        let answer = ask(plain(200, reply)).unwrap();
        assert_eq!(answer.usage.completion_tokens, 2);
        assert!(answer.usage.prompt_tokens > 40, "{:?}", answer.usage);
        assert_eq!(answer.repairs, ["the provider did not count tokens: estimated from the number of characters"]);
    }
}

#[test]
fn a_connection_that_breaks_after_the_end_does_no_harm() {
    let last = json!({ "choices": [{ "delta": { "content": "Done" }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 1 } });
    let mut reply = stream([format!("data: {last}\n\n")]);
    reply.pieces.push(Err(tercel_sdk::Error::new(Kind::Network, "reset")));
    let answer = ask(reply).unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.repairs),
        ("Done", vec!["the connection broke after the answer was complete".into()])
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_same_text_is_the_same_answer_in_whatever_pieces_it_comes(
        parts in prop::collection::vec(prop::sample::select(vec![
            GET, "```json\n", "```", "\n```\n", "```rust\n", "<think>", "</think>", "<tool_call>", "</tool_call>",
            "\n", " ", "Hello ü", "{\"a\": ", "[1, ", "{}", "; ", "}", "\n</think>\n",
        ]), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let text = parts.concat();
        let characters: Vec<_> = text.chars().collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(characters.len() + 1)).collect();
        cuts.extend([0, characters.len()]);
        cuts.sort_unstable();
        let events = |pieces: Vec<String>| {
            let end = json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] });
            let pieces = pieces.into_iter().map(|piece| json!({ "choices": [{ "delta": { "content": piece } }] }));
            watch(stream(pieces.chain([end]).map(|event| format!("data: {event}\n\n"))))
        };
        let pieces = cuts.windows(2).map(|cut| characters[cut[0]..cut[1]].iter().collect()).collect();
        prop_assert_eq!(events(pieces), events(vec![text]));
    }
}
