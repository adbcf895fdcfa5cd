//! Panels of the dashboard.

use super::{made, wrong};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_sdk::testing::{self, Fake};

const PANELS: &str = "http: {base: \"https://api.forge.example\"}\ndashboard_modules:\n  \
    - {id: open, label: Open, icon: Users, panel: stat, get: /deals, query: {state: open}, result: response.json | length}\n";

async fn ask(fake: &Arc<Fake>, method: &str, path: &str, scopes: Option<&str>) -> (u16, Value) {
    let integration = made(PANELS);
    let routes = integration.routes.clone().unwrap();
    let host = testing::check(integration).world(fake).host();
    let mut request = http::Request::builder().method(method).uri(path);
    if let Some(scopes) = scopes {
        request = request.header("tercel-scopes", scopes);
    }
    let response = (routes.serve)(host, request.body(stream::empty().boxed()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let pieces: Vec<Bytes> = response.into_body().map(Result::unwrap).collect().await;
    (status, serde_json::from_slice(&pieces.concat()).unwrap())
}

#[tokio::test]
async fn its_data_is_what_the_request_brings_for_those_who_may_see_it() {
    let fake = Fake::new();
    fake.on("GET /deals?state=open", 200, json!([1, 2, 3]));
    let path = "/integrations/forge/mc/open";
    assert_eq!(ask(&fake, "GET", path, Some("chat integrations:read")).await, (200, json!(3)));
    assert_eq!(ask(&fake, "GET", path, Some("admin")).await.0, 200);
    assert_eq!(ask(&fake, "GET", path, Some("chat")).await.0, 403);
    assert_eq!(ask(&fake, "GET", path, None).await.0, 401);
    assert_eq!(ask(&fake, "POST", path, Some("admin")).await.0, 405);
    assert_eq!(ask(&fake, "GET", "/integrations/forge/mc/other", Some("admin")).await.0, 404);
    assert_eq!(fake.requests().len(), 2, "nobody else makes the service be asked");
    fake.on("GET /deals?state=open", 500, json!({}));
    assert_eq!(ask(&fake, "GET", path, Some("admin")).await.0, 502);
    let module = &made(PANELS).dashboard_modules[0];
    assert_eq!((&module["id"], &module["panel"]), (&json!("open"), &json!("stat")));
}

#[test]
fn a_panel_reads() {
    let module =
        |rest: &str| wrong(&format!("http: {{base: \"https://a.example\"}}\ndashboard_modules: [{{id: a{rest}}}]\n"));
    assert!(module("").contains("A module needs a request"));
    assert!(module(", post: /x").contains("A panel reads"));
    assert!(module(", get: /x, route: /y").contains("one of `route`"));
    assert!(module(", get: /x}, {id: a, get: /x").contains("two modules `a`"));
}
