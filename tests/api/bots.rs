//! Bots: made, changed, seeded.

use crate::id_of;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tercel_tests::World;

#[test]
fn bots_are_made_changed_and_deleted() {
    let world = World::start();
    let bot = json!({"id": "reviewer", "name": "Reviewer", "model": "another", "system_prompt": "You are exact.", "tools": ["github_get_pr"], "temperature": 0.5});
    let made = world.server.post("/api/v1/bots", bot.clone()).expect(201);
    for (key, value) in bot.as_object().unwrap() {
        assert_eq!(&made[key], value, "{made:#}");
    }
    let again = world.server.post("/api/v1/bots", bot);
    assert_eq!(again.status, 409, "{again}");
    let session =
        world.server.post("/api/v1/sessions", json!({"client_id": "web:alice", "bot_id": "reviewer"})).expect(201);
    world.server.complete(&world.server.ask(session["session_id"].as_str().unwrap(), "hello"));
    let asked = world.model.asked().remove(0);
    assert_eq!(
        (asked.model(), asked.tools(), &asked.0["temperature"]),
        ("another", vec!["github_get_pr"], &json!(0.5))
    );
    assert_eq!(asked.said_by("system")[0], "You are exact.");

    let ids = |list: Vec<Value>| list.iter().map(id_of).collect::<BTreeSet<_>>();
    let both: BTreeSet<String> = ["default".to_owned(), "reviewer".to_owned()].into();
    assert_eq!(ids(world.server.list("/api/v1/bots")), both);
    assert_eq!(ids(world.server.key(&["chat:read"]).get("/bots").expect(200).as_array().unwrap().clone()), both);
    world.server.put("/api/v1/bots/reviewer", json!({"id": "reviewer", "system_prompt": "You are kind."})).expect(200);
    assert_eq!(world.server.get("/api/v1/bots/reviewer").expect(200)["system_prompt"], "You are kind.");
    world.server.delete("/api/v1/bots/reviewer").expect(204);
    world.server.get("/api/v1/bots/reviewer").expect(404);
    let last = world.server.delete("/api/v1/bots/default");
    assert_eq!(last.status, 409, "a bot `default` always exists: {last}");
}

#[test]
fn a_bot_with_strange_parts_is_refused() {
    let world = World::start();
    for bot in [
        json!({}),
        json!({"id": ""}),
        json!({"id": "a b"}),
        json!({"id": "x", "tools": "all"}),
        json!({"id": "x", "tool": []}),
        json!({"id": "x", "temperature": "hot"}),
    ] {
        let answer = world.server.post("/api/v1/bots", bot.clone());
        assert_eq!(answer.status, 422, "{bot}: {answer}");
    }
    let answer = world.server.post("/api/v1/bots", json!({"id": "x", "tool": []}));
    assert!(answer.text().contains("tool"), "{answer}");
}

#[test]
fn bots_are_seeded_from_files() {
    let mut world = World::start();
    world.server.stop();
    let bots = world.server.options.data_directory().join("bots");
    std::fs::create_dir_all(&bots).unwrap();
    std::fs::write(bots.join("reviewer.yaml"), "id: reviewer\nname: Reviewer\nsystem_prompt: You are exact.\n")
        .unwrap();
    world.server.start_again();
    assert_eq!(world.server.get("/api/v1/bots/reviewer").expect(200)["system_prompt"], "You are exact.");
}
