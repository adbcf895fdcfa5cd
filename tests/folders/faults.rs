//! What is wrong with one folder hurts that folder only, and its card says why.

use crate::world::{PATIENCE, options, put, root, stands};
use serde_json::{Value, json};
use std::{fs, time::Instant};
use tercel_tests::{Server, wait::until_within};

/// A tool without arguments.
fn tool(name: &str, body: &str) -> String {
    format!(
        "import os, sys, time\nfrom integrations._register import register\n\n\n\
         @register({{\"type\": \"function\", \"function\": {{\"name\": \"{name}\", \"description\": \"Does it\", \
         \"parameters\": {{\"type\": \"object\", \"properties\": {{}}}}}}}})\ndef run():\n    {body}\n"
    )
}

struct World {
    server: Server,
}

/// A folder with a fault, beside one that is well.
fn with(files: &[(&str, &str)]) -> World {
    let options = options();
    put(&root(&options), "bad", files);
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
        assert_eq!(self.server.get("/ready").status, 200);
    }

    fn bad(&self) -> Value {
        crate::world::card(&self.server, "bad")
    }
}

#[test]
fn a_syntax_error_is_told_with_its_line_and_the_rest_of_the_folder_works() {
    let world = with(&[("tools/broken.py", "def broken(:\n"), ("tools/well.py", &tool("bad_well", "return 'well'"))]);
    let card = stands(&world.server, "bad", "error");
    assert_eq!(
        (&card["problems"][0]["file"], &card["problems"][0]["line"]),
        (&json!("tools/broken.py"), &json!(1)),
        "{card:#}"
    );
    assert_eq!(world.call("bad_well")["result"], "well");
    world.is_well();
}

#[test]
fn code_that_ends_the_process_while_it_is_imported_ends_its_own() {
    let world = with(&[("tools/ends.py", "import os\nos._exit(7)\n")]);
    let card = stands(&world.server, "bad", "error");
    assert!(card["error"].as_str().is_some_and(|why| !why.is_empty()), "{card:#}");
    world.is_well();
}

#[test]
fn sys_exit_while_it_is_imported_is_a_problem_of_that_file() {
    let world =
        with(&[("tools/ends.py", "import sys\nsys.exit(3)\n"), ("tools/well.py", &tool("bad_well", "return 'well'"))]);
    let card = stands(&world.server, "bad", "error");
    assert!(card["problems"].to_string().contains("tools/ends.py"), "{card:#}");
    assert_eq!(world.call("bad_well")["result"], "well");
    world.is_well();
}

#[test]
fn a_tool_that_crashes_its_process_fails_alone_and_the_process_comes_again() {
    let world = with(&[
        ("tools/crash.py", &tool("bad_crash", "import ctypes; ctypes.string_at(0)")),
        ("tools/well.py", &tool("bad_well", "return 'well'")),
    ]);
    stands(&world.server, "bad", "ready");
    let crashed = world.call("bad_crash");
    assert_eq!(crashed["ok"], false, "{crashed}");
    assert!(!crashed["error"]["message"].as_str().unwrap().is_empty());
    world.is_well();
    until_within(PATIENCE, "the process comes again", || (world.call("bad_well")["result"] == "well").then_some(()));
    assert!(world.bad()["worker"]["restarts"].as_u64().unwrap() > 0, "{:#}", world.bad());
}

#[test]
fn a_loop_without_an_end_blocks_its_own_folder_only() {
    let world = with(&[("tools/spin.py", &tool("bad_spin", "exec('while True: pass')"))]);
    stands(&world.server, "bad", "ready");
    let client = world.server.with_key(tercel_tests::server::KEY);
    let _open = std::thread::spawn(move || client.try_call("POST", "/api/v1/tools/bad_spin/call", &[], "{}"));
    let begun = Instant::now();
    for _ in 0..5 {
        world.is_well();
    }
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn a_flood_of_print_is_cut_and_held_in_little_memory() {
    let flood = "line = 'x' * 1000\n    for _ in range(100_000): print(line)\n    return 'done'";
    let world = with(&[("tools/flood.py", &tool("bad_flood", flood))]);
    stands(&world.server, "bad", "ready");
    let before = world.server.peak_memory();
    assert_eq!(world.call("bad_flood")["result"], "done");
    assert!(world.server.peak_memory() < before + 100, "{} MiB after {before}", world.server.peak_memory());
    let log = world.server.get("/api/v1/admin/integrations/bad/logs");
    assert!(log.body.len() < 4 << 20, "{} bytes of log", log.body.len());
    world.is_well();
}

#[test]
fn memory_that_a_folder_takes_is_limited() {
    let world = with(&[("tools/hog.py", &tool("bad_hog", "return len(bytearray(2_000_000_000))"))]);
    stands(&world.server, "bad", "ready");
    let answer = world.call("bad_hog");
    assert!(answer["ok"] == false || answer["result"].to_string().contains("rror"), "{answer}");
    world.is_well();
}

#[test]
fn a_link_out_of_a_folder_leads_nowhere_and_is_told() {
    let options = options();
    let secret = options.place().join("secret.py");
    fs::write(&secret, "print('stolen')\n").unwrap();
    let folder = put(&root(&options), "bad", &[("tools/well.py", &tool("bad_well", "return 'well'"))]);
    std::os::unix::fs::symlink(&secret, folder.join("tools/link.py")).unwrap();
    let server = Server::start(options);
    let card = until_within(PATIENCE, "the folder is there", || {
        Some(crate::world::card(&server, "bad")).filter(|card| card["has_tools"] == true)
    });
    assert!(card["problems"].to_string().contains("link.py"), "{card:#}");
    assert!(!server.get("/api/v1/admin/integrations/bad/logs").text().contains("stolen"));
}
