//! How answers leave.

use super::{bench, made};
use serde_json::json;
use tercel_sdk::{Kind, Target};

const POSTS: &str = r#"
fields: [{key: room, type: text, required: true}]
http: {base: "https://api.forge.example"}
dispatch:
  target: {room: {type: string, default: "{{ fields.room }}"}, priority: {type: integer, maximum: 5, default: 3}}
  text: {limit: 40, FORMAT}
  shelf_life: 6h
  deliver:
    post: "/rooms/{{ target.room }}/posts"
    json: {text: "{{ text }}", by: "{{ bot.name }}", ref: "{{ marker }}", priority: "{{ target.priority }}"}
    id: response.json.id
    url: response.json.link
  find:
    get: "/rooms/{{ target.room }}/posts"
    found: response.json | selectattr('ref', 'eq', marker) | first
    id: found.id
"#;

fn posts(format: &str) -> String {
    POSTS.replace(", FORMAT", format)
}

#[test]
fn no_folder_takes_a_dispatch_type_of_the_servers_own() {
    let text = "schema: 1\nname: webhook\ndispatch: {deliver: {post: \"https://a.example/\"}}\n";
    let problems = crate::manifest::parse("webhook", text, false).err().unwrap();
    assert!(problems[0].to_string().contains("of the server's own"), "{problems:?}");
}

#[tokio::test]
async fn what_is_too_long_is_counted_as_the_service_counts() {
    let text = "é".repeat(30);
    for (unit, parts) in [("characters", 1), ("bytes", 2), ("utf16", 1)] {
        let dispatcher = &made(&posts(&format!(", unit: {unit}"))).dispatchers["forge"];
        assert_eq!(tercel_sdk::text::split_by(&text, dispatcher.limit, dispatcher.unit).len(), parts, "{unit}");
    }
    let (bench, fake) = bench(&posts(", over: cut, unit: bytes"));
    fake.on("POST /rooms/hall/posts", 200, json!({}));
    bench.with("room", "hall").deliver(&Target::new("forge", json!({})), &text).await.unwrap();
    let sent: serde_json::Value = serde_json::from_slice(&fake.requests()[0].body).unwrap();
    assert!(sent["text"].as_str().unwrap().len() <= 40, "{sent}");
}

#[tokio::test]
async fn one_json_in_each_line_is_a_list_and_a_post_is_looked_for_since_it_was_made() {
    let (bench, fake) = bench(
        "http: {base: \"https://api.forge.example\"}\ndispatch:\n  deliver: {post: /}\n  find:\n    get: /all\n    \
         query: {since: \"{{ created_at.unix - 30 }}\"}\n    \
         found: response.json | selectattr('text', 'eq', text | trim) | last\n    id: found.id\n",
    );
    let lines =
        "{\"id\": 1, \"text\": \"Hello\"}\n{\"id\": 2, \"text\": \"Hello\"}\n\n{\"id\": 3, \"text\": \"Other\"}\n";
    // 2026-01-01, and half a minute before.
    fake.on_with("GET /all?since=1767225570", move |_| {
        Ok(tercel_sdk::testing::respond(200, &[("content-type", "application/x-ndjson; charset=utf-8")], lines))
    });
    let target = Target::new("forge", json!({}));
    assert_eq!(bench.find(&target, " Hello ").await.unwrap().unwrap().id.as_deref(), Some("2"));
    assert_eq!(bench.find(&target, "Hello!").await.unwrap(), None);
    fake.on_with("GET /all?since=1767225570", |_| {
        Ok(tercel_sdk::testing::respond(200, &[("content-type", "application/x-ndjson")], ""))
    });
    assert_eq!(bench.find(&target, "Hello").await.unwrap(), None);
    fake.on_with("GET /all?since=1767225570", |_| Ok(tercel_sdk::testing::respond(200, &[], "<html>")));
    bench.find(&target, "Hello").await.unwrap_err();
}

#[tokio::test]
async fn an_answer_goes_to_its_target() {
    let (bench, fake) = bench(&posts(""));
    let bench = bench.with("room", "the/hall");
    fake.on("POST /rooms/the%2Fhall/posts", 201, json!({"id": 7, "link": "https://forge.example/7"}));
    let receipt =
        bench.deliver(&Target::new("forge", json!({"priority": 5, "user_attribution": {}})), "Hello").await.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.url.as_deref()), (Some("7"), Some("https://forge.example/7")));
    let sent: serde_json::Value = serde_json::from_slice(&fake.requests()[0].body).unwrap();
    assert_eq!(sent, json!({"text": "Hello", "by": "default", "ref": "test-marker", "priority": 5}));
    let error = bench.deliver(&Target::new("forge", json!({"priority": 6})), "Hello").await.unwrap_err();
    assert!(error.kind == Kind::Schema && error.message.contains("/priority"), "{error}");
    let dispatcher = &made(&posts("")).dispatchers["forge"];
    assert_eq!((dispatcher.limit, dispatcher.shelf_life.unwrap().as_secs()), (40, 6 * 3600));
}

