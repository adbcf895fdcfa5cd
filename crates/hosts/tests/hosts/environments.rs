//! Packages that a folder asks for, and what is said when there are none.

use crate::world::{World, call, tool};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tercel_hosts::{Change, Cleaned, Loaded};

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
async fn a_project_file_asks_as_well() {
    let mut world = World::new();
    asks(&world, "");
    fs::remove_file(world.root().join("crm/requirements.txt")).unwrap();
    let project = "[project]\nname = \"crm\"\nversion = \"1\"\ndependencies = [\"iniconfig==2.0.0\"]\n";
    world.write("crm/pyproject.toml", project);
    let crm = world.load("crm").await;
    assert_eq!(crm.problems, []);
    assert_eq!(call(&crm, "crm_version", json!({})).await.unwrap(), json!("2.0.0"));
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
    assert!(reason.contains("uv is not on this machine and could not be installed"), "{reason}");
    assert!(reason.contains("connect the machine to PyPI"), "{reason}");
}

#[tokio::test]
async fn without_a_network_it_is_said_whom_nobody_reached() {
    let mut world = World::with(|config| {
        let dead = [("UV_INDEX_URL", "http://127.0.0.1:9/simple"), ("UV_HTTP_RETRIES", "0")];
        config.installing.extend(dead.map(|(name, value)| (name.to_owned(), value.to_owned())));
    });
    asks(&world, "iniconfig==2.0.0\n# of a machine without a network\n");
    let state = world.load("crm").await.worker.state();
    let reason = state.reason.unwrap();
    assert_eq!(state.state, "failing", "{reason}");
    assert!(reason.contains("requirements.txt cannot be resolved") && reason.contains("127.0.0.1:9"), "{reason}");
}

#[tokio::test]
async fn how_far_it_is_is_said_at_any_time() {
    let mut world = World::new();
    // What every test shares is there first.
    world.write("base/tools/base.py", &tool("base", "def base():\n    return 1"));
    world.load("base").await;
    asks(&world, &format!("iniconfig==2.0.0\n# {}\n", uuid::Uuid::now_v7()));
    let folder = world.hosts.scan().folders.into_iter().find(|folder| folder.id == "crm").unwrap();
    let loaded = world.hosts.load(&folder, None).await;
    let (mut said, end) = (Vec::new(), Instant::now() + Duration::from_secs(120));
    // The environment that it waits for is looked at when it is ready.
    while world.hosts.load(&folder, None).await.worker.state().state == "preparing" {
        let reason = loaded.worker.state().reason.unwrap();
        assert!(reason.starts_with("Its Python environment is made: "), "{reason}");
        if said.last() != Some(&reason) {
            said.push(reason);
        }
        assert!(Instant::now() < end, "{said:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(said.iter().any(|words| words.ends_with("resolving requirements.txt")), "{said:?}");
    assert!(said.iter().any(|words| words.ends_with("installing packages")), "{said:?}");
}

/// A data directory whose environments are its own, but for those that take long.
fn own_environments(world: &World) -> PathBuf {
    let own = world.path().join("data/own/envs");
    for entry in fs::read_dir(world.path().join("data/envs")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let kind = name.to_str().unwrap().split('-').next().unwrap();
        if ["base", "worker", "uv", "cache", "python.json"].contains(&kind) {
            symlink(entry.path(), own.join(name)).unwrap();
        }
    }
    own
}

/// Whether there is bytecode of the package that is installed.
fn compiled(envs: &Path) -> bool {
    let entries = |place: &Path| fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let of_package = |place: &PathBuf| place.file_name().unwrap().to_str().unwrap().starts_with("packages-");
    let libraries = entries(envs).filter(of_package).flat_map(|place| entries(&place.join("lib")));
    libraries.map(|python| python.join("site-packages/iniconfig/__pycache__")).any(|cache| cache.is_dir())
}

#[tokio::test]
async fn an_environment_goes_when_no_folder_needs_it_and_nothing_runs_with_it() {
    let mut first = World::new();
    first.write("base/tools/base.py", &tool("base", "def base():\n    return 1"));
    first.load("base").await;
    let mut world = World::with(|config| {
        config.data.push("own");
        config.keep_environments = Duration::ZERO;
    });
    let envs = own_environments(&world);
    let made = || {
        let names = fs::read_dir(&envs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("packages-")).count()
    };
    asks(&world, "iniconfig==2.0.0\n");
    let with = world.load("crm").await;
    assert_eq!(call(&with, "crm_version", json!({})).await.unwrap(), json!("2.0.0"), "{:?}", with.problems);
    assert!(compiled(&envs), "or every start would compile it");
    assert_eq!(world.hosts.clean().await.unwrap(), Cleaned::All);
    assert_eq!(made(), 1, "a folder needs it");
    world.write("crm/requirements.txt", "");
    let without = world.reload("crm", Some(&with)).await;
    assert_eq!(without.problems, []);
    world.hosts.clean().await.unwrap();
    assert_eq!(made(), 1, "the old state runs with it");
    with.worker.drain(None).await;
    drop(with);
    let end = Instant::now() + Duration::from_secs(10);
    while made() > 0 {
        assert!(Instant::now() < end, "it stays though nothing has to do with the old state");
        world.hosts.clean().await.unwrap();
    }
    assert!(call(&without, "crm_version", json!({})).await.is_err(), "the package is not there any more");
    assert!(
        fs::read_dir(&envs).unwrap().any(|entry| entry.unwrap().file_name().to_str().unwrap().starts_with("base-"))
    );
}
