//! Requests: who they are from, when they are made again, what failures mean, which hosts they go to.

use super::{bench, made};
use serde_json::{Value, json};
use tercel_sdk::{Error, Kind, testing::respond};

fn tool(head: &str, request: &str) -> String {
    format!("{head}\ntools:\n  - {{name: forge_do, description: Does., {request}}}\n")
}

const HTTP: &str =
    "fields: [{key: user, type: text}, {key: pass, type: password}]\nhttp: {base: \"https://api.forge.example\"}";

#[tokio::test]
async fn a_request_says_whose_it_is_in_each_way() {
    for (auth, header, expected) in [
        ("{bearer: pass}", "authorization", "Bearer p:w"),
        ("{basic: {user: user, password: pass}}", "authorization", "Basic bWU6cDp3"),
        ("{header: {name: X-Key, secret: pass}}", "x-key", "p:w"),
        ("{header: {name: Authorization, secret: pass, prefix: \"Token \"}}", "authorization", "Token p:w"),
    ] {
        let head = HTTP.replace("example\"}", &format!("example\", auth: {auth}}}"));
        let (bench, fake) = bench(&tool(&head, "get: /x"));
        fake.on("GET /x", 200, json!({}));
        let unset = bench.with("user", "me");
        unset.call("forge_do", json!({})).await.unwrap();
        let set = unset.with("pass", "p:w");
        set.call("forge_do", json!({})).await.unwrap();
        let requests = fake.requests();
        assert_eq!(requests[1].headers[header], expected);
        assert!(requests[1].headers[header].is_sensitive());
        if !auth.contains("basic") {
            assert!(!requests[0].headers.contains_key(header), "an unset secret leaves the header out");
        }
    }
    let head = HTTP.replace("example\"}", "example\", auth: {query: {name: key, secret: pass}}}");
    let (bench, fake) = bench(&tool(&head, "get: /x"));
    fake.on("GET /x?key=p%26w", 200, json!({}));
    bench.with("pass", "p&w").call("forge_do", json!({})).await.unwrap();
}

#[tokio::test]
async fn what_did_not_happen_is_asked_for_again() {
    let cases = [
        ("get: /x", "GET /x", 429, 3),
        ("post: /x", "POST /x", 429, 3),
        ("get: /x", "GET /x", 503, 3),
        ("post: /x", "POST /x", 503, 1),
        ("{post: /x, idempotency: Idempotency-Key}", "POST /x", 503, 3),
        ("get: /x", "GET /x", 404, 1),
        ("get: /x", "GET /x", 401, 1),
    ];
    for (request, asked, status, times) in cases {
        let request = request.trim_matches(['{', '}']);
        let (bench, fake) = bench(&tool(HTTP, request));
        fake.on(asked, status, json!({}));
        bench.call("forge_do", json!({})).await.unwrap_err();
        assert_eq!(fake.requests().len(), times, "{request} {status}");
    }
    let (bench, fake) = bench(&tool(HTTP, "post: /x"));
    fake.on_with("POST /x", |_| Err(Error::new(Kind::Network, "refused")));
    bench.call("forge_do", json!({})).await.unwrap_err();
    assert_eq!(fake.requests().len(), 3, "a refused connection");
    fake.on_with("POST /x", |_| Err(Error::new(Kind::UnknownOutcome, "lost")));
    bench.call("forge_do", json!({})).await.unwrap_err();
    assert_eq!(fake.requests().len(), 4, "what may have happened is not done again");
    fake.on_with("POST /x", |_| Ok(respond(429, &[("retry-after", "60")], "")));
    let error = bench.call("forge_do", json!({})).await.unwrap_err();
    assert_eq!((fake.requests().len(), error.retry_after.map(|wait| wait.as_secs())), (5, Some(60)));
}

#[tokio::test]
async fn a_service_that_says_no_in_its_own_way_is_understood() {
    let head = HTTP.replace(
        "example\"}",
        "example\", errors: [{when: response.json.error == 'invalid_auth', code: auth, hint: Make a new token}, \
         {when: response.status == 402, code: forbidden, message: This plan has no API access}]}",
    );
    let (bench, fake) = bench(&tool(&head, "post: /x, ok: response.json.ok"));
    let outcome = async |status, answer: Value| {
        fake.on("POST /x", status, answer);
        bench.call("forge_do", json!({})).await.map_err(|error| (error.kind, error.message, error.hint))
    };
    assert_eq!(outcome(200, json!({"ok": true})).await.unwrap(), json!({"ok": true}));
    let (kind, _, hint) = outcome(200, json!({"ok": false, "error": "invalid_auth"})).await.unwrap_err();
    assert_eq!((kind, hint.as_deref()), (Kind::Auth, Some("Make a new token")));
    let (kind, message, _) = outcome(200, json!({"ok": false, "error": "no_text"})).await.unwrap_err();
    assert!(kind == Kind::Schema && message.contains("no_text"), "{message}");
    let (kind, message, _) = outcome(402, json!({})).await.unwrap_err();
    assert_eq!((kind, message.as_str()), (Kind::Forbidden, "This plan has no API access"));
    assert_eq!(outcome(500, json!({"ok": true})).await.unwrap(), json!({"ok": true}), "`ok` decides");
    assert_eq!(outcome(500, json!({})).await.unwrap_err().0, Kind::UnknownOutcome);
}

