//! Whole runs with a scripted model, with and without crashes.

use crate::support::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use tercel_agent::{Action, Committed, Finish, Next, Run, Step, ToolOutput, next};
use tercel_sdk::{Error, Kind, chat};

type Turn = Vec<(String, i64)>;

/// Runs to the end. The script is what the model answers, turn by turn, then "Done: " and what it read. The worker dies
/// after the `crash`-th commit, and between doing and committing the one after it.
fn simulate(script: &[Turn], crash: Option<usize>) -> (Finish, Run) {
    let mut run = run();
    run.tools.iter_mut().for_each(|tool| tool.may_repeat = true);
    for _ in 0..1000 {
        assert_eq!(next(&run), next(&run));
        let steps = match next(&run) {
            Next::CallModel { iteration, model, fallback, request, .. } => {
                let answer = scripted(script, iteration, &request);
                vec![Step::Model { iteration, model, provider: "p".into(), answer, duration_ms: 1, fallback }]
            }
            Next::CallTools(planned) => {
                assert!(!planned.is_empty());
                let step = |planned: tercel_agent::Planned| {
                    let output = match planned.action {
                        Action::Run => ToolOutput::of(Ok(json!(format!("{}{}", planned.name, planned.arguments["n"])))),
                        Action::Say(output) => output,
                    };
                    Step::Tool {
                        call_id: planned.call_id,
                        name: planned.name,
                        arguments: planned.arguments,
                        output,
                        duration_ms: 1,
                    }
                };
                planned.into_iter().map(step).collect()
            }
            Next::Finish(finish) => return (finish, run),
            Next::Park(error) => panic!("{error}"),
        };
        for step in steps {
            run.steps.push(Committed { attempt: run.attempt, step });
            if Some(run.steps.len()) == crash && run.attempt == 1 {
                run.attempt = 2;
                break;
            }
        }
    }
    panic!("the run never ends");
}

fn scripted(script: &[Turn], iteration: u32, request: &chat::Request) -> chat::Answer {
    let Some(turn) = script.get(iteration as usize - 1).filter(|turn| !turn.is_empty() && !request.tools.is_empty())
    else {
        let read: Vec<&str> =
            request.messages.iter().filter(|m| m.role == chat::Role::Tool).map(|m| m.content.as_str()).collect();
        return answer(&format!("Done: {}", read.join(",")), &[]);
    };
    let calls: Vec<(String, String)> =
        turn.iter().map(|(name, n)| (name.clone(), json!({"n": n}).to_string())).collect();
    // The same id for all: the worst that a model can do.
    answer("", &calls.iter().map(|(name, arguments)| ("id", name.as_str(), arguments.as_str())).collect::<Vec<_>>())
}

fn any_script() -> impl Strategy<Value = Vec<Turn>> {
    let name = prop::sample::select(vec!["read", "write", "destroy", "nothing"]).prop_map(str::to_owned);
    prop::collection::vec(prop::collection::vec((name, 0..3i64), 0..4), 0..30)
}

