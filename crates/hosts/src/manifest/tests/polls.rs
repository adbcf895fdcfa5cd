//! Asking a service what is new.

use super::bench;
use serde_json::json;
use tercel_sdk::{Cursor, Kind, testing::Bench};

fn poll(more: &str) -> String {
    format!(
        "fields: [{{key: token, type: password, required: true}}]\n\
         http: {{base: \"https://api.forge.example\", auth: {{bearer: token}}}}\n\
         poll:\n  - {{name: recent, every: 5m, get: /recent, query: {{after: \"{{{{ cursor }}}}\"}}, items: response.json.items, id: item.at{more}}}\n\
         events: [{{name: played, from: recent, when: item.name, session: history, prompt: \"{{{{ item.name }}}}\", run: store}}]\n"
    )
}

async fn ask(bench: &Bench, cursor: &mut Cursor) -> Vec<(String, String)> {
    let polled = bench.poll("recent", cursor).await.unwrap();
    *cursor = polled.cursor;
    polled.news.into_iter().map(|news| (news.id, news.event.text)).collect()
}

fn news(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(id, text)| ((*id).into(), (*text).into())).collect()
}

#[tokio::test]
async fn what_is_there_at_the_first_time_is_passed_over_and_never_comes() {
    let (bench, fake) = bench(&poll(", newest: first"));
    let bench = bench.with("token", "t");
    let mut cursor = Cursor::default();
    fake.on("GET /recent", 200, json!({"items": [{"at": 2, "name": "b"}, {"at": 1, "name": "a"}]}));
    assert_eq!(ask(&bench, &mut cursor).await, []);
    fake.on(
        "GET /recent",
        200,
        json!({"items": [{"at": 4, "name": "d"}, {"at": 3, "name": "c"}, {"at": 2, "name": "b"}, {"at": 9}]}),
    );
    assert_eq!(ask(&bench, &mut cursor).await, news(&[("3", "c"), ("4", "d")]), "in the order in which it happened");
    fake.on("GET /recent", 200, json!({"items": []}));
    assert_eq!(ask(&bench, &mut cursor).await, []);
    let before = cursor.clone();
    fake.on("GET /recent", 200, json!({"items": [{"at": 4, "name": "d"}, {"at": 4, "name": "again"}]}));
    assert_eq!(ask(&bench, &mut cursor).await, [], "however long it stays there, it is no news");
    assert_ne!(cursor, before, "what is gone from there is not remembered");
}

#[tokio::test]
async fn a_cursor_goes_on_and_stays_where_nothing_came() {
    let (bench, fake) = bench(&poll(", cursor: response.json.next, first: take"));
    let bench = bench.with("token", "t");
    let mut cursor = Cursor::default();
    fake.on("GET /recent", 200, json!({"items": [{"at": 1, "name": "a"}], "next": "c1"}));
    assert_eq!(ask(&bench, &mut cursor).await, news(&[("1", "a")]));
    fake.on("GET /recent?after=c1", 200, json!({"items": [], "next": null}));
    assert_eq!(ask(&bench, &mut cursor).await, []);
    assert_eq!(ask(&bench, &mut cursor).await, []);
    assert_eq!(fake.requests().last().unwrap().url.query(), Some("after=c1"));
}

#[tokio::test]
async fn a_poll_without_what_it_needs_is_off_and_one_that_fails_keeps_its_place() {
    let (bench, fake) = bench(&poll(""));
    let error = bench.poll("recent", &Cursor::default()).await.unwrap_err();
    assert!(error.kind == Kind::NotConfigured && fake.requests().is_empty(), "{error}");
    let bench = bench.with("token", "t");
    fake.on("GET /recent", 200, json!({"items": [{"name": "a"}]}));
    let error = bench.poll("recent", &Cursor::default()).await.unwrap_err();
    assert!(error.message.contains("has no id"), "{error}");
    fake.on("GET /recent", 401, json!({}));
    assert_eq!(bench.poll("recent", &Cursor::default()).await.unwrap_err().kind, Kind::Auth);
}
