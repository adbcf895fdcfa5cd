//! What is wrong with one folder hurts that folder only, and its card says why.

use crate::world::{PATIENCE, card, options, put, root, stands};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};
use tercel_tests::{Server, wait::until_within};

/// A tool without arguments; `how` is `def` or `async def`.
fn tool_of(name: &str, how: &str, body: &str) -> String {
    format!(
        "import os, sys, time\nfrom integrations._register import register\n\n\n\
         @register({{\"type\": \"function\", \"function\": {{\"name\": \"{name}\", \"description\": \"Does it\", \
         \"parameters\": {{\"type\": \"object\", \"properties\": {{}}}}}}}})\n{how} run():\n    {body}\n"
    )
}

fn tool(name: &str, body: &str) -> String {
    tool_of(name, "def", body)
}

fn well() -> (&'static str, String) {
    ("tools/well.py", tool("bad_well", "return 'well'"))
}

/// Short times, and what else a folder needs to have them.
fn manifest(times: &str, tools: &[&str]) -> (&'static str, String) {
    let tools: Vec<String> = tools.iter().map(|name| format!("{{name: {name}, description: Does it}}")).collect();
    let text = format!("schema: 1\nname: bad\nworker: {{limits: {{{times}}}}}\ntools: [{}]\n", tools.join(", "));
    ("integration.yaml", text)
}

struct World {
    server: Server,
}

/// A folder with a fault, beside one that is well.
fn with(files: &[(&str, String)]) -> World {
    with_also(files, |_| {})
}

fn with_also(files: &[(&str, String)], prepare: impl FnOnce(&Path)) -> World {
    let options = options();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    prepare(&put(&root(&options), "bad", &files));
    put(&root(&options), "good", &[("tools/say.py", &tool("good_say", "return 'well'"))]);
    let server = Server::start(options);
    stands(&server, "good", "ready");
    World { server }
}

impl World {
    fn call(&self, tool: &str) -> Value {
        self.server.post(&format!("/api/v1/tools/{tool}/call"), json!({})).expect(200)
    }

    /// The other folder and the server go on.
    #[track_caller]
    fn is_well(&self) {
        assert_eq!(self.call("good_say")["result"], "well");
        let good = card(&self.server, "good");
        assert_eq!((&good["status"], &good["worker"]["last_failure"]), (&json!("ready"), &Value::Null), "{good:#}");
        assert_eq!(self.server.get("/ready").status, 200);
    }

    /// The card of the bad one says it.
    #[track_caller]
    fn failure(&self, words: &str) {
        let card = card(&self.server, "bad");
        let said = card["worker"]["last_failure"]["reason"].as_str().unwrap_or_default();
        assert!(said.contains(words), "{words}: {card:#}");
    }

    #[track_caller]
    fn works_again(&self) {
        until_within(PATIENCE, "it works again", || (self.call("bad_well")["result"] == "well").then_some(()));
    }
}

#[test]
fn a_syntax_error_is_told_with_its_line_and_the_rest_of_the_folder_works() {
    let world = with(&[("tools/broken.py", "def broken(:\n".into()), well()]);
    let card = stands(&world.server, "bad", "error");
    assert_eq!(
        (&card["problems"][0]["file"], &card["problems"][0]["line"]),
        (&json!("tools/broken.py"), &json!(1)),
        "{card:#}"
    );
    assert!(card["error"].as_str().unwrap().contains("SyntaxError"), "{card:#}");
    assert_eq!(world.call("bad_well")["result"], "well");
    world.is_well();
}

#[test]
fn a_tool_by_whose_schema_a_check_would_not_end_is_left_out_and_the_card_says_why() {
    let endless = r##""properties": {}, "allOf": [{"$ref": "#"}, {"$ref": "#"}]"##;
    let world =
        with(&[("tools/ends.py", tool("bad_ends", "return 'never'").replace("\"properties\": {}", endless)), well()]);
    let card = stands(&world.server, "bad", "error");
    let said = "The tool `bad_ends` is left out: its schema cannot be used: it leads back to itself";
    assert!(card["error"].as_str().unwrap().contains(said), "{card:#}");
    world.server.post("/api/v1/tools/bad_ends/call", json!({})).refused(404, "not_found");
    assert_eq!(world.call("bad_well")["result"], "well");
    world.is_well();
}

