use super::*;
use crate::api::outer;
use axum::{middleware::from_fn, routing::get};
use serde_json::json;

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let server = server().await;
    assert_eq!(server.refusal("GET", "/nowhere", Value::Null).await, (404, "There is nothing at /nowhere".into()));
    let wrong = server.call("PUT", "/api/v1/tasks", json!({})).await;
    assert_eq!(wrong.status, 405);
    assert_eq!(wrong.json(), json!({"detail": "PUT is not possible at /api/v1/tasks", "code": "method_not_allowed"}));
    let id = uuid::Uuid::nil();
    for (path, what) in [("tasks", "task"), ("sessions", "session"), ("deliveries", "delivery"), ("keys", "key")] {
        let missing = server.refusal("GET", &format!("/api/v1/{path}/{id}"), Value::Null).await;
        assert_eq!(missing, (404, format!("There is no {what} {id}")));
    }
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_with_the_field_and_the_reason() {
    let server = server().await;
    let opened = server.call("POST", "/api/v1/sessions", json!({"client_id": "test"})).await.json();
    let path = format!("/api/v1/sessions/{}/messages", opened["session_id"].as_str().unwrap());
    let refuse = async |body: Value| server.refusal("POST", &path, body).await;
    let refused = |why: &str| (422, why.to_owned());
    assert_eq!(refuse(json!({"content": ""})).await, refused("content: it must not be empty"));
    let wrong = refuse(json!({"content": 5})).await;
    assert!(wrong.0 == 422 && wrong.1.contains("content: invalid type: integer `5`, expected a string"), "{wrong:?}");
    let unknown = refuse(json!({"content": "a", "runagent": true})).await;
    assert!(unknown.0 == 422 && unknown.1.contains("unknown field `runagent`"), "{unknown:?}");
    let nested = refuse(json!({"content": "a", "execution_config": {"tools": "all"}})).await;
    assert!(nested.0 == 422 && nested.1.contains("execution_config.tools: invalid type"), "{nested:?}");
    assert_eq!(refuse(Value::Null).await, refused("The body is empty; a JSON object is expected"));
    assert_eq!(refuse(json!({"content": "a".repeat((1 << 20) + 1)})).await.0, 413);
    assert_eq!(
        server.refusal("GET", "/api/v1/tasks?limit=0", Value::Null).await,
        refused("limit: it lies between 1 and 500")
    );
    assert_eq!(server.refusal("GET", "/api/v1/tasks/5", Value::Null).await.0, 422);
    assert_eq!(server.refusal("GET", "/api/v1/tasks?cursor=x", Value::Null).await.0, 422);
    assert_eq!(server.refusal("GET", "/api/v1/documents/search", Value::Null).await.0, 422);
}

#[tokio::test]
async fn large_and_compressed_bodies_are_refused_before_they_are_read() {
    let server = server_with(&[("TERCEL_RATE", "0"), ("TERCEL_MAX_BODY", "1000")]).await;
    let large = server.call("POST", "/api/v1/documents", json!({"content": "a".repeat(1000)})).await;
    assert_eq!((large.status.as_u16(), large.json()["code"].clone()), (413, json!("too_large")));
    let mut zipped = request("POST", "/integrations/example/webhook", None, &json!({}));
    zipped.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(send(&server.router, zipped).await.status, 415);
    let mut keyed = request("POST", "/api/v1/documents", Some(BOOTSTRAP), &json!({"content": "a"}));
    keyed.headers_mut().insert("idempotency-key", "k".repeat(256).parse().unwrap());
    assert_eq!(send(&server.router, keyed).await.status, 422);
}

#[tokio::test]
async fn a_list_that_is_over_says_so() {
    let server = server().await;
    for at in [1, 2, 3, 3] {
        let call = tercel_store::Egress {
            at,
            integration: None,
            connection: None,
            task_id: None,
            method: "GET".into(),
            host: "api.example.com".into(),
            path: "/".into(),
            status: Some(200),
            error: None,
            sent_bytes: 0,
            received_bytes: 0,
            duration_ms: 0,
        };
        assert!(server.app.store.note_egress(call));
    }
    // A write that is waited for comes after those that were left before it.
    server.app.store.put_bot("b", "{}".into()).await.unwrap();
    for (query, count, goes_on) in
        [("limit=1", 2, true), ("limit=2", 2, true), ("limit=2&cursor=3", 2, false), ("limit=4", 4, false)]
    {
        let answer = server.call("GET", &format!("/api/v1/egress?{query}"), Value::Null).await;
        assert_eq!(answer.json().as_array().unwrap().len(), count, "{query}");
        assert_eq!(answer.headers.contains_key("link"), goes_on, "{query}");
    }
}

#[tokio::test]
async fn what_an_integration_was_sent_is_found_when_it_is_gone() {
    let server = server().await;
    let delivery = tercel_store::NewDelivery {
        id: uuid::Uuid::now_v7(),
        integration: "gone".into(),
        connection: "default".into(),
        event: "ping".into(),
        outcome: "ignored",
        reason: None,
        verified_by: "hmac".into(),
        headers: "{}".into(),
        body: Vec::new(),
        answer: None,
        sealed_request: None,
    };
    let accept = tercel_store::Accept { delivery: Some(delivery), ..tercel_store::Accept::default() };
    server.app.store.accept(accept).await.unwrap();
    let list = async |id: &str| server.call("GET", &format!("/api/v1/deliveries?integration={id}"), Value::Null).await;
    assert_eq!(list("gone").await.json()[0]["event"], "ping");
    assert_eq!(list("example").await.json(), json!([]));
    assert_eq!(list("exampel").await.status, 404);
}

#[tokio::test]
async fn a_panic_is_answered_without_its_words() {
    let broken = Router::new()
        .route("/", get(async || -> &'static str { panic!("the secret is hunter2") }))
        .layer(from_fn(outer::around));
    let answer = send(&broken, request("GET", "/", None, &Value::Null)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.json(),
        json!({"detail": "Something went wrong in the server; its log says what", "code": "internal"})
    );
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn health_and_figures_are_told() {
    let server = server().await;
    let health = send(&server.router, request("GET", "/health", None, &Value::Null)).await;
    assert_eq!(health.json(), json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}));
    let ready = send(&server.router, request("GET", "/ready", None, &Value::Null)).await;
    let full = crate::disk::floor(&server.app).is_some();
    assert_eq!(ready.json()["ready"], json!(!full));
    server.app.stopping.cancel();
    assert_eq!(send(&server.router, request("GET", "/ready", None, &Value::Null)).await.status, 503);
    let figures = server.call("GET", "/metrics", Value::Null).await;
    for name in ["tercel_tasks{status=\"pending\"} 0", "tercel_queue_age_seconds 0", "tercel_outbox{state=\"dead\"} 0"]
    {
        assert!(figures.text().contains(name), "{name} is not in\n{}", figures.text());
    }
}
