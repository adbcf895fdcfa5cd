//! What services answer, what records have and what agents write is data as well: it leads nowhere, and means nothing.

use super::{bench, hostile::TEXTS, made};
use serde_json::{Value, json};
use tercel_sdk::{
    Cursor, Kind, Push, Target,
    sync::Change,
    testing::{self, Fake, respond},
};

/// Every part that does something with what it is answered.
const FORGE: &str = r#"
fields: [{key: token, type: password, required: true}, {key: room, type: text, default: hall}]
http: {base: "https://api.forge.example/v1", auth: {bearer: token}}
tools:
  - {name: forge_before, description: A., args: {}, post: "/x/{{ before.up.json.id }}/y", query: {q: "{{ before.up.json.id }}"},
     json: {x: "{{ before.up.json.id }}"}, headers: {X-Said: "{{ before.up.json.id | tojson | replace('\\n', ' ') }}"}, before: [{as: up, get: /up}]}
  - {name: forge_pages, description: B., args: {}, get: /pages, items: response.json.items, pages: {next: response.json.next, into: query.page, max: 2}}
  - {name: forge_links, description: C., args: {}, get: /pages, items: response.json.items, pages: {next: response.json.next, into: url, max: 2}}
  - {name: forge_follow, description: D., args: {}, get: "{{ before.up.json.id | url }}", before: [{as: up, get: /up}]}
poll: [{name: news, every: 1m, get: /news, items: response.json, id: item.id, first: take}]
events: [{name: came, from: news, session: "{{ item.id }}", prompt: "{{ item.text }}", target: {room: "{{ item.text }}"}}]
dispatch:
  target: {room: {type: string, default: "{{ fields.room }}"}}
  text: {as: html}
  deliver: {post: "/rooms/{{ target.room }}", json: {text: "{{ text }}"}, id: response.json.id}
sync:
  collection: jobs
  row: {title: "{{ record.title }}", more: {same: "[{{ record.title }}]"}}
  create: {post: /records, json: "{{ row }}", id: response.json.id}
  update: {patch: "/records/{{ id }}", json: "{{ row }}"}
"#;

const SECRET: &str = "t0p-s3cret-token";

fn forge() -> (testing::Bench, std::sync::Arc<Fake>) {
    let (bench, fake) = bench(FORGE);
    (bench.with("token", SECRET), fake)
}

/// Everything that was sent, without what says whose it is.
fn sent(fake: &Fake) -> String {
    let all = fake.requests().into_iter().map(|request| {
        let mut headers = request.headers.clone();
        headers.remove("authorization");
        format!("{} {headers:?} {}\n", request.url, String::from_utf8_lossy(&request.body))
    });
    all.collect()
}

#[tokio::test]
async fn what_one_request_is_answered_goes_into_the_next_as_one_value() {
    for text in TEXTS {
        let (bench, fake) = forge();
        fake.on("GET /v1/up", 200, json!({"id": text}));
        let _ = bench.call("forge_before", json!({})).await;
        let requests = fake.requests();
        let Some(request) = requests.get(1) else {
            assert!([".", ".."].contains(&text) || text.contains(|c: char| c.is_control()), "{text}");
            continue;
        };
        assert_eq!(request.url.host_str(), Some("api.forge.example"), "{text}");
        let segments: Vec<&str> = request.url.path_segments().unwrap().collect();
        assert_eq!((segments.len(), segments[1], segments[3]), (4, "x", "y"), "{text}: {}", request.url);
        let pairs: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
        assert_eq!(pairs, [("q".to_owned(), text.to_owned())]);
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), json!({"x": text}));
        assert!(!sent(&fake).contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn the_next_page_is_a_value_or_an_address_of_the_same_host() {
    for text in TEXTS {
        let (bench, fake) = forge();
        fake.on("GET /v1/pages", 200, json!({"items": [1], "next": text}));
        let _ = bench.call("forge_pages", json!({})).await;
        let requests = fake.requests();
        let pairs: Vec<(String, String)> = requests[1].url.query_pairs().into_owned().collect();
        assert_eq!(pairs, [("page".to_owned(), text.to_owned())]);
        let (bench, fake) = forge();
        fake.on("GET /v1/pages", 200, json!({"items": [1], "next": text}));
        let _ = bench.call("forge_links", json!({})).await;
        for request in fake.requests() {
            assert_eq!((request.url.scheme(), request.url.host_str()), ("https", Some("api.forge.example")), "{text}");
        }
        let (bench, fake) = forge();
        fake.on("GET /v1/up", 200, json!({"id": text}));
        let _ = bench.call("forge_follow", json!({})).await;
        for request in fake.requests() {
            assert_eq!(request.url.host_str(), Some("api.forge.example"), "{text}");
        }
    }
}

#[tokio::test]
async fn answers_of_all_kinds_end_nothing() {
    let deep = format!("{{\"items\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let kinds: [(&str, &[u8]); 9] = [
        ("application/json", b""),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"{\"items\": 1e999}"),
        ("application/json", b"{\"items\": {\"0\": 1}}"),
        ("application/json", b"{\"items\": \"text\"}"),
        ("application/json", deep.as_bytes()),
        ("application/x-ndjson", b"{\"a\": 1}\n{\"a\""),
        ("text/html", b"<html>sign in</html>"),
        ("application/json", b"[1, 2"),
    ];
    for (kind, body) in kinds {
        let (bench, fake) = forge();
        let (kind, body) = (kind.to_owned(), body.to_vec());
        fake.on_with("GET /v1/pages", move |_| Ok(respond(200, &[("content-type", &kind)], body.clone())));
        let error = bench.call("forge_pages", json!({})).await.unwrap_err();
        assert_eq!(error.kind, Kind::Schema, "{error}");
    }
    let (bench, fake) = forge();
    fake.on("GET /v1/pages", 200, json!({"items": vec![1; 10_001], "next": null}));
    assert!(bench.call("forge_pages", json!({})).await.unwrap_err().message.contains("more than 10000"));
}