#[test]
fn code_that_ends_the_process_while_it_is_imported_ends_its_own() {
    let world = with(&[("tools/ends.py", "import os\nos._exit(7)\n".into())]);
    let card = stands(&world.server, "bad", "error");
    assert!(card["error"].as_str().unwrap().contains("ended with code 7"), "{card:#}");
    world.is_well();
}

#[test]
fn sys_exit_is_a_problem_of_that_file_and_of_that_call() {
    let world = with(&[
        ("tools/ends.py", "import sys\nsys.exit(3)\n".into()),
        ("tools/leave.py", tool("bad_leave", "sys.exit(4)")),
        well(),
    ]);
    let card = stands(&world.server, "bad", "error");
    assert!(card["problems"].to_string().contains("tools/ends.py"), "{card:#}");
    let left = world.call("bad_leave");
    assert_eq!(left["ok"], false, "{left}");
    world.failure("SystemExit: 4");
    assert_eq!(world.call("bad_well")["result"], "well");
    assert_eq!(crate::world::card(&world.server, "bad")["worker"]["restarts"], 0, "its process goes on");
    world.is_well();
}

#[test]
fn a_tool_that_crashes_its_process_fails_alone_and_the_process_comes_again() {
    let world = with(&[("tools/crash.py", tool("bad_crash", "import ctypes; ctypes.string_at(0)")), well()]);
    stands(&world.server, "bad", "ready");
    let crashed = world.call("bad_crash");
    assert_eq!(crashed["ok"], false, "{crashed}");
    assert!(crashed["error"]["message"].as_str().unwrap().contains("SIGSEGV"), "{crashed}");
    world.is_well();
    world.failure("SIGSEGV");
    world.works_again();
    world.failure("SIGSEGV");
    let card = card(&world.server, "bad");
    assert!(card["worker"]["restarts"].as_u64().unwrap() > 0, "{card:#}");
}

