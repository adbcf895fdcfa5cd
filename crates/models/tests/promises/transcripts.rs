//! Answers as real servers send them.

use crate::service::{ask, message, stream, watch};
use proptest::prelude::*;
use serde_json::json;
use tercel_sdk::chat::{Answer, ToolCall, Usage};

const OPENAI: &str = include_str!("../data/openai.sse");
const VLLM: &str = include_str!("../data/vllm.sse");
const OLLAMA: &str = include_str!("../data/ollama.sse");
const LLAMA_CPP: &str = include_str!("../data/llama_cpp.sse");
const OPENROUTER: &str = include_str!("../data/openrouter.sse");

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
}

fn answer(model: &str, text: &str, tool_calls: Vec<ToolCall>, usage: (u64, u64)) -> Answer {
    Answer {
        text: text.into(),
        tool_calls,
        usage: Usage { prompt_tokens: usage.0, completion_tokens: usage.1, ..Usage::default() },
        model: model.into(),
        truncated: false,
        repairs: vec![],
    }
}

fn expected() -> [(&'static str, Answer, &'static str); 5] {
    let get = |id: &str, arguments: &str| call(id, "forge_get_pr", arguments);
    let openai =
        vec![get("call_DdmO9pD3xa9XTPNJ32zg2hcA", r#"{"repo":"o/r","number":12}"#), call("call_9Zk", "wait", "{}")];
    let vllm = vec![get("chatcmpl-tool-1", r#"{"repo": "o/r", "number": 12}"#)];
    let ollama = vec![get("call_rz1", r#"{"number":12,"repo":"o/r"}"#), call("call_rz2", "wait", "{}")];
    let cut = Answer { truncated: true, ..answer("gpt-3.5-turbo", "Grüße, 世界 🚀", vec![], (20, 9)) };
    [
        (OPENAI, answer("gpt-4.1-2025-04-14", "", openai, (82, 17)), ""),
        (VLLM, answer("Qwen/Qwen3-8B", "", vllm, (150, 30)), "Let me see. "),
        (OLLAMA, answer("llama3.2", "", ollama, (61, 22)), ""),
        (LLAMA_CPP, cut, "\nShort one."),
        (OPENROUTER, answer("deepseek/deepseek-r1", "All good.", vec![], (14, 163)), "Hm."),
    ]
}

#[test]
fn every_servers_stream_is_understood() {
    for (transcript, answer, thinking) in expected() {
        let text = answer.text.clone();
        assert_eq!(watch(stream([transcript])), (Ok(answer), text, thinking.to_owned()));
    }
}

#[test]
fn line_ends_of_windows_change_nothing() {
    for (transcript, answer, _) in expected() {
        assert_eq!(ask(stream([transcript.replace('\n', "\r\n")])), Ok(answer));
    }
}

#[test]
fn a_stream_without_a_blank_line_at_its_end_is_complete() {
    for (transcript, answer, _) in expected() {
        assert_eq!(ask(stream([transcript.trim_end()])), Ok(answer.clone()));
        assert_eq!(ask(stream([transcript.trim_end().trim_end_matches("data: [DONE]").trim_end()])), Ok(answer));
    }
}

#[test]
fn a_stream_that_names_no_type_is_recognised() {
    for (transcript, answer, _) in expected() {
        let mut reply = stream([transcript]);
        reply.headers = vec![("content-type", "text/plain")];
        assert_eq!(ask(reply), Ok(answer));
    }
}

#[test]
fn a_server_that_ignores_streaming_is_understood() {
    let (answer, shown, thinking) = watch(message(json!({
        "role": "assistant",
        "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "Hm" }] }, { "type": "text", "text": "One " }, { "type": "text", "text": "two" }],
        "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "wait", "arguments": "{\"s\":1}" } }],
    })));
    assert_eq!(answer, Ok(self::answer("m", "One two", vec![call("a", "wait", "{\"s\":1}")], (3, 2))));
    assert_eq!((shown.as_str(), thinking.as_str()), ("One two", "Hm"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn where_the_bytes_are_cut_changes_nothing(
        which in 0..5_usize,
        crlf in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let (transcript, answer, thinking) = expected()[which].clone();
        let bytes = if crlf { transcript.replace('\n', "\r\n") } else { transcript.to_owned() }.into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec());
        let text = answer.text.clone();
        prop_assert_eq!(watch(stream(pieces)), (Ok(answer), text, thinking.to_owned()));
    }
}