#[tokio::test]
async fn news_are_text_whatever_they_say() {
    for text in TEXTS {
        let (bench, fake) = forge();
        fake.on("GET /v1/news", 200, json!([{"id": text, "text": text}]));
        let polled = bench.poll("news", &Cursor::default()).await.unwrap();
        let news = &polled.news[0];
        assert_eq!((news.id.as_str(), news.event.text.as_str()), (text, text));
        assert!(news.event.from.starts_with("forge:") && !news.event.from.contains(['\r', '\n', '\0']));
        assert_eq!(news.event.reply_to, Some(Target::new("forge", json!({"room": text}))));
    }
}

#[tokio::test]
async fn what_agents_write_and_where_to_is_one_text_and_one_segment() {
    for text in TEXTS {
        let (bench, fake) = forge();
        let _ = bench.deliver(&Target::new("forge", json!({"room": text})), text).await;
        for request in fake.requests() {
            let segments: Vec<&str> = request.url.path_segments().unwrap().collect();
            assert_eq!(
                (request.url.host_str(), segments.len(), segments[1]),
                (Some("api.forge.example"), 3, "rooms"),
                "{text}"
            );
            let said: Value = serde_json::from_slice(&request.body).unwrap();
            assert!(!said["text"].as_str().unwrap().contains("<script"), "{said}");
        }
        assert!(!sent(&fake).contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn records_are_pushed_as_they_are() {
    for text in TEXTS {
        let fake = Fake::new();
        fake.on("POST /v1/records", 201, json!({"id": text}));
        let integration = made(FORGE);
        let bench = testing::check(integration.clone()).with("token", SECRET).world(&fake);
        let part = integration.sync.unwrap();
        let rows =
            part.rows.unwrap()(bench.host(), json!([{"key": text, "record": {"title": text}}]).into()).await.unwrap();
        assert_eq!(rows, json!([{"title": text, "more": {"same": format!("[{text}]")}}]));
        let push = |change, remote: Option<&str>| Push {
            id: "1".into(),
            key: text.into(),
            change,
            remote_id: remote.map(str::to_owned),
            row: rows[0].clone(),
        };
        let done = (part.push)(bench.host(), json!([push(Change::Create, None)]).into()).await.unwrap();
        assert_eq!(done[0]["remote_id"], json!(text), "{done}");
        let _ = (part.push)(bench.host(), json!([push(Change::Update, Some(text))]).into()).await.unwrap();
        let requests = fake.requests();
        assert_eq!(serde_json::from_slice::<Value>(&requests[0].body).unwrap(), rows[0]);
        if let Some(update) = requests.get(1) {
            assert_eq!(update.url.path_segments().unwrap().count(), 3, "{text}: {}", update.url);
        }
    }
}
