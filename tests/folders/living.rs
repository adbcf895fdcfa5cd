//! Folders come, change and go while the server runs.

use crate::world::{FORGE, PATIENCE, World, card, fresh, loads, options, put, root, stands};
use serde_json::{Value, json};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};
use tercel_tests::{Options, Receiver, Server, Turn, wait::until_within};

const TOOL: &str = r#"
from integrations._register import register


@register({"type": "function", "function": {"name": "NAME", "description": "Says it", "parameters": {"type": "object", "properties": {}}}})
def say():
    return "WORD"
"#;

fn tool(name: &str, word: &str) -> String {
    TOOL.replace("NAME", name).replace("WORD", word)
}

fn says(server: &Server, tool: &str) -> Value {
    server.post(&format!("/api/v1/tools/{tool}/call"), json!({})).json()["result"].clone()
}

#[track_caller]
fn until_says(server: &Server, tool: &str, word: &str) {
    until_within(PATIENCE, &format!("`{tool}` says {word}"), || (says(server, tool) == word).then_some(()));
}

fn start(change: impl FnOnce(&Options)) -> Server {
    let options = options();
    fs::create_dir_all(root(&options)).unwrap();
    change(&options);
    Server::start(options)
}

#[test]
fn what_is_saved_is_loaded_and_what_does_not_load_leaves_the_last_version() {
    let server = start(|options| _ = put(&root(options), "echo", &[("tools/say.py", &tool("echo_say", "one"))]));
    stands(&server, "echo", "ready");
    assert_eq!(says(&server, "echo_say"), "one");
    let file = root(&server.options).join("echo/tools/say.py");
    fs::write(&file, tool("echo_say", "two")).unwrap();
    until_says(&server, "echo_say", "two");
    fs::write(&file, "def broken(:\n").unwrap();
    let card = stands(&server, "echo", "error");
    assert_eq!(
        (&card["problems"][0]["file"], &card["problems"][0]["line"]),
        (&json!("tools/say.py"), &json!(1)),
        "{card:#}"
    );
    assert!(card["error"].as_str().unwrap().contains("what was loaded before goes on"), "{card:#}");
    assert_eq!(says(&server, "echo_say"), "two");
    fs::write(&file, tool("echo_say", "three")).unwrap();
    until_says(&server, "echo_say", "three");
    stands(&server, "echo", "ready");
}

#[test]
fn no_call_fails_because_the_code_is_saved() {
    let server = start(|options| _ = put(&root(options), "echo", &[("tools/say.py", &tool("echo_say", "0"))]));
    stands(&server, "echo", "ready");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                answers.push(server.post("/api/v1/tools/echo_say/call", json!({})));
            }
            answers
        });
        for version in 1..=4 {
            let word = version.to_string();
            fs::write(root(&server.options).join("echo/tools/say.py"), tool("echo_say", &word)).unwrap();
            until_says(&server, "echo_say", &word);
        }
        is_over.store(true, Ordering::Relaxed);
        for answer in calls.join().unwrap() {
            assert!(answer.expect(200)["result"].is_string());
        }
    });
}

#[test]
fn a_skill_is_gone_with_its_file() {
    let world = World::start();
    let skill = "integrations/forge/board";
    let session = world.server.session("web:1");
    let unknown = || {
        let body = json!({"content": "a", "execution_config": {"skills": [skill]}});
        let task = world.server.ask_with(&session, body);
        world.server.complete(&task);
        world.server.trace(&task).to_string().contains("There is no skill")
    };
    assert!(!unknown());
    fs::remove_file(root(&world.server.options).join("forge/skills/board.md")).unwrap();
    until_within(PATIENCE, "the skill is gone", || {
        // A channel may run only so often.
        tercel_tests::wait::pause(std::time::Duration::from_millis(500));
        unknown().then_some(())
    });
}

