//! What comes in by webhook, and what becomes of it.

use super::bench;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};
use tercel_sdk::{Dedupe, Inbound, Outcome, Refusal, integration::Sample, testing::Bench};

pub const ALERTS: &str = r#"
fields: [{key: secret, type: password, required: true}]
http: {base: "https://api.forge.example"}
webhook:
  verify: {bearer: secret}
  dedupe: {id: "body.group ~ body.status", within: 1h}
  answer: {when: body.type == 'challenge', text: "{{ body.challenge }}"}
events:
  - name: firing
    each: body.alerts
    when: item.status == 'firing'
    session: alerts
    thread: "{{ item.labels.name }}"
    prompt: "{{ item.labels.name }}: {{ item.summary }}"
    run: {preamble: "Find the cause of {{ item.labels.name }}", skills: [integrations/forge/forge], tools: [], model: null}
    target: {room: "{{ item.labels.room }}"}
  - {name: resolved, each: body.alerts, when: item.status == 'resolved', session: alerts, prompt: "Resolved: {{ item.labels.name }}", run: none}
  - {name: noted, when: body.note, session: notes, prompt: "{{ body.note }}", run: store}
dispatch: {target: {room: {type: string}}, deliver: {post: /posts, json: {room: "{{ target.room }}", text: "{{ text }}"}}}
"#;

fn alerts() -> Bench {
    bench(ALERTS).0.with("secret", "s3cret")
}

fn received(bench: &Bench, body: Value) -> (Dedupe, String, Outcome) {
    let received = bench.receive(&Sample { name: String::new(), headers: BTreeMap::new(), body, sign: None }).unwrap();
    (received.dedupe, received.name, received.outcome)
}

#[test]
fn each_item_is_an_event_of_the_first_rule_that_wants_it() {
    let body = json!({"group": "g", "status": "x", "alerts": [
        {"status": "firing", "labels": {"name": "disk", "room": "hall"}, "summary": "full"},
        {"status": "resolved", "labels": {"name": "cpu"}},
        {"status": "unknown"},
        {"status": "firing", "labels": {"name": "net"}},
    ]});
    let (dedupe, name, outcome) = received(&alerts(), body);
    assert_eq!((dedupe, name.as_str()), (Dedupe::Within("gx".into(), Duration::from_secs(3600)), "firing"));
    let Outcome::Events(events) = outcome else { panic!("{outcome:?}") };
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.name.as_deref().unwrap(), event.thread.as_deref(), event.text.as_str()))
        .collect();
    assert_eq!(
        seen,
        [("firing", Some("disk"), "disk: full"), ("resolved", None, "Resolved: cpu"), ("firing", Some("net"), "net: ")],
    );
    assert!(events.iter().all(|event| event.from == "forge:alerts" && event.trust == tercel_sdk::Trust::Untrusted));
    let brief = events[0].brief.as_ref().unwrap();
    assert_eq!(brief.preamble.as_deref(), Some("Find the cause of disk"));
    assert_eq!(brief.skills, ["integrations/forge/forge"]);
    let target = |event: &tercel_sdk::Event| event.reply_to.as_ref().map(|target| json!(target));
    assert_eq!(target(&events[0]), Some(json!({"type": "forge", "room": "hall"})));
    assert_eq!(target(&events[2]), Some(json!({"type": "forge"})), "what is null is left out");
    assert!(events[1].relay && events[1].brief.is_none());
}

#[test]
fn what_no_rule_wants_is_ignored_and_what_is_asked_is_answered() {
    let bench = alerts();
    let (_, _, outcome) = received(&bench, json!({"alerts": []}));
    assert!(matches!(outcome, Outcome::Ignored(_)), "{outcome:?}");
    let (_, _, outcome) = received(&bench, json!({"note": "hello", "alerts": null}));
    let Outcome::Events(events) = outcome else { panic!("{outcome:?}") };
    assert!(events[0].brief.is_none() && !events[0].relay && events[0].from == "forge:notes");
    let (_, _, outcome) = received(&bench, json!({"type": "challenge", "challenge": "{{ fields }}"}));
    let Outcome::Reply(reply) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reply.body, "{{ fields }}");
}

