//! What the agent acts on when a model does not answer.

use crate::service::{KEY, fails, plain, stream};
use serde_json::json;
use std::time::Duration;
use tercel_sdk::{Error, Kind};

fn error(message: &str, code: &str) -> serde_json::Value {
    json!({ "error": { "message": message, "type": "t", "param": null, "code": code } })
}

#[test]
fn each_status_is_the_kind_that_the_agent_relies_on() {
    let cases = [
        (401, "invalid_api_key", Kind::Auth, 401),
        (402, "", Kind::Forbidden, 402),
        (403, "", Kind::Forbidden, 403),
        (404, "model_not_found", Kind::NotFound, 404),
        (400, "context_length_exceeded", Kind::Schema, 400),
        (413, "", Kind::Schema, 413),
        (422, "", Kind::Schema, 422),
        (429, "rate_limit_exceeded", Kind::RateLimited, 429),
        (429, "insufficient_quota", Kind::Forbidden, 402),
        (429, "billing_hard_limit_reached", Kind::Forbidden, 402),
        (500, "", Kind::Network, 500),
        (503, "", Kind::Network, 503),
        (529, "overloaded_error", Kind::Network, 529),
        (418, "", Kind::Error, 418),
    ];
    for (status, code, kind, told) in cases {
        let failure = fails(Ok(plain(status, error("Said so", code))));
        let message = format!("The model provider answered {status}: Said so");
        assert_eq!((failure.kind, failure.status, failure.message), (kind, Some(told), message), "{status} {code}");
    }
}

#[test]
fn the_error_says_what_to_do() {
    let hint = |status| fails(Ok(plain(status, error("No", "")))).hint.unwrap_or_default();
    assert_eq!(hint(401), "Check LLM_API_KEY: the provider does not accept it");
    assert_eq!(hint(402), "The provider's account has nothing left to spend: check its plan and billing");
    assert_eq!(hint(404), "Check the name of the model, and LLM_BASE_URL");
}

#[test]
fn a_rate_limit_says_when_to_come_back() {
    let mut reply = plain(429, error("Slow down", "rate_limit_exceeded"));
    reply.headers.push(("retry-after", "7"));
    assert_eq!(fails(Ok(reply)).retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn what_the_server_said_is_found_in_every_form() {
    let cases = [
        (json!({ "error": "model 'x' not found" }), "model 'x' not found"),
        (json!({ "object": "error", "message": "too long", "code": 400 }), "too long"),
        (json!({ "detail": "no" }), "no"),
        (
            json!({ "error": { "message": "Provider returned error", "metadata": { "raw": "busy" } } }),
            "Provider returned error: busy",
        ),
        (json!("just text"), "\"just text\""),
    ];
    for (body, said) in cases {
        assert_eq!(fails(Ok(plain(500, body))).message, format!("The model provider answered 500: {said}"));
    }
}

#[test]
fn the_key_is_in_no_error_even_when_the_server_quotes_it() {
    let quoted = format!("{}{KEY}", "x".repeat(190));
    for reply in [
        plain(401, error(&format!("Incorrect API key: {KEY}"), "")),
        plain(200, &quoted),
        plain(200, json!({ "error": { "message": quoted } })),
        stream([format!("data: {quoted}\n\n")]),
        stream([format!("data: {}\n\n", json!({ "error": { "message": quoted } }))]),
    ] {
        let failure = fails(Ok(reply));
        assert!(!format!("{failure:?}").contains("sk-very"), "{failure:?}");
    }
}

#[test]
fn a_failing_connection_keeps_its_kind_unless_it_is_unsure_of_the_outcome() {
    for (given, kind) in [
        (Kind::Timeout, Kind::Timeout),
        (Kind::Network, Kind::Network),
        (Kind::Forbidden, Kind::Forbidden),
        (Kind::UnknownOutcome, Kind::Network),
    ] {
        assert_eq!(fails(Err(Error::new(given, "lost"))), Error::new(kind, "lost"));
    }
}

const HALF: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hal\"}}]}\n\n";

#[test]
fn a_stream_that_breaks_off_is_a_network_failure() {
    let broken = "The model provider's stream broke off before the answer was complete";
    for pieces in [vec![], vec![HALF], vec![HALF, "data: {\"choices\":[{\"ind"]] {
        assert_eq!(fails(Ok(stream(pieces))), Error::new(Kind::Network, broken));
    }
    for (given, kind) in [(Kind::Network, Kind::Network), (Kind::Error, Kind::Network), (Kind::Timeout, Kind::Timeout)]
    {
        let mut reply = stream([HALF]);
        reply.pieces.push(Err(Error::new(given, "reset")));
        assert_eq!(fails(Ok(reply)), Error::new(kind, "reset"));
    }
}

#[test]
fn an_answer_that_is_not_understood_is_shown_by_its_beginning() {
    let page = format!("<html>{}</html>", "x".repeat(500));
    let cases = [
        (plain(200, &page), format!("The model provider's answer is not JSON: <html>{}…", "x".repeat(193))),
        (plain(200, "[]"), "The model provider's answer has no choices: []".into()),
        (plain(200, json!({ "choices": [] })), "The model provider's answer has no choices: {\"choices\":[]}".into()),
        (
            plain(200, json!({ "choices": null })),
            "The model provider's answer has no choices: {\"choices\":null}".into(),
        ),
        (plain(200, error("Boom", "server_error")), "The model provider failed while answering: Boom".into()),
        (stream([HALF, "data: <oops>\n\n"]), "The model provider's answer is not JSON: <oops>".into()),
        (stream(["data: [DONE]\n\n"]), "The model provider answered without a choice: there is no answer".into()),
        (
            stream([HALF, "data: {\"error\":{\"message\":\"Boom\"}}\n\n"]),
            "The model provider failed while answering: Boom".into(),
        ),
        (
            stream([HALF, "event: error\ndata: {\"message\":\"Boom\"}\n\n"]),
            "The model provider failed while answering: Boom".into(),
        ),
    ];
    for (reply, message) in cases {
        let failure = fails(Ok(reply));
        assert_eq!((failure.kind, failure.message), (Kind::Error, message));
    }
}

#[test]
fn an_error_in_the_stream_that_names_a_status_counts_as_that_status() {
    let failure = |code: u16| {
        fails(Ok(stream([format!("data: {}\n\n", json!({ "error": { "message": "No", "code": code } }))]))).kind
    };
    assert_eq!(
        [401, 402, 429, 502, 1].map(failure),
        [Kind::Auth, Kind::Forbidden, Kind::RateLimited, Kind::Network, Kind::Error]
    );
}