#[test]
fn a_folder_that_is_put_into_a_root_is_there_without_a_restart() {
    let server = start(|_| {});
    put(&root(&server.options), "late", &[("tools/say.py", &tool("late_say", "here"))]);
    until_says(&server, "late_say", "here");
    fs::remove_dir_all(root(&server.options).join("late")).unwrap();
    stands(&server, "late", "missing");
    server.post("/api/v1/tools/late_say/call", json!({})).refused(404, "not_found");
    let said = server.options.run(&["integrations", "remove", "late"]).ok();
    assert!(said.contains("`late` is forgotten"), "{said}");
    assert_eq!(card(&server, "late")["status"], "not there");
}

/// Nobody has to have made them before the server starts.
#[test]
fn a_root_that_is_made_later_is_found() {
    let options = options();
    let (here, named) = (options.place().to_owned(), options.place().join("named/later"));
    let server = Server::start(options.env("INTEGRATION_DIRS", named.to_str().unwrap()));
    let data = server.options.data_directory();
    let roots = [("in_here", here.join("integrations")), ("in_data", data.join("integrations")), ("in_named", named)];
    for (id, root) in &roots {
        put(root, id, &[("tools/say.py", &tool(&format!("{id}_say"), id))]);
        until_says(&server, &format!("{id}_say"), id);
    }
    put(&here, "tools", &[("bare.py", &tool("bare_say", "bare"))]);
    until_says(&server, "bare_say", "bare");
    put(&data.join("workspace/integrations"), "bots_own", &[("tools/say.py", &tool("bots_say", "bot"))]);
    stands(&server, "bots_own", "awaiting_approval");
    // From then on they are watched as all are.
    fs::write(roots[0].1.join("in_here/tools/say.py"), tool("in_here_say", "again")).unwrap();
    until_says(&server, "in_here_say", "again");
}

#[test]
fn an_integration_that_is_switched_off_stays_off_until_it_is_switched_on() {
    let mut world = World::start();
    let said = world.server.options.run(&["integrations", "disable", "forge"]).ok();
    assert!(said.contains("switched off"), "{said}");
    world.server.restart();
    let card = stands(&world.server, "forge", "disabled");
    assert_eq!((&card["has_router"], &card["worker"]), (&json!(true), &Value::Null), "{card:#}");
    world.server.options.run(&["integrations", "enable", "forge"]).ok();
    loads(&world.server, "forge");
    // Native ones too.
    world.server.post("/api/v1/admin/integrations/github/disable", json!({})).expect(200);
    world.server.post("/integrations/github/webhook", json!({})).refused(503, "unavailable");
    world.server.restart();
    assert_eq!(crate::world::card(&world.server, "github")["status"], "disabled");
    world.server.delete("/api/v1/admin/integrations/github").refused(409, "conflict");
    world.server.delete("/api/v1/admin/integrations/forge").refused(409, "conflict");
    world.server.post("/api/v1/admin/integrations/nobody/enable", json!({})).refused(404, "not_found");
}

#[test]
fn the_first_in_the_order_of_the_roots_keeps_a_name_that_two_want() {
    let options = options();
    let second = options.place().join("more");
    put(&root(&options), "zebra", &[("tools/say.py", &tool("the_say", "zebra"))]);
    put(&second, "ant", &[("tools/say.py", &tool("the_say", "ant"))]);
    let missing = options.place().join("nowhere");
    let dirs = format!("{}:{}", second.display(), missing.display());
    let server = Server::start(options.env("INTEGRATION_DIRS", &dirs));
    let later = stands(&server, "ant", "error");
    assert!(later["error"].as_str().unwrap().contains("`the_say` is taken by `zebra`"), "{later:#}");
    assert_eq!(says(&server, "the_say"), "zebra");
    assert!(server.log().contains("nowhere"), "a root that is not there is a warning");
    let doctor = server.options.run(&["doctor"]).out;
    assert!(doctor.contains("INTEGRATION_DIRS") && doctor.contains("`ant`"), "{doctor}");
}