#[test]
fn a_loop_without_an_end_is_given_up_with_its_line_and_its_process_replaced() {
    let spin = tool("bad_spin", "while True: pass");
    let world = with(&[manifest("call: 3s", &["bad_spin", "bad_well"]), ("tools/spin.py", spin), well()]);
    stands(&world.server, "bad", "ready");
    world.works_again();
    let client = world.server.with_key(tercel_tests::server::KEY);
    let open = std::thread::spawn(move || client.try_call("POST", "/api/v1/tools/bad_spin/call", &[], "{}"));
    let begun = Instant::now();
    for _ in 0..5 {
        world.is_well();
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let given_up = open.join().unwrap().unwrap().expect(200);
    let said = given_up["error"]["message"].as_str().unwrap();
    assert!(said.contains("took longer than 3 s") && said.contains("tools/spin.py line"), "{given_up}");
    world.failure("tools/spin.py line");
    until_within(PATIENCE, "its process is replaced", || {
        (card(&world.server, "bad")["worker"]["last_failure"].to_string().contains("was ended")).then_some(())
    });
    world.works_again();
    world.is_well();
}

#[test]
fn a_loop_at_the_import_holds_up_neither_the_start_nor_what_others_save() {
    let world = with(&[manifest("start: 15s", &[]), ("hooks.py", "while True:\n    pass\n".into())]);
    let waiting = card(&world.server, "bad");
    assert_eq!((&waiting["status"], &waiting["error"]), (&json!("partial"), &json!("`bad` is being prepared")));
    let folders = root(&world.server.options);
    fs::write(folders.join("good/tools/say.py"), tool("good_say", "return 'saved'")).unwrap();
    until_within(PATIENCE, "what was saved", || (world.call("good_say")["result"] == "saved").then_some(()));
    put(&folders, "late", &[("tools/say.py", &tool("late_say", "return 'here'"))]);
    stands(&world.server, "late", "ready");
    assert_eq!(card(&world.server, "bad")["status"], "partial", "all of that was there before it was given up");
    let card = stands(&world.server, "bad", "error");
    let said = card["error"].as_str().unwrap();
    assert!(said.contains("did not answer within 15 s") && said.contains("hooks.py line"), "{card:#}");
    assert_eq!(world.call("good_say")["result"], "saved");
}

#[test]
fn a_blocked_event_loop_is_named_with_its_line_and_its_process_replaced() {
    let block = tool_of("bad_block", "async def", "time.sleep(3600)");
    let world = with(&[manifest("call: 3s", &["bad_block", "bad_well"]), ("tools/block.py", block), well()]);
    stands(&world.server, "bad", "ready");
    world.works_again();
    let client = world.server.with_key(tercel_tests::server::KEY);
    let open = std::thread::spawn(move || client.try_call("POST", "/api/v1/tools/bad_block/call", &[], "{}"));
    world.is_well();
    let given_up = open.join().unwrap().unwrap().expect(200);
    assert!(given_up["error"]["message"].as_str().unwrap().contains("tools/block.py line"), "{given_up}");
    world.is_well();
    world.failure("tools/block.py line");
    world.works_again();
    world.is_well();
}

#[test]
fn a_flood_of_print_is_cut_and_held_in_little_memory() {
    let flood = "line = 'x' * 1000\n    for _ in range(100_000): print(line)\n    return 'done'";
    let world = with(&[("tools/flood.py", tool("bad_flood", flood)), well()]);
    stands(&world.server, "bad", "ready");
    let before = world.server.peak_memory();
    assert_eq!(world.call("bad_flood")["result"], "done");
    assert!(world.server.peak_memory() < before + 100, "{} MiB after {before}", world.server.peak_memory());
    let log = world.server.get("/api/v1/admin/integrations/bad/logs");
    assert!(log.body.len() < 4 << 20, "{} bytes of log", log.body.len());
    assert!(log.text().contains("printed too fast to be kept"));
    let card = card(&world.server, "bad");
    assert!(card["worker"]["log_lines_lost"].as_u64().unwrap() > 50_000, "{card:#}");
    assert_eq!(world.call("bad_well")["result"], "well");
    world.is_well();
}

#[test]
fn memory_that_a_folder_takes_is_limited() {
    let world = with(&[("tools/hog.py", tool("bad_hog", "return len(bytearray(2 << 30))")), well()]);
    stands(&world.server, "bad", "ready");
    let answer = world.call("bad_hog");
    assert_eq!(answer["ok"], false, "{answer}");
    let card = card(&world.server, "bad");
    let said = card["worker"]["last_failure"]["reason"].as_str().unwrap();
    assert!(said.contains("MemoryError") || said.contains("memory runs out"), "{card:#}");
    world.is_well();
    world.works_again();
    world.is_well();
}

#[test]
fn poisoned_bytecode_is_not_run() {
    let world = with_also(&[well()], |folder| {
        let cache = folder.join("tools/__pycache__");
        fs::create_dir_all(&cache).unwrap();
        for tag in ["cpython-311", "cpython-312", "cpython-313", "cpython-314"] {
            fs::write(cache.join(format!("well.{tag}.pyc")), b"\xa7\r\r\n poison").unwrap();
        }
        fs::write(folder.join("tools/alone.pyc"), b"\xa7\r\r\n poison").unwrap();
    });
    let card = stands(&world.server, "bad", "error");
    let said = card["error"].as_str().unwrap();
    assert_eq!(said, "tools/alone.pyc: is bytecode, which is not run, and was left out");
    assert_eq!(world.call("bad_well")["result"], "well");
    world.is_well();
}

#[test]
fn a_link_out_of_a_folder_leads_nowhere_and_is_told() {
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret.py");
    fs::write(&secret, "print('stolen')\n").unwrap();
    let world = with_also(&[well()], |folder| symlink(&secret, folder.join("tools/link.py")).unwrap());
    let card = until_within(PATIENCE, "the folder is there", || {
        Some(card(&world.server, "bad")).filter(|card| card["has_tools"] == true)
    });
    assert!(card["error"].as_str().unwrap().contains("tools/link.py: is a link that leads out"), "{card:#}");
    assert!(!world.server.get("/api/v1/admin/integrations/bad/logs").text().contains("stolen"));
    assert_eq!(world.call("bad_well")["result"], "well");
    world.is_well();
}
