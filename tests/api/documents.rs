//! Documents: kept, found, deleted.

use crate::{has, has_exactly, id_of};
use serde_json::{Value, json};
use tercel_tests::World;

#[test]
fn documents_are_kept_found_and_deleted() {
    let world = World::start();
    let body = json!({"title": "PR #42: Add dark mode", "content": "The sky goes dim.", "integration_id": "mygithub", "session_id": null, "metadata": {"pr_number": 42}});
    let made = world.server.post("/api/v1/documents", body.clone()).expect(201);
    has_exactly(&made, &["id", "integration_id", "session_id", "title", "content", "metadata"]);
    let mut expected = body;
    expected["id"] = made["id"].clone();
    assert_eq!(made, expected);
    let path = format!("/api/v1/documents/{}", id_of(&made));
    assert_eq!(world.server.get(&path).expect(200), made);

    for q in ["dim", "dark", "DARK", "mode%20nowhere", "sky%20OR%20%22", "dark*", "%22dark"] {
        let found = world.server.list(&format!("/api/v1/documents/search?q={q}"));
        assert_eq!(found.len(), 1, "{q}: {found:#?}");
        has_exactly(
            &found[0],
            &["id", "integration_id", "session_id", "title", "content", "metadata", "score", "snippet"],
        );
        assert_eq!(found[0]["id"], made["id"]);
        assert!(found[0]["score"].is_number() && found[0]["snippet"].is_string());
    }
    for q in ["nowhere", "", "%22", "*", "-", "'%20OR%201=1--"] {
        assert_eq!(world.server.list(&format!("/api/v1/documents/search?q={q}")), Vec::<Value>::new(), "{q}");
    }
    world.server.delete(&path).expect(204);
    world.server.get(&path).expect(404);
    world.server.delete(&path).expect(404);
    assert_eq!(world.server.list("/api/v1/documents/search?q=dim"), Vec::<Value>::new());
}

#[test]
fn a_search_answers_its_limit_whenever_there_is_so_much() {
    let world = World::start();
    let session = world.server.session("web:alice");
    for n in 0..30 {
        let (integration, own) = if n % 3 == 0 { ("one", json!(session)) } else { ("two", Value::Null) };
        let body = json!({"title": format!("Note {n}"), "content": "About falcons and hawks.", "integration_id": integration, "session_id": own});
        world.server.post("/api/v1/documents", body).expect(201);
    }
    let best = json!({"title": "Falcons falcons", "content": "falcons falcons falcons", "integration_id": "two"});
    world.server.post("/api/v1/documents", best).expect(201);
    let search = |query: &str| world.server.list(&format!("/api/v1/documents/search?q=falcons{query}"));
    assert_eq!(search("").len(), 10, "ten unless told otherwise");
    assert_eq!(search("")[0]["title"], "Falcons falcons", "the best first");
    assert_eq!(search("&limit=31").len(), 31);
    let one = search("&integration_id=one&limit=10");
    assert!(one.len() == 10 && one.iter().all(|found| found["integration_id"] == "one"), "{one:#?}");
    assert_eq!(search(&format!("&session_id={session}&limit=50")).len(), 10);
    assert_eq!(search("&integration_id=nobody").len(), 0);
}

#[test]
fn documents_without_content_or_with_strange_parts_are_refused() {
    let world = World::start();
    for body in [
        json!({}),
        json!({"title": "No content"}),
        json!({"content": 7}),
        json!([]),
        json!({"content": "x", "session_id": "no id"}),
        json!({"content": "x", "metadata": "text"}),
    ] {
        let answer = world.server.post("/api/v1/documents", body.clone());
        assert_eq!(answer.status, 422, "{body}: {answer}");
        has(&answer.json(), &["detail", "code"]);
    }
    let broken =
        world.server.call("POST", "/api/v1/documents", &[("content-type", "application/json")], "{\"content\": ");
    assert!([400, 422].contains(&broken.status), "{broken}");
    let made = world.server.post("/api/v1/documents", json!({"content": "Only content."})).expect(201);
    assert_eq!(
        (&made["integration_id"], &made["session_id"], &made["metadata"]),
        (&Value::Null, &Value::Null, &json!({}))
    );
}
