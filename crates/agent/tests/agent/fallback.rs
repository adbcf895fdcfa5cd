//! Failures of models: tried again, passed over, parked, given up.

use crate::support::*;
use std::time::Duration;
use tercel_agent::{Next, Run, Step, awaited, next};
use tercel_sdk::{Error, Kind};

/// `model after wait`, `park` or `fail`.
fn outcome(run: &Run) -> String {
    match next(run) {
        Next::CallModel { model, wait, fallback, .. } => {
            assert_eq!(fallback, model != "big");
            format!("{model} after {}", wait.as_secs())
        }
        Next::Park(error) => format!("park {}", error.kind.as_str()),
        Next::Finish(tercel_agent::Finish::Failed(error)) => format!("fail {}", error.kind.as_str()),
        other => panic!("{other:?}"),
    }
}

fn error(kind: Kind) -> Error {
    Error::new(kind, "broken")
}

#[test]
fn each_kind_of_failure_has_its_way() {
    let table: &[(Error, &str, &str)] = &[
        (error(Kind::Auth), "small after 0", "park auth"),
        (error(Kind::NotConfigured), "small after 0", "park not_configured"),
        (error(Kind::Network).not_asked().retry_after(Some(Duration::from_secs(9))), "small after 0", "park network"),
        (error(Kind::Forbidden).status(402), "small after 0", "park forbidden"),
        (error(Kind::Error).status(402), "small after 0", "park error"),
        (error(Kind::Forbidden).status(403), "small after 0", "fail forbidden"),
        (error(Kind::NotFound), "small after 0", "fail not_found"),
        (error(Kind::Schema), "small after 0", "fail schema"),
        (error(Kind::Unsupported), "small after 0", "fail unsupported"),
        (error(Kind::RateLimited), "big after 1", "small after 1"),
        (error(Kind::Network), "big after 1", "small after 1"),
        (error(Kind::Timeout), "big after 1", "small after 1"),
        (error(Kind::Error), "big after 1", "small after 1"),
        (error(Kind::UnknownOutcome), "big after 1", "small after 1"),
        (error(Kind::RateLimited).retry_after(Some(Duration::from_secs(60))), "big after 60", "small after 60"),
        (error(Kind::RateLimited).retry_after(Some(Duration::from_secs(61))), "small after 0", "park rate_limited"),
    ];
    for (error, first, second) in table {
        let once = run().fails("big", error.clone());
        assert_eq!(outcome(&once), *first, "{error:?}");
        let mut only_small_left = once;
        for _ in 0..3 {
            only_small_left = only_small_left.fails("big", error.clone());
        }
        assert_eq!(outcome(&only_small_left.fails("small", error.clone())), *second, "{error:?}");
    }
}

#[test]
fn a_failure_that_may_pass_is_tried_again_with_growing_pauses_then_passed_over() {
    let mut run = run();
    let mut seen = Vec::new();
    for model in ["big"; 4].into_iter().chain(["small"; 4]) {
        run = run.fails(model, error(Kind::Network));
        seen.push(outcome(&run));
    }
    let expected = ["big after 1", "big after 2", "big after 4", "small after 0"];
    let expected = expected.into_iter().chain(["small after 1", "small after 2", "small after 4", "fail network"]);
    assert_eq!(seen, expected.collect::<Vec<_>>());
    assert_eq!(failed(&run).message, "No model answered. `big`, tried 4 times: broken; `small`, tried 4 times: broken");
}

#[test]
fn a_run_parks_when_any_of_its_models_can_be_mended_by_a_person() {
    let run = run().fails("big", error(Kind::Auth)).fails("small", error(Kind::NotFound));
    let Next::Park(error) = next(&run) else { panic!() };
    assert_eq!(error.message, "No model answered. `big`: broken; `small`: broken");
    assert_eq!(error.hint.as_deref(), Some("Set a valid key for the model provider, then resume the run"));
}

#[test]
fn parking_for_a_limit_says_how_long() {
    let mut run = run();
    run.models.truncate(1);
    let wait = Some(Duration::from_secs(3600));
    let Next::Park(error) = next(&run.fails("big", error(Kind::RateLimited).retry_after(wait))) else { panic!() };
    assert_eq!((error.message.as_str(), error.retry_after), ("The model `big` did not answer: broken", wait));
}

#[test]
fn a_fallback_that_answered_stays() {
    let run = run().fails("big", error(Kind::Auth)).with(model("small", answer("", &[("a", "read", "{}")])));
    let run = run.result("a", "read", serde_json::json!({}), "x");
    assert_eq!(outcome(&run), "small after 0");
    let network = run.fails("small", error(Kind::Network));
    assert_eq!(outcome(&network), "small after 1");
    assert_eq!(outcome(&network.fails("small", error(Kind::Schema))), "park auth");
}

#[test]
fn a_model_that_only_had_a_bad_moment_is_asked_again_when_its_fallback_breaks() {
    let mut run = run();
    for _ in 0..4 {
        run = run.fails("big", error(Kind::Network));
    }
    let run = run.with(model("small", answer("", &[]))).fails("small", error(Kind::Auth));
    assert_eq!(outcome(&run), "big after 0");
}

#[test]
fn after_a_resumption_earlier_failures_do_not_count() {
    let run = run().fails("big", error(Kind::Auth)).fails("small", error(Kind::Network));
    let run = run.with(Step::Parked { error: error(Kind::Auth) }).with(Step::Resumed { by: "admin".into() });
    assert_eq!(outcome(&run), "big after 0");
    assert_eq!(outcome(&run.fails("big", error(Kind::Network))), "big after 1");
}

#[test]
fn failures_survive_a_crash() {
    let run = run().fails("big", error(Kind::Network)).attempt(2);
    assert_eq!(outcome(&run), "big after 1");
}

#[test]
fn a_bot_without_a_model_parks() {
    let mut run = run();
    run.models.clear();
    assert_eq!(outcome(&run), "park not_configured");
}

#[test]
fn a_run_waits_for_those_models_only_that_a_person_must_help() {
    let parked = run().fails("big", error(Kind::Auth)).fails("small", error(Kind::Schema));
    assert_eq!((outcome(&parked).as_str(), awaited(&parked)), ("park auth", vec!["big".to_owned()]));
    let both = run().fails("big", error(Kind::Network).not_asked()).fails("small", error(Kind::NotConfigured));
    assert_eq!(awaited(&both), ["big", "small"]);
}