#[tokio::test]
async fn a_post_whose_acknowledgement_was_lost_is_looked_for() {
    let (bench, fake) = bench(&posts(""));
    let bench = bench.with("room", "hall");
    let target = Target::new("forge", json!({}));
    fake.on("GET /rooms/hall/posts", 200, json!([{"id": 1, "ref": "other"}, {"id": 2, "ref": "test-marker"}]));
    assert_eq!(bench.find(&target, "Hello").await.unwrap().unwrap().id.as_deref(), Some("2"));
    fake.on("GET /rooms/hall/posts", 200, json!([]));
    assert_eq!(bench.find(&target, "Hello").await.unwrap(), None);
    fake.on("GET /rooms/hall/posts", 500, json!([]));
    bench.find(&target, "Hello").await.unwrap_err();
}

const UPDATE: &str = "  update: {patch: \"/rooms/{{ target.room }}/posts/{{ id }}\", json: {text: \"{{ text }}\"}}\n";

#[tokio::test]
async fn a_post_gets_another_text_and_its_targets_may_want_that() {
    let (bench, fake) = bench(&(posts(", as: plain") + UPDATE));
    let bench = bench.with("room", "hall");
    fake.on("PATCH /rooms/hall/posts/7", 200, json!({}));
    let target = |stream| Target::new("forge", json!({"stream": stream}));
    let receipt = tercel_sdk::Receipt { id: Some("7".into()), url: None };
    bench.update(&target(json!(true)), "**More**", &receipt).await.unwrap();
    assert_eq!(fake.requests()[0].body, r#"{"text":"More"}"#);
    let error = bench.update(&target(json!("yes")), "More", &receipt).await.unwrap_err();
    assert!(error.kind == Kind::Schema && error.message.contains("/stream"), "{error}");
    fake.on("PATCH /rooms/hall/posts/7", 404, json!({}));
    assert_eq!(bench.update(&target(json!(true)), "More", &receipt).await.unwrap_err().kind, Kind::NotFound);
    assert!(made(&posts("")).dispatchers["forge"].update.is_none());
}

#[test]
fn what_does_not_go_with_changing_posts_is_said() {
    let said = |text: &str| {
        let text = format!("schema: 1\nname: forge\n{text}");
        let problems = crate::manifest::parse("forge", &text, false).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<String>()
    };
    assert!(said(&(posts("") + UPDATE)).is_empty(), "{}", said(&(posts("") + UPDATE)));
    let file = posts(", over: file") + "  file: {post: /files, text: \"{{ text }}\"}\n" + UPDATE;
    assert!(said(&file).contains("no post becomes a file"), "{}", said(&file));
    let nameless = posts("").replace("    id: response.json.id\n", "") + UPDATE;
    assert!(said(&nameless).contains("which post is meant"), "{}", said(&nameless));
    let own = posts("").replace("priority: {type", "stream: {type: boolean}, priority: {type") + UPDATE;
    assert!(said(&own).contains("not the manifest's own"), "{}", said(&own));
    let twice = posts("") + &UPDATE.replace("}}\n", "}, idempotency: Idempotency-Key}\n");
    assert!(said(&twice).contains("needs no `idempotency`"), "{}", said(&twice));
    let none = posts("") + "  update: {}\n";
    assert!(said(&none).contains("`update` needs a request"), "{}", said(&none));
}

#[tokio::test]
async fn a_post_that_was_made_is_made_whatever_its_answer_is_like() {
    let (bench, fake) = bench(&posts(""));
    let bench = bench.with("room", "hall");
    fake.on_with("POST /rooms/hall/posts", |_| Ok(tercel_sdk::testing::respond(200, &[], "<html>")));
    let receipt = bench.deliver(&Target::new("forge", json!({})), "Hello").await.unwrap();
    assert_eq!(receipt.id, None);
    fake.on("POST /rooms/hall/posts", 500, json!({}));
    let error = bench.deliver(&Target::new("forge", json!({})), "Hello").await.unwrap_err();
    assert_eq!(error.kind, Kind::UnknownOutcome);
    assert_eq!(fake.requests().len(), 2, "whoever sends answers comes again, and not the part");
}

#[tokio::test]
async fn a_longer_text_is_cut_or_sent_as_a_file() {
    let long = "word ".repeat(20);
    let (bench, fake) = bench(&posts(", over: cut, as: plain"));
    fake.on("POST /rooms/hall/posts", 200, json!({}));
    bench.with("room", "hall").deliver(&Target::new("forge", json!({})), &format!("**a** {long}")).await.unwrap();
    let sent: serde_json::Value = serde_json::from_slice(&fake.requests()[0].body).unwrap();
    assert!(
        sent["text"].as_str().unwrap().starts_with("a word") && sent["text"].as_str().unwrap().ends_with('…'),
        "{sent}"
    );

    let with_file = posts(", over: file") + "  file: {post: /files, text: \"{{ text }}\"}\n";
    let (bench, fake) = super::bench(&with_file);
    fake.on("POST /files", 200, json!({}));
    fake.on("POST /rooms/hall/posts", 200, json!({}));
    let bench = bench.with("room", "hall");
    bench.deliver(&Target::new("forge", json!({})), &long).await.unwrap();
    bench.deliver(&Target::new("forge", json!({})), "short").await.unwrap();
    let requests = fake.requests();
    assert_eq!((requests[0].url.path(), requests[1].url.path()), ("/files", "/rooms/hall/posts"));
    assert_eq!(requests[0].body, long);
    assert_eq!(made(&with_file).dispatchers["forge"].limit, usize::MAX, "it is not split before");
}
