//! The course of a run: its beginning, its end, its limits.

use crate::support::*;
use serde_json::json;
use std::time::Duration;
use tercel_agent::{Next, Step, ToolOutput, next};
use tercel_sdk::{Effect, Error, Kind, chat};

#[test]
fn a_run_begins_with_a_call_of_the_bots_model() {
    let expected = Next::CallModel {
        iteration: 1,
        model: "big".into(),
        fallback: false,
        request: chat::Request {
            model: "big".into(),
            messages: run().context,
            tools: ["read", "write", "destroy"].map(|name| tool(name, Effect::Read).spec).into(),
            temperature: Some(0.5),
            max_tokens: Some(100),
            shape: chat::Shape::default(),
        },
        wait: Duration::ZERO,
    };
    assert_eq!(next(&run()), expected);
}

#[test]
fn text_without_calls_is_the_answer() {
    assert_eq!(complete(&run().text("Hello\n")), ("Hello".into(), vec![]));
}

#[test]
fn calls_beside_text_run_first_and_each_tool_is_listed_once() {
    let asked = run().with(model("big", answer("Wait.", &[("a", "read", "{}"), ("b", "read", r#"{"n":1}"#)])));
    assert_eq!(planned(&asked).len(), 2);
    let done = asked.result("a", "read", json!({}), "x").result("b", "read", json!({"n": 1}), "y");
    assert!(matches!(next(&done), Next::CallModel { iteration: 2, .. }));
    assert_eq!(complete(&done.text("Done")), ("Done".into(), vec!["read".into()]));
}

#[test]
fn what_was_not_run_is_not_listed_as_used() {
    let run = run().calls(&[("a", "nothing", "{}")]);
    let refused = ToolOutput { skipped: true, ..ToolOutput::default() };
    let run = run.with(result("a", "nothing", json!({}), refused)).text("Sorry");
    assert_eq!(complete(&run), ("Sorry".into(), vec![]));
}

#[test]
fn an_answer_cut_by_the_model_is_given_with_a_note() {
    let cut = chat::Answer { truncated: true, ..answer("Half of", &[]) };
    let (text, _) = complete(&run().with(model("big", cut)));
    assert_eq!(text, "Half of\n\n[The answer ends here because it reached the model's length limit.]");
}

#[test]
fn an_empty_answer_is_asked_for_once_more_then_fails() {
    let once = run().text(" \n");
    let messages = request(&once).messages;
    assert_eq!(messages.len(), 3, "an empty answer is not sent back");
    assert_eq!(
        messages[2],
        chat::Message::system("Your last answer was empty. Answer now: either in words, or by calling a tool.")
    );
    assert_eq!(complete(&once.clone().text("Yes")).0, "Yes");
    assert_eq!(failed(&once.text("")).message, "The model answered nothing, twice (`big-2026`)");
}

#[test]
fn an_answer_between_two_empty_ones_gives_another_chance() {
    let run = run().text("").calls(&[("a", "read", "{}")]).result("a", "read", json!({}), "x").text("");
    assert!(matches!(next(&run), Next::CallModel { iteration: 4, .. }));
}

#[test]
fn the_last_allowed_call_has_no_tools_and_asks_for_the_answer() {
    let mut run = run();
    run.limits.iterations = 2;
    let run = run.calls(&[("a", "read", "{}")]).result("a", "read", json!({}), "x");
    let last = request(&run);
    assert_eq!(last.tools, []);
    assert!(last.messages.last().unwrap().content.starts_with("This is the last step of this run"), "{last:?}");
    assert_eq!(complete(&run.clone().text("So far so good")).0, "So far so good");
    let both = answer("Text all the same", &[("b", "read", "{}")]);
    assert_eq!(complete(&run.clone().with(model("big", both))).0, "Text all the same");
    for run in [run.clone().text(""), run.calls(&[("b", "read", "{}")])] {
        assert_eq!(failed(&run).message, "The run reached its limit of 2 model calls without an answer");
    }
}

#[test]
fn a_run_over_its_tokens_ends_unless_it_has_its_answer() {
    let mut run = run();
    run.limits.tokens = 15;
    let within = run.clone().calls(&[("a", "read", "{}")]);
    assert_eq!(planned(&within).len(), 1, "the limit itself is allowed");
    run.limits.tokens = 14;
    let asked = run.clone().calls(&[("a", "read", "{}")]);
    let done = asked.clone().result("a", "read", json!({}), "x");
    for run in [asked, done] {
        assert_eq!(failed(&run).message, "The run used 15 tokens; its limit is 14");
    }
    assert_eq!(complete(&run.text("Hello")).0, "Hello");
}

#[test]
fn tokens_of_all_attempts_count() {
    let run = run().calls(&[("a", "read", "{}")]).attempt(2).text("x");
    assert_eq!(run.usage(), chat::Usage { prompt_tokens: 20, completion_tokens: 10, ..chat::Usage::default() });
}

#[test]
fn a_parked_run_stays_parked_until_it_is_resumed() {
    let error = Error::new(Kind::Auth, "The key is wrong");
    let parked =
        run().fails("big", error.clone()).fails("small", error.clone()).with(Step::Parked { error: error.clone() });
    assert_eq!(next(&parked), Next::Park(error));
    let resumed = parked.with(Step::Resumed { by: "admin".into() });
    assert!(matches!(next(&resumed), Next::CallModel { model, .. } if model == "big"));
}

#[test]
fn steps_are_stored_under_their_names() {
    let run = run()
        .calls(&[("a", "read", "{}")])
        .result("a", "read", json!({}), "x")
        .fails("big", Error::new(Kind::Timeout, "late"))
        .with(Step::Parked { error: Error::new(Kind::Auth, "no") })
        .with(Step::Resumed { by: "me".into() });
    let stored = serde_json::to_value(&run.steps).unwrap();
    let kinds: Vec<&str> = stored.as_array().unwrap().iter().map(|s| s["step"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["model", "tool", "model_failed", "parked", "resumed"]);
    assert_eq!(serde_json::from_value::<Vec<tercel_agent::Committed>>(stored).unwrap(), run.steps);
}

#[test]
fn a_result_of_a_tool_becomes_what_the_model_reads() {
    let of = |value| {
        let output = ToolOutput::of(Ok(value));
        assert!(output.ok);
        (output.content, output.client_action)
    };
    assert_eq!(of(json!("plain")), ("plain".into(), None));
    assert_eq!(of(json!({"a": 1})), (r#"{"a":1}"#.into(), None));
    assert_eq!(of(json!({"a": 1, "client_action": {"open": "x"}})), (r#"{"a":1}"#.into(), Some(json!({"open": "x"}))));
    let images = json!({"injected_images": [{"mime_type": "image/png", "base64": "AAAA"}]});
    assert_eq!(of(images).0, r#"{"injected_images":"1 of them, which cannot be shown here"}"#);
    let told = json!({"injected_images": "1 picture, shown below"});
    assert_eq!(of(told).0, r#"{"injected_images":"1 picture, shown below"}"#, "somebody has taken them out");
    let failed = ToolOutput::of(Err(Error::new(Kind::UnknownOutcome, "No answer").hint("Look")));
    assert!(!failed.ok);
    assert_eq!(
        failed.content,
        r#"{"error":"No answer","code":"unknown_outcome","hint":"Look","note":"It may have happened all the same: check before doing it again."}"#
    );
}
