//! Two servers want one database: one at a time has it.

use super::{each_once, postgres, world_with};
use serde_json::json;
use std::time::{Duration, Instant};
use tercel_tests::{
    Options, Server, World, events,
    postgres::{FAST, Postgres},
    until,
};

/// Two directories, one key: as two machines have it.
const KEY: &str = "abababababababababababababababababababababababababababababababab";

fn world(postgres: &Postgres) -> World {
    world_with(postgres, |options| options.env("ENCRYPTION_KEY", KEY))
}

/// Another server for the same database, on another machine.
fn rival(world: &World) -> Options {
    Options::new().github(&world.github).model(&world.model).env("ENCRYPTION_KEY", KEY).on_that_of(&world.server)
}

fn sessions(postgres: &Postgres) -> usize {
    let sql =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name LIKE 'tercel%' AND query LIKE '%advisory_lock%'";
    postgres.psql("postgres", sql).parse().unwrap()
}

#[test]
fn a_second_server_on_the_same_database_waits_ten_seconds_and_names_the_first() {
    let Some(postgres) = postgres(&FAST) else { return };
    let world = world(&postgres);
    let begun = Instant::now();
    let said = rival(&world).run(&["serve"]).failed();
    let waited = begun.elapsed().as_secs();
    assert!((10..20).contains(&waited), "{waited} s");
    let first = format!("tercel (process {})", world.server.pid());
    for word in ["Another server", &first, "DATABASE_URL"] {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    let event = events::pull_request("opened", 1);
    world.server.github_task(&event);
    each_once(&world, &[event]);
}

#[test]
fn a_successor_waits_for_the_end_of_its_predecessor_and_goes_on_with_its_work() {
    for killed in [false, true] {
        let Some(postgres) = postgres(&FAST) else { return };
        let mut world =
            world_with(&postgres, |options| options.env("ENCRYPTION_KEY", KEY).env("TERCEL_OPEN_RUNS", "0"));
        let event = events::pull_request("opened", 1);
        world.server.github_task(&event);
        let options = rival(&world);
        let successor = std::thread::spawn(move || Server::start(options));
        until("the successor waits", || (sessions(&postgres) > 0).then_some(()));
        assert!(!successor.is_finished());
        match killed {
            true => world.server.kill9(),
            false => world.server.stop(),
        }
        world.server = successor.join().unwrap();
        each_once(&world, &[event]);
    }
}

#[test]
fn a_server_that_was_frozen_and_replaced_does_nothing_until_it_has_its_place_again() {
    let Some(postgres) = postgres(&FAST) else { return };
    let mut world = world(&postgres);
    let event = events::pull_request("opened", 1);
    world.model.latency(Duration::from_millis(300));
    world.server.github_task(&event);
    world.model.wait_for_calls(1);
    world.server.freeze();
    // What keepalives of the network do after a while.
    postgres.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tercel%'",
    );
    let successor = Server::start(rival(&world));
    let frozen = std::mem::replace(&mut world.server, successor);
    each_once(&world, std::slice::from_ref(&event));

    frozen.thaw();
    let other = events::pull_request("opened", 2);
    let refused = frozen.github(&other).refused(503, "unavailable");
    assert!(refused.contains("database"), "{refused}");
    until("/ready says it", || (frozen.get("/ready").status == 503).then_some(()));
    each_once(&world, std::slice::from_ref(&event));
    world.server.stop();
    world.server = frozen;
    until("it has its place again", || (world.server.get("/ready").status == 200).then_some(()));
    world.server.github_task(&other);
    each_once(&world, &[event, other]);
}

#[test]
fn a_server_that_has_its_place_again_knows_what_the_other_one_changed_and_answers_nothing_before() {
    let Some(postgres) = postgres(&FAST) else { return };
    let mut world = world(&postgres);
    let reader = world.server.key(&["tasks:read"]);
    let key = world.server.list("/api/v1/keys")[0]["id"].as_str().unwrap().to_owned();
    reader.get("/api/v1/tasks").expect(200);
    world.server.freeze();
    postgres.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tercel%'",
    );
    let successor = Server::start(rival(&world));
    let frozen = std::mem::replace(&mut world.server, successor);
    world.server.call("DELETE", &format!("/api/v1/keys/{key}"), &[], "").expect(204);
    world.server.put("/api/v1/bots/default", json!({"id": "default", "display_name": "Anew"})).expect(200);
    world.server.post("/api/v1/admin/integrations/github/pause", json!({})).expect(200);
    let budget = json!({"scope": "bot:default", "period": "day", "runs": 7, "action": "park"});
    world.server.post("/api/v1/budgets", budget).expect(201);
    let provider = json!({"id": "anew", "kind": "ollama", "base_url": "http://127.0.0.1:9"});
    world.server.post("/api/v1/providers", provider).expect(201);

    frozen.thaw();
    until("it has noticed", || (frozen.get("/ready").status == 503).then_some(()));
    let refused = reader.get("/api/v1/tasks").refused(503, "unavailable");
    assert!(refused.contains("Another server has the database"), "{refused}");
    frozen.github(&events::pull_request("opened", 1)).refused(503, "unavailable");
    assert_eq!(frozen.get("/health").status, 200);
    world.server.stop();
    world.server = frozen;
    until("it has its place again", || (world.server.get("/ready").status == 200).then_some(()));
    reader.get("/api/v1/tasks").refused(401, "unauthorized");
    assert_eq!(world.server.get("/api/v1/bots/default").expect(200)["display_name"], "Anew");
    assert!(world.server.list("/api/v1/budgets").iter().any(|budget| budget["runs"] == 7));
    world.server.get("/api/v1/providers/anew").expect(200);
    let task = world.server.github_task(&events::pull_request("opened", 1));
    until("the pause counts", || (world.server.task(&task)["status"] == "waiting").then_some(()));
}

#[test]
fn a_server_with_another_key_is_refused_before_it_forgets_what_was_posted() {
    let Some(postgres) = postgres(&FAST) else { return };
    let mut world = world(&postgres);
    world.server.stop();
    for options in [rival(&world).without("ENCRYPTION_KEY"), rival(&world).env("ENCRYPTION_KEY", &"cd".repeat(32))] {
        let said = options.run(&["serve"]).failed();
        for word in ["sealed with key", "ENCRYPTION_KEY", "server_settings"] {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }
    world.server.start_again();
}