#[test]
fn a_later_root_replaces_an_id_whole_and_says_so() {
    let options = options();
    let second = options.place().join("more");
    let version = |number: &str| format!("version = '{number}'\n");
    put(&root(&options), "echo", &[("__init__.py", &version("1.5")), ("tools/say.py", &tool("echo_say", "first"))]);
    put(&second, "echo", &[("__init__.py", &version("1.2")), ("tools/say.py", &tool("echo_say", "second"))]);
    let server = Server::start(options.env("INTEGRATION_DIRS", second.to_str().unwrap()));
    let shown = stands(&server, "echo", "ready");
    assert_eq!(says(&server, "echo_say"), "second");
    let hides = shown["hides"].as_str().unwrap();
    assert!(hides.contains("1.2") && hides.contains("1.5"), "{hides}");
}

#[test]
fn what_tercel_new_makes_for_node_runs_as_it_is() {
    let options = fresh().allow_loopback();
    options.run(&["new", "crm", "--as", "worker"]).ok();
    let service = Receiver::start();
    let server =
        Server::start(options.env("CRM_TOKEN", "t").env("CRM_WEBHOOK_SECRET", "s").env("CRM_URL", &service.url()));
    stands(&server, "crm", "ready");
    server.post("/api/v1/tools/crm_get_room/call", json!({"arguments": {"room": "r1"}})).expect(200);
    let asked = service.received();
    assert!(asked.iter().any(|request| request.path.contains("r1")), "{asked:?}");
}

#[test]
fn what_is_described_is_kept_so_that_no_python_starts_with_the_server() {
    let mut world = World::start();
    world.server.restart();
    let card = loads(&world.server, "forge");
    assert_eq!((&card["worker"]["state"], &card["worker"]["pid"]), (&json!("stopped"), &Value::Null), "{card:#}");
    assert_eq!(card["has_tools"], true);
}

#[test]
fn code_in_use_ends_on_the_state_that_it_began_with() {
    let world = World::start();
    world.model.script(|_| Turn::text("Yes."));
    let client = world.server.anonymous();
    let body = json!({"text": "long", "hangs": "hung", "run": false}).to_string();
    let _sent = std::thread::spawn(move || client.try_call("POST", "/integrations/forge/webhook", &[], body));
    world.delivery("processing");
    let mut files: Vec<(&str, String)> = FORGE.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    files.push(("tools/more.py", tool("forge_more", "new")));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    put(&root(&world.server.options), "forge", &files);
    until_says(&world.server, "forge_more", "new");
    world.delivery("processing");
}

#[test]
fn a_variable_that_is_read_and_not_declared_is_given_when_it_is_allowed() {
    let code = r#"
import os
from integrations._register import register


@register({"type": "function", "function": {"name": "peek", "description": "Peeks", "parameters": {"type": "object", "properties": {}}}})
def peek():
    return os.environ.get("SECRET_PLACE", "nothing") + os.environ.get("API_KEY", "")
"#;
    let options = options().env("SECRET_PLACE", "attic");
    put(&root(&options), "peeker", &[("tools/peek.py", code)]);
    let server = Server::start(options);
    let shown = stands(&server, "peeker", "ready");
    let first = says(&server, "peek");
    if first == "nothing" {
        assert!(shown["undeclared"].to_string().contains("SECRET_PLACE"), "{shown:#}");
        server.notice("SECRET_PLACE");
        server.post("/api/v1/admin/integrations/peeker/variables/SECRET_PLACE/allow", json!({})).expect(200);
    }
    until_says(&server, "peek", "attic");
    for name in ["API_KEY", "LD_PRELOAD", "PYTHONPATH", "PATH"] {
        let path = format!("/api/v1/admin/integrations/peeker/variables/{name}/allow");
        server.post(&path, json!({})).refused(422, "invalid");
    }
}
