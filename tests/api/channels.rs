//! Channels: what they hear, and where their answers go.

use crate::{has, id_of};
use serde_json::json;
use tercel_tests::{World, events};

#[test]
fn a_bound_channel_hears_what_its_filter_lets_through() {
    let world = World::start();
    world.server.post("/api/v1/bots", json!({"id": "reviewer"})).expect(201);
    let channel = world
        .server
        .post("/api/v1/channels", json!({"client_id": "web:team", "bot_id": "reviewer", "display_name": "Team"}))
        .expect(201);
    assert_eq!(
        (&channel["client_id"], &channel["bot_id"], &channel["display_name"]),
        (&json!("web:team"), &json!("reviewer"), &json!("Team"))
    );
    let path = format!("/api/v1/channels/{}", id_of(&channel));
    let binding = world
        .server
        .post(
            &format!("{path}/bindings"),
            json!({"client_id": "github:octo/hello", "event_filter": ["pull_request.opened"]}),
        )
        .expect(201);
    assert_eq!(
        (&binding["client_id"], &binding["event_filter"]),
        (&json!("github:octo/hello"), &json!(["pull_request.opened"]))
    );
    assert!(world.server.get(&path).expect(200).to_string().contains("github:octo/hello"));

    let task = world.server.github_task(&events::pull_request("opened", 1));
    assert_eq!(world.server.complete(&task)["bot_id"], "reviewer");
    world.github.wait_for_comments(1);
    let session = world.server.trace(&task)["session"].clone();
    assert_eq!(session["client_id"], "web:team", "{session:#}");
    let filtered = world.server.github(&events::issues("opened", 2)).accepted();
    assert!(
        filtered["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|id| world.server.task(id.as_str().unwrap())["bot_id"] != "reviewer"),
        "{filtered}"
    );

    world.server.delete(&format!("{path}/bindings/{}", id_of(&binding))).expect(204);
    let task = world.server.github_task(&events::pull_request("opened", 3));
    assert_eq!(world.server.task(&task)["bot_id"], "default", "unbound: the integration's own bot");
}

#[test]
fn every_bound_channel_gets_the_event() {
    let world = World::start();
    for name in ["one", "two"] {
        let channel = world.server.post("/api/v1/channels", json!({"client_id": format!("web:{name}")})).expect(201);
        world
            .server
            .post(&format!("/api/v1/channels/{}/bindings", id_of(&channel)), json!({"client_id": "github:octo/hello"}))
            .expect(201);
    }
    let answer = world.server.github(&events::pull_request("opened", 1)).accepted();
    assert_eq!(answer["tasks"].as_array().map(Vec::len), Some(2), "{answer}");
}

#[test]
fn channels_are_listed_changed_and_deleted() {
    let world = World::start();
    let made = world.server.post("/api/v1/channels", json!({"client_id": "web:team"})).expect(201);
    has(&made, &["id", "bot_id", "client_id", "require_mention", "display_name"]);
    let again = world.server.post("/api/v1/channels", json!({"client_id": "web:team"}));
    assert_eq!(again.status, 409, "{again}");
    let path = format!("/api/v1/channels/{}", id_of(&made));
    let changed = world
        .server
        .put(&path, json!({"client_id": "web:team", "display_name": "The team", "require_mention": true}))
        .expect(200);
    assert_eq!((&changed["display_name"], &changed["require_mention"]), (&json!("The team"), &json!(true)));
    assert_eq!(world.server.list("/api/v1/channels").len(), 1);
    let unknown = world.server.post("/api/v1/channels", json!({"client_id": "web:other", "bot_id": "nobody"}));
    assert!([400, 422].contains(&unknown.status), "{unknown}");
    world.server.delete(&path).expect(204);
    world.server.get(&path).expect(404);
}

#[test]
fn the_answer_goes_where_the_channel_says() {
    let world = World::start();
    let config = json!({"type": "github", "repo": "octo/elsewhere", "number": 9});
    world.server.post("/api/v1/channels", json!({"client_id": "web:team", "dispatch_config": config})).expect(201);
    let session = world.server.session("web:team");
    world.server.complete(&world.server.ask(&session, "hello"));
    // The message is shown where its answer goes, unless the caller wants it quiet.
    let comments = world.github.wait_for_comments(2);
    let places: Vec<_> = comments.iter().map(|comment| (comment.repository.as_str(), comment.number)).collect();
    assert_eq!(places, [("octo/elsewhere", 9); 2]);
    assert!(comments[0].body.starts_with("[api] hello"), "{comments:#?}");
    assert!(comments[1].body.starts_with("Understood."), "{comments:#?}");
    // What the message says goes before what the channel says.
    let own = json!({"type": "github", "repo": "octo/own", "number": 3});
    let quiet = json!({"content": "hello", "dispatch_config": own, "notify": false});
    world.server.complete(&world.server.ask_with(&session, quiet));
    assert_eq!(world.github.wait_for_comments(3)[2].repository, "octo/own");
    let nowhere = world.server.ask_with(&session, json!({"content": "hello", "dispatch_type": "none"}));
    world.server.complete(&nowhere);
    assert_eq!(world.server.trace(&nowhere)["outbox"], json!([]));
    assert_eq!(world.github.comments().len(), 3);
}
