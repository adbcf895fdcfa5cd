use super::*;
use serde_json::json;
use tercel_store::MASK;

async fn session(server: &Server) -> String {
    let opened = server.call("POST", "/api/v1/sessions", json!({"client_id": "test:place"})).await.json();
    opened["session_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_is_got_or_made_and_its_secrets_stay_inside() {
    let server = server().await;
    let open = async |body: Value| server.call("POST", "/api/v1/sessions", body).await;
    let body = json!({"client_id": "a:b", "thread": "pr/1", "dispatch_config": {"type": "webhook", "url": "https://x.example", "secret": "hunter2"}});
    let first = open(body.clone()).await;
    assert_eq!((first.status.as_u16(), first.json()["created"].clone()), (201, json!(true)));
    let second = open(body).await.json();
    assert_eq!(second, json!({"session_id": first.json()["session_id"], "created": false}));
    let path = format!("/api/v1/sessions/{}", second["session_id"].as_str().unwrap());
    let shown = server.call("GET", &path, Value::Null).await.json();
    assert_eq!(shown["dispatch_config"], json!({"type": "webhook", "url": "https://x.example", "secret": MASK}));
    assert_eq!(open(json!({"client_id": "a:b", "bot_id": "nobody"})).await.status, 400);
    assert_eq!(open(json!({"client_id": "a:b", "dispatch_config": {"url": "x"}})).await.status, 422);
    server.call("POST", &format!("{path}/reset"), Value::Null).await;
    assert_eq!(open(json!({"client_id": "a:b", "thread": "pr/1"})).await.json()["created"], true);
}

#[tokio::test]
async fn a_message_under_the_same_idempotency_key_is_the_same_message() {
    let server = server().await;
    let path = format!("/api/v1/sessions/{}/messages", session(&server).await);
    let post = async |key: &str| {
        let mut request = request("POST", &path, Some(BOOTSTRAP), &json!({"content": "hello", "run_agent": true}));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        send(&server.router, request).await.json()
    };
    let (first, again, other) = (post("a").await, post("a").await, post("b").await);
    assert!(first["task_id"].is_string());
    assert_eq!(first, again);
    assert_ne!(first["message_id"], other["message_id"]);
    let task =
        server.call("GET", &format!("/api/v1/tasks/{}", first["task_id"].as_str().unwrap()), Value::Null).await.json();
    let expected = json!({"status": "pending", "prompt": "hello", "dispatch_type": "none", "dispatch": {"state": "none", "attempts": 0}, "rehearsal": true});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&task[key], value, "{key}");
    }
}

#[tokio::test]
async fn a_long_list_is_walked_by_its_links() {
    let server = server().await;
    let path = format!("/api/v1/sessions/{}/messages", session(&server).await);
    for n in 1..=5 {
        server.call("POST", &path, json!({"content": n.to_string()})).await;
    }
    let mut next = Some(format!("{path}?limit=2"));
    let mut pieces = Vec::new();
    while let Some(path) = next {
        let answer = server.call("GET", &path, Value::Null).await;
        let texts =
            answer.json().as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap()).collect::<String>();
        pieces.push(texts);
        next = answer.headers.get("link").map(|link| link.to_str().unwrap()[1..].split('>').next().unwrap().to_owned());
    }
    assert_eq!(pieces, ["45", "23", "1"]);
}