fn any_step() -> impl Strategy<Value = Step> {
    let id = prop::sample::select(vec!["", "a", "b", "call_1_1"]);
    let name = prop::sample::select(vec!["read", "write", "destroy", "raed"]);
    let arguments =
        prop::sample::select(vec!["", "{}", r#"{"n":1}"#, r#"{"n":"x"}"#, "{", "[1]", r#"{"n":1e999}"#, "\"ü"]);
    let calls = prop::collection::vec((id.clone(), name.clone(), arguments), 0..4);
    let kind = prop::sample::select(vec![Kind::Auth, Kind::Network, Kind::RateLimited, Kind::Schema, Kind::Forbidden]);
    let error = (kind, prop::option::of(0..100u64))
        .prop_map(|(kind, wait)| Error::new(kind, "e").retry_after(wait.map(std::time::Duration::from_secs)));
    let model_name = prop::sample::select(vec!["big", "small", "gone"]);
    prop_oneof![
        4 => (model_name.clone(), prop::sample::select(vec!["", "text"]), calls, any::<bool>(), any::<u64>()).prop_map(
            |(name, text, calls, truncated, tokens)| {
                let usage = chat::Usage { prompt_tokens: tokens % 1000, completion_tokens: 1, ..chat::Usage::default() };
                model(name, chat::Answer { truncated, usage, ..answer(text, &calls) })
            }
        ),
        4 => (id, name, prop::sample::select(vec!["x", "y", ""]), any::<bool>()).prop_map(|(id, name, content, ok)| {
            result(id, name, json!({"n": 1}), ToolOutput { ok, content: content.into(), ..ToolOutput::default() })
        }),
        2 => (model_name, error.clone()).prop_map(|(model, error)| Step::ModelFailed {
            iteration: 1,
            model: model.into(),
            error,
            duration_ms: 1
        }),
        1 => error.prop_map(|error| Step::Parked { error }),
        1 => Just(Step::Resumed { by: "x".into() }),
    ]
}

proptest! {
    #[test]
    fn any_steps_have_a_next_and_it_is_always_the_same(
        steps in prop::collection::vec((1..3u32, any_step()), 0..30),
        attempt in 1..4u32,
        tainted in any::<bool>(),
        small in 0..6u32,
    ) {
        let mut run = run();
        run.attempt = attempt;
        run.tainted = tainted;
        if small < 5 {
            run.limits = tercel_agent::Limits {
                iterations: small, calls_per_turn: small, repeats: small, retries: small, tokens: 1000,
                result_characters: small as usize, context_tokens: 0,
            };
        }
        run.steps = steps.into_iter().map(|(attempt, step)| Committed { attempt, step }).collect();
        let decided = next(&run);
        prop_assert_eq!(&next(&run), &decided);
        match decided {
            Next::CallTools(planned) => prop_assert!(!planned.is_empty()),
            Next::CallModel { request, .. } => well_formed(&request.messages)?,
            _ => {}
        }
    }

    #[test]
    fn a_crash_after_any_commit_changes_nothing_when_tools_may_repeat(script in any_script(), crash in 1..60usize) {
        let (calm, _) = simulate(&script, None);
        let (crashed, run) = simulate(&script, Some(crash));
        prop_assert_eq!(crashed, calm);
        prop_assert_eq!(run.attempt, if run.steps.len() >= crash { 2 } else { 1 });
    }
}

/// Every call has its result right after it, every id is used once.
fn well_formed(messages: &[chat::Message]) -> Result<(), TestCaseError> {
    let mut ids: Vec<&str> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        if message.role == chat::Role::Tool {
            prop_assert_eq!(message.tool_call_id.as_deref(), open.first().copied());
            open.remove(0);
            continue;
        }
        prop_assert!(open.is_empty());
        for call in &message.tool_calls {
            prop_assert!(!ids.contains(&call.id.as_str()));
            prop_assert!(serde_json::from_str::<Value>(&call.arguments).unwrap().is_object());
            ids.push(&call.id);
            open.push(&call.id);
        }
    }
    prop_assert!(open.is_empty());
    Ok(())
}

#[test]
fn a_run_with_tools_ends_with_what_the_tools_said() {
    let script = [vec![("read".to_owned(), 1), ("write".to_owned(), 2)], vec![("destroy".to_owned(), 3)]];
    let tools_used = ["read", "write", "destroy"].map(str::to_owned).to_vec();
    let expected = Finish::Complete { text: "Done: read1,write2,destroy3".into(), tools_used };
    for crash in 0..6 {
        assert_eq!(simulate(&script, Some(crash)).0, expected, "crash after commit {crash}");
    }
}

#[test]
fn every_endless_run_ends() {
    let script: Vec<Turn> = (0..100).map(|n| vec![("read".to_owned(), n)]).collect();
    let (finish, run) = simulate(&script, None);
    assert!(matches!(finish, Finish::Complete { text, .. } if text.starts_with("Done: read0,read1")));
    assert_eq!(run.steps.len(), 24 * 2 + 1);
    let (finish, _) = simulate(&vec![vec![("read".to_owned(), 1)]; 100], None);
    assert!(matches!(finish, Finish::Failed(error) if error.message.contains("in circles")));
}
