use super::*;
use serde_json::json;

#[tokio::test]
async fn a_key_is_shown_once_and_worth_nothing_once_revoked() {
    let server = server().await;
    let made = server.call("POST", "/api/v1/keys", json!({"name": "ci", "scopes": ["tasks:read"]})).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("tk_") && key.len() == 46);
    let path = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
    let shown = server.call("GET", &path, Value::Null).await;
    assert!(!shown.text().contains(key) && shown.json()["scopes"] == json!(["tasks:read"]));
    assert!(key.starts_with(shown.json()["prefix"].as_str().unwrap()));
    assert_eq!(server.call_as(key, "GET", "/api/v1/tasks", Value::Null).await.status, 200);
    assert_eq!(server.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(server.call_as(key, "GET", "/api/v1/tasks", Value::Null).await.status, 401);
    assert!(server.call("GET", "/api/v1/keys", Value::Null).await.json()[0]["revoked_at"].is_string());
}

#[tokio::test]
async fn a_key_that_is_asked_for_several_times_at_once_is_made_once() {
    let server = server().await;
    let calls = (0..8).map(|_| {
        let body = json!({"name": "ci", "scopes": ["tasks:read"]});
        let mut request = request("POST", "/api/v1/keys", Some(BOOTSTRAP), &body);
        request.headers_mut().insert("idempotency-key", "once".parse().unwrap());
        send(&server.router, request)
    });
    let answers = futures::future::join_all(calls).await;
    let mut answered: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    answered.sort_unstable();
    assert_eq!(answered, [201, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(server.call("GET", "/api/v1/keys", Value::Null).await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_gives_scopes_that_they_do_not_have() {
    let server = server().await;
    let key = server.key(&["keys:write", "tasks:write"]).await;
    let make = async |scopes: Value| {
        let answer = server.call_as(&key, "POST", "/api/v1/keys", json!({"name": "more", "scopes": scopes})).await;
        (answer.status.as_u16(), answer.detail())
    };
    assert_eq!(make(json!(["tasks:read", "keys:read"])).await.0, 201);
    assert_eq!(make(json!(["tasks:read", "admin"])).await, (403, "Missing required scope: admin".into()));
    assert_eq!(make(json!(["documents:read"])).await, (403, "Missing required scope: documents:read".into()));
    assert_eq!(
        make(json!(["task:read"])).await,
        (422, "scopes: there is no `task:read`; did you mean `tasks:read`?".into())
    );
    assert!(make(json!([])).await.1.contains("sessions:write"));
}

#[tokio::test]
async fn whoever_checks_our_webhooks_can_have_their_secret() {
    let server = server().await;
    let secret = server.call("POST", "/api/v1/keys/webhook-secret", Value::Null).await.json();
    assert!(secret["secret"].as_str().unwrap().starts_with("whsec_"));
    let reader = server.key(&["keys:read"]).await;
    assert_eq!(server.call_as(&reader, "POST", "/api/v1/keys/webhook-secret", Value::Null).await.status, 403);
}
