//! Integrations: described, connected.

use crate::has_exactly;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tercel_tests::{Turn, World, events, until};

#[test]
fn the_integrations_are_described() {
    let world = World::start();
    let list = world.server.get("/api/v1/admin/integrations").expect(200);
    let github =
        list["integrations"].as_array().unwrap().iter().find(|integration| integration["id"] == "github").unwrap();
    has_exactly(
        github,
        &[
            "id",
            "name",
            "version",
            "source",
            "way",
            "icon",
            "tier",
            "locked",
            "has_router",
            "has_dispatcher",
            "has_hooks",
            "has_tools",
            "has_skills",
            "has_carapaces",
            "has_process",
            "process_status",
            "env_vars",
            "webhook",
            "status",
            "error",
            "lacks",
            "readme",
        ],
    );
    let told = json!([
        github["way"],
        github["tier"],
        github["locked"],
        github["has_router"],
        github["has_dispatcher"],
        github["has_hooks"],
        github["has_tools"],
        github["status"],
        github["error"]
    ]);
    assert_eq!(told, json!(["native", "free", false, true, true, true, true, "ready", null]));
    has_exactly(&github["webhook"], &["path", "url", "description"]);
    assert_eq!(github["webhook"]["path"], events::PATH);
    let names: BTreeSet<&str> =
        github["env_vars"].as_array().unwrap().iter().map(|var| var["key"].as_str().unwrap()).collect();
    assert!(
        names.is_superset(
            &["GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "GITHUB_BOT_LOGIN", "GITHUB_BOT", "GITHUB_API_URL"].into()
        ),
        "{names:?}"
    );
    has_exactly(&github["env_vars"][0], &["key", "required", "secret", "description", "default", "is_set"]);
    let settings = world.server.get("/api/v1/admin/integrations/github/settings").expect(200);
    has_exactly(
        &settings["settings"][0],
        &["key", "description", "required", "secret", "value", "source", "is_set", "default"],
    );
    world.server.get("/api/v1/admin/integrations/nobody/settings").expect(404);
}

#[test]
fn a_connection_is_tested_before_it_is_saved() {
    let world = World::start();
    // The test at the start is not to be taken for one of these.
    let path = "/api/v1/admin/integrations/github/connection";
    until("the test at the start", || (world.server.get(path).expect(200)["state"] == "connected").then_some(()));
    let shown = world.server.get(path).expect(200);
    has_exactly(
        &shown,
        &[
            "name",
            "label",
            "tier",
            "connection",
            "state",
            "fields",
            "values",
            "earlier",
            "health",
            "consent",
            "webhook",
            "problems",
        ],
    );
    assert_eq!((&shown["connection"], &shown["state"]), (&json!("default"), &json!("connected")));
    let good = world.server.post(&format!("{path}/test"), json!({"token": "ghp_draft"})).expect(200);
    has_exactly(&good, &["ok", "code", "message", "hint", "account", "depth", "status", "latency_ms", "saved"]);
    assert_eq!((&good["depth"], &good["status"], &good["saved"]), (&json!("auth"), &json!(200), &json!(false)));
    assert_eq!((&good["ok"], &good["code"], &good["account"]), (&json!(true), &json!("ok"), &json!("tercel-bot")));
    assert!(world.github.requests().iter().any(|request| request.header("authorization") == "Bearer ghp_draft"));

    use tercel_tests::github::{Fault, On};
    for (status, code) in [(401, "auth"), (403, "forbidden"), (404, "not_found")] {
        world.github.fail_times(1, On::User, Fault::Status(status, vec![]));
        let bad = world.server.post(&format!("{path}/connect"), json!({"token": "ghp_bad"})).expect(200);
        assert_eq!((&bad["ok"], &bad["code"], &bad["status"]), (&json!(false), &json!(code), &json!(status)), "{bad}");
        assert!(bad["message"].as_str().is_some_and(|text| !text.is_empty()) && bad["hint"].is_string(), "{bad}");
    }
    let setting = |key: &str| {
        let settings = world.server.get("/api/v1/admin/integrations/github/settings").expect(200);
        settings["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap()["source"].clone()
    };
    assert_eq!(setting("GITHUB_TOKEN"), "env", "nothing is saved unless the test passes");
    world.server.post(&format!("{path}/connect"), json!({"token": "ghp_good"})).expect(200);
    assert_eq!(setting("GITHUB_TOKEN"), "db");
    world.server.post(&format!("{path}/disconnect"), json!({})).accepted();
    assert_eq!(setting("GITHUB_TOKEN"), "env");
}

#[test]
fn what_a_paused_integration_sends_is_stored_and_runs_in_order_when_it_is_resumed() {
    let mut world = World::start();
    world.model.script(|_| Turn::text("I see."));
    let path = "/api/v1/admin/integrations/github";
    assert_eq!(world.server.post(&format!("{path}/pause"), json!({})).expect(200)["status"], "paused");
    let mut tasks = Vec::new();
    for number in 1..=3 {
        let taken = world.server.github(&events::issues("opened", number)).accepted();
        assert_eq!(taken["reason"], "`github` is paused: the run waits until it is resumed", "{taken:#}");
        let task = taken["tasks"][0].as_str().unwrap().to_owned();
        assert_eq!(world.server.wait_for(&task, &["waiting"])["error"]["message"], "`github` is paused");
        tasks.push(task);
    }
    // Others go on.
    let session = world.server.session("web:alice");
    world.server.complete(&world.server.ask(&session, "hello"));
    let doctor = world.server.options.run(&["doctor"]).out;
    assert!(doctor.contains("`github` is paused"), "{doctor}");
    world.server.restart();
    assert_eq!(world.server.task(&tasks[0])["status"], "waiting", "a restart changes nothing");
    assert_eq!(world.server.list("/api/v1/notices?open=true"), [] as [Value; 0]);
    assert_eq!(world.model.calls(), 1);
    assert_eq!(world.server.post(&format!("{path}/resume"), json!({})).expect(200)["status"], "ready");
    let begun: Vec<String> =
        tasks.iter().map(|task| world.server.complete(task)["started_at"].as_str().unwrap().to_owned()).collect();
    assert!(begun.is_sorted(), "{begun:?}");
    world.github.wait_for_comments(3);
}

#[test]
fn an_integration_is_paused_by_a_command_whether_a_server_runs_or_not() {
    let mut world = World::start();
    let said = world.server.options.run(&["integrations", "pause", "github"]).ok();
    assert!(said.contains("`github` is paused"), "{said}");
    let listed = |world: &World| world.server.options.run(&["integrations", "list"]).ok();
    let is = |world: &World, status: &str| {
        listed(world).lines().any(|line| line.split_whitespace().take(2).eq(["github", status]))
    };
    assert!(is(&world, "paused"), "{}", listed(&world));
    world.server.stop();
    world.server.options.run(&["integrations", "resume", "github"]).ok();
    assert!(is(&world, "ready"), "{}", listed(&world));
    let said = world.server.options.run(&["integrations", "pause", "gitub"]).failed();
    assert!(said.contains("There is no integration `gitub`"), "{said}");
}
