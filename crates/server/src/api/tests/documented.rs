use super::*;
use crate::api::{document, openapi, routes};
use std::collections::BTreeSet;

#[test]
fn every_route_is_documented_as_it_is() {
    let document = serde_json::to_value(openapi()).unwrap();
    let (mut documented, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            assert!(
                names.insert(operation["operationId"].clone().to_string()),
                "{method} {path} has a name that is taken"
            );
            let scope = operation["security"][0]["key"][0].as_str().map(str::to_owned);
            documented.insert((method.to_uppercase(), path.clone(), scope));
        }
    }
    let all = routes().into_iter();
    let routes =
        all.map(|route| (route.method.to_owned(), route.path.replace("{*", "{"), route.scope.map(str::to_owned)));
    assert_eq!(documented, routes.collect());
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'v>(value: &'v Value, all: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(map) => {
                all.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, all));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, all)),
            _ => {}
        }
    }
    let document = serde_json::to_value(openapi()).unwrap();
    let mut all = BTreeSet::new();
    references(&document, &mut all);
    let lost: Vec<_> = all.into_iter().filter(|to| document.pointer(to.trim_start_matches('#')).is_none()).collect();
    assert_eq!(lost, [""; 0]);
}

#[tokio::test]
async fn the_server_shows_its_description() {
    let server = server().await;
    let answer = send(&server.router, request("GET", "/openapi.json", None, &Value::Null)).await;
    assert_eq!(answer.text(), document::text());
}