fn request(headers: &[(&'static str, &str)], body: &str) -> (HeaderMap, Bytes) {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    (headers, Bytes::from(body.to_owned()))
}

#[test]
fn nobody_else_is_let_in() {
    let bench = alerts();
    let now = UNIX_EPOCH + Duration::from_secs(1_750_000_000);
    let refused = |headers: &[(&'static str, &str)], body: &str| {
        let (headers, body) = request(headers, body);
        bench.receive_raw(headers, body, now).unwrap_err()
    };
    assert!(matches!(refused(&[], "{}"), Refusal::Signature(_)));
    assert!(matches!(refused(&[("authorization", "Bearer wrong")], "{}"), Refusal::Signature(_)));
    assert!(matches!(refused(&[("authorization", "Bearer s3cret")], "{"), Refusal::Malformed(_)));
    assert!(matches!(refused(&[("authorization", "Bearer s3cret")], r#"{"alerts": 7}"#), Refusal::Malformed(_)));
}

#[test]
fn every_way_to_verify_takes_what_it_signs_and_nothing_else() {
    let named = tercel_sdk::signature::NAMED.map(|name| format!("{{{name}: secret}}"));
    let own = [
        "{basic: {user: user, password: secret}}",
        "{header: {name: X-Token, secret: secret}}",
        "{hmac: {secret: secret, header: X-Sig, prefix: \"v1=\", algorithm: sha512, encoding: base64, \
         signs: \"{{ timestamp }}.{{ raw }}\", timestamp: X-Time, max_age: 1m}}",
    ];
    for verify in named.iter().map(String::as_str).chain(own) {
        let manifest = format!(
            "fields: [{{key: secret, type: password, required: true}}, {{key: user, type: text, default: me}}]\n\
             webhook: {{verify: {verify}}}\nevents: [{{name: any, session: s, prompt: \"{{{{ body.x }}}}\"}}]\n"
        );
        let bench = bench(&manifest).0;
        let sample = Sample { name: String::new(), headers: BTreeMap::new(), body: json!({"x": 1}), sign: None };
        let error = bench.receive(&sample).unwrap_err();
        assert!(error.to_string().contains("FORGE_SECRET is not set"), "{verify}: {error}");
        let bench = bench.with("secret", "s3cret");
        bench.receive(&sample).unwrap_or_else(|error| panic!("{verify}: {error}"));
        let (headers, body) = request(&[], "{\"x\":1}");
        assert!(bench.receive_raw(headers, body, UNIX_EPOCH).is_err(), "{verify}");
    }
}

#[test]
fn where_nobody_signs_the_network_decides() {
    let manifest = "webhook: {verify: {none: The doorbell cannot sign}, from: [10.0.0.0/8, \"fd00::/8\", 192.0.2.7], dedupe: none, body: form}\n\
                    events: [{name: rung, session: door, prompt: \"{{ body.who }} {{ body.tag[1] }}\"}]\n";
    let bench = bench(manifest).0;
    let host = bench.host();
    let webhook = super::made(manifest).webhook.unwrap();
    let ring = |address: Option<&str>| {
        let (headers, body) = request(&[], "who=J%C3%B6rg+%26+co&tag=a&tag=b");
        let request = Inbound::new(headers, body, UNIX_EPOCH).source(address.map(|address| address.parse().unwrap()));
        webhook.receive(&host, request)
    };
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "192.0.2.7"] {
        let received = ring(Some(address)).unwrap_or_else(|error| panic!("{address}: {error}"));
        let Outcome::Events(events) = received.outcome else { panic!("{address}") };
        assert_eq!((events[0].text.as_str(), received.dedupe), ("Jörg & co b", Dedupe::Never));
    }
    for address in [Some("11.1.2.3"), Some("192.0.2.8"), Some("::1"), None] {
        assert!(matches!(ring(address), Err(Refusal::Signature(_))), "{address:?}");
    }
}

#[tokio::test]
async fn what_was_missed_is_known_by_the_same_id() {
    let (bench, fake) = bench(
        "fields: [{key: secret, type: password}]\nhttp: {base: \"https://api.forge.example\"}\n\
         webhook:\n  verify: {hmac: {secret: secret, header: X-Sig}}\n  dedupe: {id: body.id}\n  \
         missed: {get: /events, query: {since: \"{{ gap.since }}\"}, items: response.json, id: item.id}\n\
         events: [{name: made, session: s, prompt: \"{{ body.text }}\"}]\n",
    );
    fake.on("GET /events?since=5", 200, json!([{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]));
    let gap = tercel_sdk::Gap { since: 5, until: 9, webhook: String::new(), places: Vec::new() };
    let missed = bench.missed(&gap).await.unwrap();
    let ids: Vec<_> = missed.news.iter().map(|news| (news.id.as_str(), news.event.text.as_str())).collect();
    assert_eq!(ids, [("1", "a"), ("2", "b")]);
    let (dedupe, _, outcome) = received(&bench.with("secret", "s"), json!({"id": 2, "text": "b"}));
    let Outcome::Events(events) = outcome else { panic!() };
    assert_eq!((dedupe, events[0].id.as_deref()), (Dedupe::SignedId("2".into()), Some("2")));
}
