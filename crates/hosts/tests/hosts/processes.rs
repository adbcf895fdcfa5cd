//! Processes that run all the time: when they start, what they are given, how they end.

use crate::world::{World, is_alive};
use std::time::{Duration, Instant};
use tercel_hosts::process::{Kept, Phase, ProcessState, Spec, Times};

/// Quick, but for what crashes and what stays.
const TIMES: Times =
    Times { rest: Duration::from_millis(20), steady: Duration::from_secs(60), look: Duration::from_millis(50) };

/// A folder that wants a shell script to run, and loads at once: it has no Python of its own to be asked.
fn script(world: &World, needs: &str, script: &str) {
    let command = r#"CMD = ["sh", "integrations/crm/run.sh"]"#;
    world.write("crm/process.py", &format!("DESCRIPTION = \"Listens\"\n{command}\nREQUIRED_ENV = [{needs}]\n"));
    world.write("crm/run.sh", script);
}

async fn spec(world: &mut World) -> Spec {
    let loaded = world.load("crm").await;
    Spec::of(&loaded, "/usr/local/bin:/usr/bin:/bin").unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

async fn until(kept: &Kept, what: &str, is_so: impl Fn(&ProcessState) -> bool) -> ProcessState {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let state = kept.state();
        if is_so(&state) {
            return state;
        }
        assert!(Instant::now() < end, "not seen: {what}; it is {state:?} and said {:?}", said(kept));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn running(kept: &Kept) -> u32 {
    until(kept, "it runs", |state| state.phase == Phase::Running).await.pid.unwrap()
}

fn said(kept: &Kept) -> Vec<String> {
    kept.log().into_iter().map(|line| line.text).collect()
}

async fn hears(kept: &Kept, line: &str) {
    until(kept, line, |_| said(kept).iter().any(|said| said == line)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_when_all_that_it_needs_has_a_value_and_is_given_that_and_a_key() {
    let mut world = World::new();
    script(
        &world,
        "\"CRM_TOKEN\"",
        "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo \"$CRM_TOKEN in $PWD\"; sleep 60\n",
    );
    let spec = spec(&mut world).await;
    let directory = spec.place.directory.clone();
    let kept = world.hosts.process(TIMES);
    kept.set(Some(spec), None);
    let waiting = until(&kept, "it waits", |state| state.phase == Phase::Waiting).await;
    assert_eq!((waiting.missing, waiting.pid), (vec!["CRM_TOKEN".to_owned()], None));
    let before = world.server.minted.lock().unwrap().len();
    world.set("CRM_TOKEN", "t0ken");
    running(&kept).await;
    assert_eq!(world.server.minted.lock().unwrap().len(), before + 1);
    hears(&kept, &format!("t0ken in {}", directory.display())).await;
    let names: Vec<String> = said(&kept)[0].split(' ').map(str::to_owned).collect();
    let given = ["AGENT_API_KEY", "AGENT_SERVER_URL", "CRM_TOKEN", "HOME", "INTEGRATION_STATE_DIR", "LANG", "PATH"];
    assert!(given.iter().all(|name| names.iter().any(|known| known == name)), "{names:?}");
    let expected = |name: &str| {
        given.contains(&name)
            || ["TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", ""].contains(&name)
            || name.starts_with("PYTHON")
    };
    let others: Vec<&String> = names.iter().filter(|name| !expected(name)).collect();
    assert!(others.is_empty(), "{others:?}");
    kept.end().await;
    let worth = || world.server.minted.lock().unwrap().len() - world.server.revoked.lock().unwrap().len();
    crate::world::until("no key is worth anything any more", || worth() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_crashes_again_and_again_is_left_alone_until_somebody_says_otherwise() {
    let mut world = World::new();
    script(&world, "", "echo no luck; exit 3\n");
    let kept = world.hosts.process(TIMES);
    let spec = spec(&mut world).await;
    let before = world.server.minted.lock().unwrap().len();
    kept.set(Some(spec), None);
    let failing = until(&kept, "it is left alone", |state| state.phase == Phase::Failing).await;
    assert_eq!((failing.pid, failing.restarts), (None, 4));
    assert_eq!(failing.reason.as_deref(), Some("It ended with code 3"));
    assert_eq!(said(&kept).iter().filter(|line| *line == "no luck").count(), 5);
    assert_eq!(world.server.minted.lock().unwrap().len(), before + 5);
    kept.restart();
    until(&kept, "another chance", |_| said(&kept).iter().filter(|line| *line == "no luck").count() == 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_hear_is_killed_with_all_that_it_started() {
    let mut world = World::new();
    script(&world, "", "trap '' TERM; (trap '' TERM; sleep 600) & echo $!; while true; do sleep 1; done\n");
    let kept = world.hosts.process(TIMES);
    kept.set(Some(spec(&mut world).await), None);
    let pid = running(&kept).await;
    until(&kept, "its child", |_| !said(&kept).is_empty()).await;
    let child: u32 = said(&kept)[0].parse().unwrap();
    assert!(is_alive(pid) && is_alive(child));
    let begun = Instant::now();
    kept.set(None, Some("It was stopped".into()));
    until(&kept, "it is stopped", |state| state.phase == Phase::Stopped).await;
    assert!(begun.elapsed() >= Duration::from_secs(4), "it has some seconds to end by itself");
    assert!(!is_alive(pid));
    until(&kept, "its child has ended", |_| !is_alive(child)).await;
    assert_eq!(kept.state().reason.as_deref(), Some("It was stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_and_the_process_goes_on() {
    let mut world = World::new();
    script(&world, "", "echo first; yes flood | head -c 99999996; echo last; sleep 60\n");
    let kept = world.hosts.process(TIMES);
    kept.set(Some(spec(&mut world).await), None);
    running(&kept).await;
    hears(&kept, "last").await;
    let bytes: usize = said(&kept).iter().map(String::len).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes are kept");
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_same_goes_on_and_a_changed_setting_starts_it_anew() {
    let mut world = World::new();
    world.set("CRM_TOKEN", "one");
    script(&world, "\"CRM_TOKEN\"", "echo \"it is $CRM_TOKEN\"; sleep 60\n");
    let spec = spec(&mut world).await;
    let kept = world.hosts.process(TIMES);
    kept.set(Some(spec.clone()), None);
    let first = running(&kept).await;
    hears(&kept, "it is one").await;
    kept.set(Some(spec.clone()), None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running(&kept).await, first);
    world.set("CRM_TOKEN", "two");
    kept.set(Some(spec), None);
    hears(&kept, "it is two").await;
    assert!(!is_alive(first));
    assert_eq!(kept.state().restarts, 0, "it did not crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_it_watches_start_it_anew() {
    let mut world = World::new();
    let shared = world.path().join("shared.txt");
    std::fs::write(&shared, "one").unwrap();
    script(&world, "", "echo here; sleep 60\n");
    let watching = "DESCRIPTION = \"\"\nCMD = [\"sh\", \"integrations/crm/run.sh\"]\nREQUIRED_ENV = []\nWATCH_PATHS = [\"shared.txt\"]\n";
    world.write("crm/process.py", watching);
    let kept = world.hosts.process(TIMES);
    kept.set(Some(spec(&mut world).await), None);
    let first = running(&kept).await;
    hears(&kept, "here").await;
    // Looked at once before it is changed.
    tokio::time::sleep(Duration::from_millis(200)).await;
    std::fs::write(&shared, "two, which is longer").unwrap();
    until(&kept, "another one", |state| state.pid.is_some_and(|pid| pid != first)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_is_the_interpreter_of_the_folder() {
    let mut world = World::new();
    world.write(
        "crm/process.py",
        "DESCRIPTION = \"\"\nCMD = [\"python\", \"integrations/crm/run.py\"]\nREQUIRED_ENV = []\n",
    );
    world.write("crm/run.py", "import sys\nimport fastapi\nprint(sys.executable)\nsys.stdin.read()\n");
    let spec = spec(&mut world).await;
    let python = spec.place.python.clone().unwrap();
    let kept = world.hosts.process(TIMES);
    kept.set(Some(spec), None);
    hears(&kept, &python.display().to_string()).await;
    kept.end().await;
}

/// A manifest whose process alone is in Python.
fn manifest(world: &World, more: &str) {
    let manifest = [
        "schema: 1",
        "name: crm",
        "fields: [{key: token, type: password}]",
        "http: {base: \"https://crm.example\"}",
        "tools: [{name: crm_look, description: Looks., effect: read, get: /look}]",
        "process: {description: Listens, command: [python, listen/main.py], needs: [token]}",
        more,
    ];
    world.write("crm/integration.yaml", &manifest.join("\n"));
    world.write("crm/listen/main.py", "import os, time\nprint('with', os.environ['CRM_TOKEN'])\ntime.sleep(60)\n");
}

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_does_without_the_python_of_its_process_until_that_may_run() {
    let mut world = World::new();
    manifest(&world, "");
    let first = world.load("crm").await;
    assert_eq!((first.problems.len(), first.integration.tools.len()), (0, 1), "{:?}", first.problems);
    assert_eq!(first.place.python, None, "nobody asked for an environment");
    let kept = world.hosts.process(TIMES);
    kept.set(Spec::of(&first, PATH), None);
    let waiting = until(&kept, "it waits", |state| state.phase == Phase::Waiting).await;
    assert_eq!(waiting.missing, ["CRM_TOKEN"]);
    world.set("CRM_TOKEN", "t0ken");
    let looks = |state: &ProcessState| state.missing.is_empty() && state.reason.is_some();
    assert_eq!(until(&kept, "it is not started with any Python", looks).await.phase, Phase::Waiting);
    let second = world.reload("crm", Some(&first)).await;
    assert!(second.place.python.is_some() && second.integration.tools.len() == 1, "{:?}", second.worker.state());
    kept.set(Spec::of(&second, PATH), None);
    hears(&kept, "with t0ken").await;
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_works_where_its_process_cannot_and_says_why() {
    let mut world = World::new();
    manifest(&world, "worker: {python: \">=9.9\"}");
    world.set("CRM_TOKEN", "t0ken");
    let folder = world.hosts.scan().folders.remove(0);
    let at_once = world.hosts.load(&folder, None).await;
    assert_eq!(at_once.integration.tools.len(), 1, "its environment may be there or not");
    let loaded = world.load("crm").await;
    assert_eq!((loaded.problems.len(), loaded.integration.tools.len()), (0, 1), "{:?}", loaded.problems);
    let state = loaded.worker.state();
    assert_eq!(state.state, "failing");
    assert!(state.reason.as_ref().is_some_and(|why| why.contains("It needs Python 9.9")), "{state:?}");
    assert!(Spec::of(&loaded, PATH).is_none(), "it is not started with any Python that is found");
}
