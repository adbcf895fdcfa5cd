//! Tools: arguments in, a request out, what is made of the answer.

use super::bench;
use serde_json::json;
use tercel_sdk::{Effect, Kind, testing::respond};

pub const SEARCH: &str = r#"
fields: [{key: token, type: password, required: true}, {key: space, type: text, default: main}]
http: {base: "https://api.forge.example/v1/", auth: {bearer: token}, headers: {Forge-Version: 2025-09-03}}
tools:
  - name: forge_search
    description: Finds records by title.
    effect: read
    args:
      text: {type: string}
      limit: {type: integer, default: 10, maximum: 50}
      tags: {type: array, items: {type: string}, default: []}
      since: {type: [string, "null"], default: null}
    get: "/spaces/{{ fields.space }}/records"
    query: {q: "{{ args.text }}", limit: "{{ args.limit }}", tag: "{{ args.tags }}", since: "{{ args.since }}"}
    items: response.json.items
    pages: {next: response.json.next, into: query.cursor, max: 3}
    result: items | map(attribute='title') | list
"#;

#[tokio::test]
async fn a_list_is_joined_over_its_pages() {
    let (bench, fake) = bench(SEARCH);
    fake.on(
        "GET /v1/spaces/main/records?q=a%26b+%C3%A9&limit=10&tag=x&tag=y",
        200,
        json!({"items": [{"title": "one"}], "next": "c 2"}),
    );
    fake.on(
        "GET /v1/spaces/main/records?q=a%26b+%C3%A9&limit=10&tag=x&tag=y&cursor=c+2",
        200,
        json!({"items": [{"title": "two"}], "next": null}),
    );
    let bench = bench.with("token", "t0ken");
    let found = bench.call("forge_search", json!({"text": "a&b é", "tags": ["x", "y"]})).await.unwrap();
    assert_eq!(found, json!(["one", "two"]));
    let request = &fake.requests()[0];
    assert_eq!(request.headers["authorization"], "Bearer t0ken");
    assert!(request.headers["authorization"].is_sensitive());
    assert_eq!(request.headers["forge-version"], "2025-09-03");
    assert_eq!(bench.effect("forge_search"), Effect::Read);
}

#[tokio::test]
async fn pages_end_at_their_number_and_in_a_circle() {
    let (bench, fake) = bench(SEARCH);
    let bench = bench.with("token", "t").with("space", "a/b");
    fake.on("GET /v1/spaces/a%2Fb/records?q=x&limit=10", 200, json!({"items": [1], "next": "p1"}));
    fake.on("GET /v1/spaces/a%2Fb/records?q=x&limit=10&cursor=p1", 200, json!({"items": [2], "next": "p2"}));
    fake.on("GET /v1/spaces/a%2Fb/records?q=x&limit=10&cursor=p2", 200, json!({"items": [3], "next": "p3"}));
    bench.call("forge_search", json!({"text": "x"})).await.unwrap();
    assert_eq!(fake.requests().len(), 3);
    fake.on("GET /v1/spaces/a%2Fb/records?q=x&limit=10&cursor=p1", 200, json!({"items": [2], "next": "p1"}));
    let error = bench.call("forge_search", json!({"text": "x"})).await.unwrap_err();
    assert!(error.message.contains("that it gave before"), "{error}");
}

#[tokio::test]
async fn arguments_are_completed_and_checked() {
    let (bench, fake) = bench(SEARCH);
    let bench = bench.with("token", "t");
    for (arguments, said) in [
        (json!({}), "\"text\" is a required property"),
        (json!({"text": "x", "limit": 99}), "/limit"),
        (json!({"text": "x", "more": 1}), "Additional properties"),
        (json!([1]), "are an object"),
    ] {
        let error = bench.call("forge_search", arguments).await.unwrap_err();
        assert!(error.kind == Kind::Schema && error.message.contains(said), "{error}");
    }
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn what_is_no_list_or_no_json_is_an_error() {
    let (bench, fake) = bench(SEARCH);
    let bench = bench.with("token", "t");
    let asked = "GET /v1/spaces/main/records?q=x&limit=10";
    fake.on(asked, 200, json!({"items": {"a": 1}}));
    let error = bench.call("forge_search", json!({"text": "x"})).await.unwrap_err();
    assert!(error.message.contains("no list"), "{error}");
    fake.on_with(asked, |_| Ok(respond(200, &[], "<html>log in</html>")));
    let error = bench.call("forge_search", json!({"text": "x"})).await.unwrap_err();
    assert_eq!(error.kind, Kind::Schema);
    fake.on(asked, 200, json!({}));
    assert_eq!(bench.call("forge_search", json!({"text": "x"})).await.unwrap(), json!([]), "what is missing is null");
}

#[tokio::test]
async fn the_next_page_can_be_an_address_on_the_same_host_only() {
    let (bench, fake) = bench(
        "http: {base: \"https://api.forge.example\"}\ntools:\n  - {name: forge_all, description: All., get: /all, \
         items: response.json.items, pages: {next: response.json.next, into: url}}\n",
    );
    fake.on("GET /all", 200, json!({"items": [1], "next": "/all?page=2"}));
    fake.on("GET /all?page=2", 200, json!({"items": [2], "next": "https://evil.example/all"}));
    let error = bench.call("forge_all", json!({})).await.unwrap_err();
    assert!(error.message.contains("another host"), "{error}");
    fake.on("GET /all?page=2", 200, json!({"items": [2]}));
    assert_eq!(bench.call("forge_all", json!({})).await.unwrap(), json!([1, 2]));
}

#[tokio::test]
async fn json_keeps_types_and_drops_what_is_null() {
    let (bench, fake) = bench(
        r#"
fields: [{key: token, type: password}]
http: {base: "https://api.forge.example"}
tools:
  - name: forge_note
    description: Notes.
    args: {text: {type: string}, count: {type: integer, default: 2}, extra: {type: [object, "null"], default: null}}
    post: /notes
    json:
      text: "{{ args.text }}"
      count: "{{ args.count }}"
      label: "{{ args.count }} times"
      extra: "{{ args.extra }}"
      empty: null
      list: ["{{ args.text }}", "{{ args.extra }}", 3, true]
      deep: {auth: "Token {{ secrets.token }}"}
    idempotency: Idempotency-Key
"#,
    );
    fake.on("POST /notes", 201, json!({"id": 7}));
    let bench = bench.with("token", "s3cret");
    assert_eq!(bench.call("forge_note", json!({"text": "a \"b\"\n{{ x }}"})).await.unwrap(), json!({"id": 7}));
    let request = &fake.requests()[0];
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&request.body).unwrap(),
        json!({"text": "a \"b\"\n{{ x }}", "count": 2, "label": "2 times", "empty": null,
               "list": ["a \"b\"\n{{ x }}", null, 3, true], "deep": {"auth": "Token s3cret"}}),
    );
    assert!(request.repeatable && request.headers.contains_key("idempotency-key"));
}
