//! What `deploy/` has in it fits the program: the dashboard asks for what is measured, the files of services are valid.

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};
use tercel_tests::{Options, Server, Turn, World, events, tree::root, until};

fn file(name: &str) -> String {
    fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Names that a query asks for, with the labels it names.
fn asked(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tercel_")).map(str::to_owned).collect()
}

#[test]
fn every_query_of_the_dashboard_asks_for_what_the_server_measures() {
    let world = World::start_with(|options| options.env("TERCEL_KEEP_STEPS", "0.000001"));
    world.model.script(|_| Turn::text("Looks good."));
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.outbox(&task, &["sent"]);
    let text = until("old steps are removed", || {
        let text = world.server.get("/metrics").text();
        let removed = text.lines().find(|line| line.starts_with("tercel_pruned_rows_total{what=\"steps\"}"))?;
        (!removed.ends_with(" 0")).then_some(text)
    });
    let measured: BTreeSet<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
    let dashboard: Value = serde_json::from_str(&file("grafana.json")).unwrap();
    let mut queries = vec![dashboard["templating"]["list"][1]["query"].as_str().unwrap()];
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        queries.extend(panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap()));
    }
    let asked: BTreeSet<String> = queries.iter().flat_map(|query| asked(query)).collect();
    assert!(queries.iter().all(|query| query.contains("tercel_")) && asked.len() > 15, "{queries:#?}");
    let unknown: Vec<&String> = asked.iter().filter(|name| !measured.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not among {measured:#?}");
    // What the design promises, and the dashboard shows.
    for name in ["tercel_queue_age_seconds", "tercel_outbox_oldest_seconds", "tercel_wal_bytes", "tercel_budget_left"] {
        assert!(asked.contains(name), "{name} is not shown");
    }
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    // Labels that legends show are there.
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            for label in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(
                    label == "instance" || text.contains(&format!("{label}=\"")),
                    "no figure has the label `{label}`"
                );
            }
        }
    }
}

/// As it is printed in the document that describes folders of integrations.
const OVERRIDE: &str = "\
services:
  agent-server:
    volumes:
      - /home/you/my-integrations:/app/ext-integrations:ro
    environment:
      - INTEGRATION_DIRS=/app/ext-integrations
";

#[test]
fn the_override_that_mounts_integrations_fits_the_compose_file() {
    let (compose, over) = (yaml(&file("compose.yaml")), yaml(OVERRIDE));
    let services = compose["services"].as_object().unwrap();
    for (name, changed) in over["services"].as_object().unwrap() {
        let service = services.get(name).unwrap_or_else(|| panic!("there is no service `{name}`"));
        assert!(service["volumes"].is_array() && service["environment"].is_object(), "{service:#}");
        // The mount point hides nothing of the image's, and is where the setting says.
        let mount = changed["volumes"][0].as_str().unwrap().split(':').nth(1).unwrap();
        let own = service["volumes"].as_array().unwrap().iter().filter_map(|v| v.as_str()?.split(':').nth(1));
        assert!(own.into_iter().all(|own| !mount.starts_with(own)), "{mount}");
        let (name, value) = changed["environment"][0].as_str().unwrap().split_once('=').unwrap();
        assert_eq!((name, value), ("INTEGRATION_DIRS", mount));
    }
    let server = Server::start(Options::new().env("INTEGRATION_DIRS", "/app/ext-integrations"));
    until("it is said what becomes of it", || server.log().contains("/app/ext-integrations").then_some(()));
}

#[test]
fn the_compose_file_starts_a_server_that_starts() {
    let compose = yaml(&file("compose.yaml"));
    let service = &compose["services"]["agent-server"];
    let image = file("Dockerfile");
    assert!(root().join("deploy").join(service["build"]["context"].as_str().unwrap()).join("Cargo.toml").is_file());
    assert!(root().join(service["build"]["dockerfile"].as_str().unwrap()).is_file());
    // The settings of image and compose file, as a server takes them; its port is another one here.
    let mut options = Options::new();
    for line in image.lines().filter_map(|line| line.strip_prefix("ENV ")) {
        for (name, value) in line.split(' ').filter_map(|pair| pair.split_once('=')) {
            options = match name {
                "TERCEL_DATA_DIR" => options,
                _ => options.env(name, &value.replace(":8000", ":0")),
            };
        }
    }
    for (name, value) in service["environment"].as_object().unwrap() {
        let value = value.as_str().unwrap();
        let value = if value.contains(":?") { "a key of the tests, long enough" } else { "" };
        assert!(!name.starts_with("TERCEL_"), "set in the image");
        if name != "API_KEY" {
            options = options.env(name, value);
        }
    }
    Server::start(options.clone());
    let said = Server::until_it_dies(options.without("API_KEY")).log;
    assert!(said.contains("API_KEY"), "the key is needed, as the compose file says: {said}");
    let used = service["volumes"][0].as_str().unwrap().split(':').next().unwrap();
    assert!(compose["volumes"].as_object().unwrap().contains_key(used));
}

#[test]
fn the_image_finds_out_whether_its_server_is_ready() {
    let image = file("Dockerfile");
    let line = image.lines().find_map(|line| line.strip_prefix("HEALTHCHECK ")).unwrap();
    let command: Vec<String> = serde_json::from_str(line.split_once("CMD ").unwrap().1).unwrap();
    let mut server = Server::start(Options::new());
    let port = server.base.rsplit(':').next().unwrap().to_owned();
    let check = || {
        let script = command[2].replace("/8000", &format!("/{port}"));
        Command::new(&command[0]).args([&command[1], &script]).stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(check());
    server.stop();
    assert!(!check());
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let text = file("tercel.service");
    let keys: BTreeSet<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for key in ["ExecStart", "NoNewPrivileges", "ProtectSystem", "SystemCallFilter", "StateDirectory", "LimitNOFILE"] {
        assert!(keys.contains(key), "{key}");
    }
    assert!(text.contains("TERCEL_DATA_DIR=/var/lib/tercel\n"));
    // Verified with the program that is tested, where systemd is installed.
    let place = tempfile::tempdir().unwrap();
    let unit = place.path().join("tercel.service");
    let program = std::env::current_exe().unwrap();
    fs::write(&unit, text.replace("/usr/local/bin/tercel", program.to_str().unwrap())).unwrap();
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output() {
        Ok(said) => {
            let complaints = String::from_utf8_lossy(&said.stderr);
            let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("tercel.service")).collect();
            assert!(ours.is_empty(), "{ours:#?}");
        }
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            // Not by the macro, which shows nothing of a test that passes.
            let _ = writeln!(std::io::stderr(), "not tested: there is no systemd-analyze here, which checks the unit");
        }
    }
}

#[test]
fn levels_of_logs_are_checked_when_the_server_starts() {
    let said = Server::until_it_dies(Options::new().env("TERCEL_LOG", "info,tercel=debg")).log;
    assert!(said.contains("TERCEL_LOG") && said.contains("`debug` meant"), "{said}");
    let server = Server::start(Options::new().env("TERCEL_LOG", "warn,tercel::serve=info"));
    assert!(server.log().contains("listens on"), "{}", server.log());
}

#[test]
fn the_readiness_of_a_server_that_is_not_held_says_so() {
    let server = Server::start(Options::new());
    assert_eq!(server.get("/ready").expect(200), json!({"ready": true, "problems": [], "held": null}));
}