#[tokio::test]
async fn a_document_is_found_when_storing_it_returns() {
    let server = server().await;
    let body = json!({"title": "Dark mode", "content": "The css of the night", "integration_id": "example", "metadata": {"a": 1}});
    let made = server.call("POST", "/api/v1/documents", body).await;
    assert_eq!((made.status.as_u16(), made.json()["metadata"].clone()), (201, json!({"a": 1})));
    let found = server
        .call("GET", "/api/v1/documents/search?q=night%20nothing&integration_id=example", Value::Null)
        .await
        .json();
    assert_eq!(found[0]["id"], made.json()["id"]);
    assert!(found[0]["score"].is_number() && found[0]["snippet"].is_string());
    let path = format!("/api/v1/documents/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(server.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(server.call("GET", &path, Value::Null).await.status, 404);
    let wrong = server.call("POST", "/api/v1/documents", json!({"content": "x", "metadata": [1]})).await;
    assert!(wrong.status == 422 && wrong.detail().contains("metadata: invalid type"), "{}", wrong.text());
}

#[tokio::test]
async fn a_channel_is_made_changed_bound_and_deleted() {
    let server = server().await;
    let made =
        server.call("POST", "/api/v1/channels", json!({"client_id": "example:a/b", "require_mention": true})).await;
    assert_eq!(made.status, 201);
    let (made, path) = (made.json(), format!("/api/v1/channels/{}", made.json()["id"].as_str().unwrap()));
    assert_eq!(
        (made["integration"].clone(), made["require_mention"].clone(), made["bot_id"].clone()),
        (json!("example"), json!(true), json!("default"))
    );
    assert_eq!(server.call("POST", "/api/v1/channels", json!({"client_id": "example:a/b"})).await.status, 409);
    let config = json!({"type": "example", "token": "hunter2", "room": "1"});
    server.call("PUT", &path, json!({"dispatch_config": config, "display_name": "Home"})).await;
    let changed = server
        .call("PUT", &path, json!({"dispatch_config": {"type": "example", "token": MASK, "room": "2"}}))
        .await
        .json();
    assert_eq!(changed["dispatch_config"], json!({"type": "example", "token": MASK, "room": "2"}));
    let sealed = server.app.catalog().channels["example:a/b"].sealed_target.clone().unwrap();
    assert_eq!(server.app.open_target(&sealed).unwrap().config["token"], "hunter2");
    assert_eq!(changed["display_name"], "Home");
    let binding = json!({"client_id": "other:c", "event_filter": ["opened"]});
    let bound = server.call("POST", &format!("{path}/bindings"), binding.clone()).await;
    assert_eq!((bound.status.as_u16(), bound.json()["event_filter"].clone()), (201, json!(["opened"])));
    assert_eq!(server.call("POST", &format!("{path}/bindings"), binding).await.status, 409);
    assert_eq!(
        server
            .call("POST", &format!("{path}/bindings"), json!({"client_id": "x", "event_filter": "opened"}))
            .await
            .status,
        422
    );
    let unbind = format!("{path}/bindings/{}", bound.json()["id"].as_str().unwrap());
    assert_eq!(server.call("DELETE", &unbind, Value::Null).await.status, 204);
    assert_eq!(server.call("DELETE", &unbind, Value::Null).await.status, 404);
    assert_eq!(server.call("DELETE", &path, Value::Null).await.status, 204);
    assert!(server.app.catalog().channels.is_empty());
}

#[tokio::test]
async fn a_bot_in_use_stays_and_default_always_does() {
    let server = server().await;
    assert_eq!(server.call("POST", "/api/v1/bots", json!({"id": "reviewer", "tools": ["*"]})).await.status, 201);
    assert_eq!(server.call("POST", "/api/v1/bots", json!({"id": "reviewer"})).await.status, 409);
    assert_eq!(server.call("POST", "/api/v1/bots", json!({"id": "a b"})).await.status, 422);
    server.call("POST", "/api/v1/channels", json!({"client_id": "a:b", "bot_id": "reviewer"})).await;
    assert_eq!(server.call("DELETE", "/api/v1/bots/reviewer", Value::Null).await.status, 409);
    assert_eq!(server.call("DELETE", "/api/v1/bots/default", Value::Null).await.status, 409);
    let cards = server.call("GET", "/bots", Value::Null).await.json();
    assert_eq!(cards[1], json!({"id": "reviewer", "name": "reviewer", "display_name": null, "avatar_url": null}));
}
