//! Packages that a folder asks for, and what is said when there are none.

use crate::world::{World, call, tool};
use serde_json::json;
use std::time::{Duration, Instant};
use tercel_hosts::{Change, Loaded};

fn asks(world: &World, requirements: &str) {
    world.write("crm/requirements.txt", requirements);
    let body = "def crm_version():\n    import importlib.metadata\n    return importlib.metadata.version('iniconfig')";
    world.write("crm/tools/version.py", &tool("crm_version", body));
}

/// Loads at once, without waiting for an environment.
async fn at_once(world: &World) -> Loaded {
    let folder = world.hosts.scan().folders.remove(0);
    let begin = Instant::now();
    let loaded = world.hosts.load(&folder, None).await;
    assert!(begin.elapsed() < Duration::from_secs(20), "loading waited for an environment");
    loaded
}

#[tokio::test]
async fn a_folder_has_the_packages_that_it_asks_for() {
    let mut world = World::new();
    asks(&world, "iniconfig==2.0.0\n");
    let crm = world.load("crm").await;
    assert_eq!(crm.problems, []);
    assert_eq!(call(&crm, "crm_version", json!({})).await.unwrap(), json!("2.0.0"));
    let lock = crm.place.python.unwrap().parent().unwrap().parent().unwrap().join("lock.txt");
    let lock = std::fs::read_to_string(lock).unwrap();
    assert!(lock.contains("iniconfig==2.0.0 \\\n    --hash=sha256:"), "{lock}");
}

#[tokio::test]
async fn a_package_that_does_not_exist_is_said_and_holds_nobody_up() {
    let mut world = World::new();
    asks(&world, "tercel-has-no-such-package==1.0\n");
    let first = at_once(&world).await;
    assert_eq!(first.worker.state().state, "preparing", "{:?}", first.worker.state());
    assert!(first.worker.state().reason.unwrap().contains("environment is made"));
    while world.changed(Duration::from_secs(120)).await != Change::Folder("crm".into()) {}
    let failed = at_once(&world).await;
    assert_eq!(failed.worker.state().state, "failing");
    let reason = failed.worker.state().reason.unwrap();
    assert!(reason.contains("requirements.txt cannot be resolved") && reason.contains("no-such-package"), "{reason}");
}

#[tokio::test]
async fn without_a_network_the_reason_is_shown_and_the_documents_are_there() {
    let mut world = World::with(|config| {
        config.data.push("fresh");
        config.installing = [("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("PIP_RETRIES", "0"), ("UV_OFFLINE", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    });
    world.write("crm/skills/a.md", "Do it.");
    world.write("crm/tools/a.py", &tool("crm_a", "def crm_a():\n    return 1"));
    assert_eq!(at_once(&world).await.integration.skills.len(), 1);
    while world.changed(Duration::from_secs(120)).await != Change::Folder("crm".into()) {}
    let state = at_once(&world).await.worker.state();
    let reason = state.reason.unwrap();
    assert_eq!(state.state, "failing");
    assert!(reason.contains("could not be installed"), "{reason}");
}
