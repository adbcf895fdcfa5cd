//! Integrations: described, connected.

use crate::has_exactly;
use serde_json::json;
use std::collections::BTreeSet;
use tercel_tests::{World, events, until};

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
            "readme",
        ],
    );
    let told = json!([
        github["way"],
        github["tier"],
        github["locked"],
        github["has_router"],
        github["has_dispatcher"],
        github["has_tools"],
        github["status"],
        github["error"]
    ]);
    assert_eq!(told, json!(["native", "free", false, true, true, true, "ready", null]));
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
    until("the test at the start", || world.github.requests().first().map(drop));
    let path = "/api/v1/admin/integrations/github/connection";
    let shown = world.server.get(path).expect(200);
    has_exactly(&shown, &["name", "label", "tier", "fields", "values", "health"]);
    let good = world.server.post(&format!("{path}/test"), json!({"token": "ghp_draft"})).expect(200);
    has_exactly(&good, &["ok", "code", "message", "hint", "account"]);
    assert_eq!((&good["ok"], &good["code"], &good["account"]), (&json!(true), &json!("ok"), &json!("tercel-bot")));
    assert!(world.github.requests().iter().any(|request| request.header("authorization") == "Bearer ghp_draft"));

    use tercel_tests::github::{Fault, On};
    for (status, code) in [(401, "auth"), (403, "forbidden"), (404, "not_found")] {
        world.github.fail_times(1, On::User, Fault::Status(status, vec![]));
        let bad = world.server.post(&format!("{path}/connect"), json!({"token": "ghp_bad"})).expect(200);
        assert_eq!((&bad["ok"], &bad["code"]), (&json!(false), &json!(code)), "{bad}");
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
