use super::*;
use crate::api::{
    auth::{ANY, Scopes},
    routes,
};
use serde_json::json;
use std::collections::BTreeSet;

/// A path that fits the route and leads to nothing.
fn example(path: &str) -> String {
    let nothing = uuid::Uuid::nil().to_string();
    ["{id}", "{key}", "{binding}", "{connection}", "{name}"]
        .iter()
        .fold(path.to_owned(), |path, name| path.replace(name, &nothing))
}

async fn is_let_in(router: &Router, method: &str, path: &str, key: Option<&str>) -> bool {
    let answer = send(router, request(method, &example(path), key, &json!({}))).await;
    let refused = answer.status == 401 || answer.detail().starts_with("Missing required scope");
    assert!(answer.status != 500 && answer.status != 405, "{method} {path}: {} {}", answer.status, answer.text());
    !refused
}

#[tokio::test]
async fn on_every_route_a_key_can_do_exactly_its_scopes() {
    let server = server().await;
    let routes = routes();
    let mut scopes: BTreeSet<&str> =
        routes.iter().filter_map(|route| route.scope).filter(|scope| *scope != ANY).collect();
    scopes.insert("admin");
    for scope in scopes {
        let key = server.key(&[scope]).await;
        for route in &routes {
            let may = route.scope.is_none_or(|needed| needed == ANY || Scopes::from(scope).allow(needed));
            let let_in = is_let_in(&server.router, route.method, route.path, Some(&key)).await;
            assert_eq!(let_in, may, "{} {} with the scope {scope}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn without_a_key_only_open_routes_answer_and_the_socket_needs_none() {
    let server = server().await;
    for route in routes() {
        for key in [None, Some("")] {
            let let_in = is_let_in(&server.router, route.method, route.path, key).await;
            assert_eq!(let_in, route.scope.is_none(), "{} {} with the key {key:?}", route.method, route.path);
        }
        assert!(is_let_in(&server.socket, route.method, route.path, None).await, "{} {}", route.method, route.path);
    }
}

#[test]
fn every_scope_follows_from_method_and_path() {
    for route in routes() {
        let Some(scope) = route.scope else { continue };
        // What is about the key itself, and what no key may do without.
        if scope == ANY {
            assert!(["/api/v1/keys/current", "/api/v1/features"].contains(&route.path), "{}", route.path);
            continue;
        }
        let path = route.path.trim_start_matches("/api/v1/").trim_start_matches("admin/").trim_start_matches('/');
        let resource = path.split('/').next().unwrap();
        let is_chat = ["/bots", "/transcribe"].contains(&route.path) || route.path.starts_with("/v1/");
        let resource = if is_chat { "chat" } else { resource };
        let verb = if route.method == "GET" { "read" } else { "write" };
        assert_eq!(scope, format!("{resource}:{verb}"), "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_missing() {
    let server = server().await;
    let none = send(&server.router, request("GET", "/api/v1/tasks", None, &Value::Null)).await;
    assert_eq!(
        none.json(),
        json!({"detail": "A key is needed: send `Authorization: Bearer <key>`", "code": "unauthorized"})
    );
    assert_eq!((none.status.as_u16(), none.headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    let key = server.key(&["documents:write"]).await;
    let other = server.call_as(&key, "GET", "/api/v1/tasks", Value::Null).await;
    assert_eq!(other.status, 403);
    assert_eq!(other.json(), json!({"detail": "Missing required scope: tasks:read", "code": "forbidden"}));
}

#[tokio::test]
async fn a_source_that_guesses_keys_is_stopped_and_our_own_keys_are_not() {
    let server = server_with(&[]).await;
    let key = server.key(&["tasks:read"]).await;
    let guess = async || server.call_as("guess", "GET", "/api/v1/tasks", Value::Null).await;
    for _ in 0..31 {
        assert_eq!(guess().await.status, 401);
    }
    let stopped = guess().await;
    assert_eq!(stopped.status, 429);
    assert!(stopped.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 60);
    assert_eq!(server.call("GET", "/api/v1/tasks", Value::Null).await.status, 429);
    assert_eq!(server.call_as(&key, "GET", "/api/v1/tasks", Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_key_that_calls_too_often_must_wait() {
    let server = server_with(&[("TERCEL_RATE", "1")]).await;
    let one = async || server.call("GET", "/api/v1/keys", Value::Null).await.status.as_u16();
    assert_eq!([one().await, one().await, one().await], [200, 200, 429]);
}