#[tokio::test]
async fn requests_before_another_give_it_what_it_needs() {
    let (bench, fake) = bench(&tool(
        HTTP,
        "post: \"/spaces/{{ before.me.json.id }}/notes\", json: {nonce: \"{{ before.nonce.headers['x-nonce'] }}\"}, \
         before: [{as: me, get: /me}, {as: nonce, get: \"/nonce/{{ before.me.json.id }}\"}]",
    ));
    fake.on("GET /me", 200, json!({"id": 7}));
    fake.on_with("GET /nonce/7", |_| Ok(respond(200, &[("x-nonce", "n1")], "")));
    fake.on("POST /spaces/7/notes", 200, json!({}));
    bench.call("forge_do", json!({})).await.unwrap();
    assert_eq!(fake.requests()[2].body, r#"{"nonce":"n1"}"#);
    fake.on("GET /me", 200, json!({}));
    let error = bench.call("forge_do", json!({})).await.unwrap_err();
    assert!(error.message.contains("missing or empty"), "{error}");
}

#[tokio::test]
async fn requests_go_to_hosts_that_somebody_named() {
    let head = "fields: [{key: url, type: url}, {key: hook, type: password}]\nhttp: {base: \"{{ fields.url }}\"}\n\
                permissions: {hosts: [cdn.example]}";
    let requests = "
  - {name: forge_base, description: A., get: /x}
  - {name: forge_hook, description: B., post: \"{{ secrets.hook }}?wait=true\", json: {}}
  - {name: forge_found, description: C., get: \"{{ before.up.json.url | url }}\", before: [{as: up, get: /up}]}
";
    let (bench, fake) = bench(&format!("{head}\ntools:{requests}"));
    let bench = bench.with("url", "https://one.example/api/").with("hook", "https://two.example/hooks/T0/s3cret");
    fake.on("GET /api/x", 200, json!(1));
    fake.on("POST /hooks/T0/s3cret?wait=true", 200, json!(2));
    assert_eq!(bench.call("forge_base", json!({})).await.unwrap(), json!(1));
    let error = bench.call("forge_hook", json!({})).await.unwrap_err();
    assert!(error.kind == Kind::Forbidden && !error.message.contains("s3cret"), "{error}");
    for (url, is_good) in [
        ("https://cdn.example/up", true),
        ("https://one.example/up", true),
        ("https://evil.example/up", false),
        ("file:///etc/passwd", false),
    ] {
        fake.on("GET /api/up", 200, json!({"url": url}));
        fake.on("GET /up", 200, json!(3));
        assert_eq!(bench.call("forge_found", json!({})).await.is_ok(), is_good, "{url}");
    }
}

#[tokio::test]
async fn an_address_in_a_secret_field_is_called() {
    let (bench, fake) = bench(
        "fields: [{key: hook, type: url, secret: true, required: true}]\n\
         tools: [{name: forge_hook, description: B., post: \"{{ secrets.hook }}?wait=true\", json: {}}]\n",
    );
    fake.on("POST /hooks/T0/s3cret?wait=true", 200, json!(2));
    let error = bench.call("forge_hook", json!({})).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotConfigured);
    let bench = bench.with("hook", "https://two.example/hooks/T0/s3cret");
    assert_eq!(bench.call("forge_hook", json!({})).await.unwrap(), json!(2));
}

#[tokio::test]
async fn the_test_of_a_connection_says_how_much_it_proves() {
    let (bench, fake) = bench(&format!(
        "{HTTP}\ntest: {{depth: target, get: /me, account: response.json.email, account_id: response.json.id}}\n"
    ));
    fake.on("GET /me", 200, json!({"email": "me@forge.example", "id": 42}));
    let checked = bench.test().await.unwrap();
    assert_eq!(checked.account_id.as_deref(), Some("42"));
    assert_eq!((checked.depth, checked.account.as_deref()), (tercel_sdk::Depth::Target, Some("me@forge.example")));
    fake.on("GET /me", 403, json!({"error": "no"}));
    assert_eq!(bench.test().await.unwrap_err().kind, Kind::Forbidden);
    assert!(made("fields: [{key: a, type: text}]\n").connector.is_none(), "no test is no test");
}

#[tokio::test]
async fn a_service_is_not_asked_more_often_than_it_wants() {
    let head = HTTP.replace("example\"}", "example\", rate: 20/s}");
    let (bench, fake) = bench(&tool(&head, "get: /x"));
    fake.on("GET /x", 200, json!({}));
    let began = tokio::time::Instant::now();
    for _ in 0..23 {
        bench.call("forge_do", json!({})).await.unwrap();
    }
    assert!(began.elapsed().as_millis() >= 150, "twenty at once, then twenty a second");
}

#[tokio::test]
async fn a_service_that_says_in_its_answer_when_to_come_again_is_obeyed() {
    let head = HTTP.replace(
        "example\"}",
        "example\", errors: [{when: response.status == 429, code: rate_limited, retry_after: response.json.wait}]}",
    );
    let (bench, fake) = bench(&tool(&head, "post: /x"));
    for (said, waits) in
        [(json!(90.5), Some(90.5)), (json!("90"), Some(90.0)), (json!(-1), None), (json!("soon"), None)]
    {
        fake.on("POST /x", 429, json!({"wait": said}));
        let error = bench.call("forge_do", json!({})).await.unwrap_err();
        assert_eq!(
            (error.kind, error.retry_after.map(|wait| wait.as_secs_f64())),
            (Kind::RateLimited, waits),
            "{said}"
        );
    }
}
