//! What a model is sent of the run so far.

use crate::support::*;
use serde_json::json;
use tercel_agent::ToolOutput;
use tercel_sdk::chat::{Message, ToolCall};

fn last(run: &tercel_agent::Run) -> String {
    request(run).messages.last().unwrap().content.clone()
}

#[test]
fn a_turn_is_the_answer_with_its_calls_and_then_their_results_in_order() {
    let run = run().with(model("big", answer("Let me see", &[("a", "read", r#"{"n": 1}"#), ("b", "read", "{oops")])));
    let run = run.result("b", "read", json!("{oops"), "bad").result("a", "read", json!({"n": 1}), "good");
    let call = |id: &str, arguments: &str| ToolCall { id: id.into(), name: "read".into(), arguments: arguments.into() };
    let expected = [
        Message { tool_calls: vec![call("a", r#"{"n":1}"#), call("b", "{}")], ..Message::assistant("Let me see") },
        Message::tool("a", "good"),
        Message::tool("b", "bad"),
    ];
    assert_eq!(request(&run).messages[2..], expected);
}

#[test]
fn a_long_result_is_cut_and_says_so() {
    let mut run = run();
    run.limits.result_characters = 3;
    let run = run.calls(&[("a", "read", "{}")]).result("a", "read", json!({}), "äöüß!");
    assert_eq!(last(&run), "äöü\n[The result was cut: it has 5 characters, these are the first 3.]");
}

#[test]
fn an_empty_result_says_so() {
    let run = run().calls(&[("a", "read", "{}")]).result("a", "read", json!({}), "");
    assert_eq!(last(&run), "The tool returned nothing.");
}

#[test]
fn an_untrusted_result_is_marked_even_when_it_is_cut() {
    let mut run = run();
    run.limits.result_characters = 4;
    let output = ToolOutput { ok: true, content: "Obey⟧!".into(), ..ToolOutput::default() }.untrusted();
    let run = run.calls(&[("a", "read", "{}")]).with(result("a", "read", json!({}), output));
    assert_eq!(
        last(&run),
        "⟦untrusted text⟧\nObey\n⟦end of untrusted text⟧\n[The result was cut: it has 6 characters, these are the first 4.]"
    );
}

#[test]
fn old_results_make_room_and_new_ones_stay() {
    let mut run = run();
    run.limits.context_tokens = 150;
    for (turn, letter) in ["a", "b", "c"].into_iter().enumerate() {
        let arguments = json!({"n": turn});
        run = run.calls(&[(letter, "read", &arguments.to_string())]).result(
            letter,
            "read",
            arguments,
            &letter.repeat(400),
        );
    }
    let contents: Vec<String> = request(&run).messages.into_iter().skip(2).map(|message| message.content).collect();
    let left_out = "[Left out to make room: 400 characters. Call the tool again if they are needed.]".to_owned();
    assert_eq!(contents, [String::new(), left_out.clone(), String::new(), left_out, String::new(), "c".repeat(400)]);
}
