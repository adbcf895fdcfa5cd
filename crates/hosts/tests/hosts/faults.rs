//! One folder does its worst; it hurts nobody else, and the reason is shown.

use crate::world::{World, call, call_within, is_alive, log, pid, tool, until};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink, time::Duration};
use tercel_hosts::Loaded;
use tercel_sdk::Kind;

/// A folder that does what it should, beside the one that does not.
async fn good(world: &mut World) -> Loaded {
    world.write("good/tools/echo.py", &tool("good_echo", "def good_echo(text='hello'):\n    return {'said': text}"));
    let loaded = world.load("good").await;
    assert_eq!(loaded.problems, []);
    loaded
}

async fn unharmed(good: &Loaded) {
    assert_eq!(call(good, "good_echo", json!({"text": "still here"})).await.unwrap(), json!({"said": "still here"}));
}

/// A folder with one tool.
async fn bad(world: &mut World, body: &str) -> Loaded {
    world.write("bad/tools/bad.py", &tool("bad_tool", body));
    world.write("bad/tools/fine.py", &tool("bad_fine", "def bad_fine():\n    return 'fine'"));
    let loaded = world.load("bad").await;
    assert_eq!(loaded.problems, []);
    loaded
}

/// What went wrong last, as the card says it.
fn failure(bad: &Loaded) -> String {
    bad.worker.state().failure.map(|failed| failed.reason).unwrap_or_default()
}

async fn works_again(bad: &Loaded) {
    assert_eq!(call(bad, "bad_fine", json!({})).await.unwrap(), json!("fine"), "{:?}", log(bad));
}

#[tokio::test]
async fn a_syntax_error_is_shown_with_its_line_and_the_rest_of_the_folder_loads() {
    let mut world = World::new();
    let good = good(&mut world).await;
    world.write("bad/tools/broken.py", "def broken(:\n    pass\n");
    world.write("bad/tools/fine.py", &tool("bad_fine", "def bad_fine():\n    return 'fine'"));
    let bad = world.load("bad").await;
    let problem = &bad.problems[0];
    assert_eq!((problem.file.as_str(), problem.line), ("tools/broken.py", Some(1)));
    assert!(problem.message.contains("SyntaxError"), "{problem}");
    works_again(&bad).await;
    unharmed(&good).await;
}

#[tokio::test]
async fn leaving_while_it_is_loaded_hurts_only_that_file() {
    let mut world = World::new();
    let good = good(&mut world).await;
    world.write("bad/tools/leaves.py", "import sys\nsys.exit(3)\n");
    world.write("bad/tools/fine.py", &tool("bad_fine", "def bad_fine():\n    return 'fine'"));
    let bad = world.load("bad").await;
    assert_eq!(bad.problems[0].file, "tools/leaves.py");
    works_again(&bad).await;
    unharmed(&good).await;
}

#[tokio::test]
async fn a_tool_that_ends_the_interpreter_is_an_unknown_outcome_and_the_worker_comes_back() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let bad = bad(&mut world, "def bad_tool():\n    import os\n    os._exit(7)").await;
    let error = call(&bad, "bad_tool", json!({})).await.unwrap_err();
    assert_eq!(error.kind, Kind::UnknownOutcome);
    assert!(error.message.contains("ended with code 7"), "{}", error.message);
    works_again(&bad).await;
    assert_eq!(bad.worker.state().restarts, 1);
    assert!(failure(&bad).contains("ended with code 7"), "{}", failure(&bad));
    unharmed(&good).await;
}

#[tokio::test]
async fn sys_exit_in_a_tool_is_an_error_of_that_call() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let bad = bad(&mut world, "async def bad_tool():\n    import sys\n    sys.exit(3)").await;
    let answer = call(&bad, "bad_tool", json!({})).await;
    let shown = format!("{answer:?}");
    assert!(shown.contains("SystemExit"), "{shown}");
    assert!(failure(&bad).contains("SystemExit"), "{}", failure(&bad));
    works_again(&bad).await;
    unharmed(&good).await;
}

#[tokio::test]
async fn an_endless_loop_is_given_up_with_its_line_and_its_process_replaced() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let bad = bad(&mut world, "def bad_tool():\n    while True:\n        pass").await;
    works_again(&bad).await;
    let first = pid(&bad);
    let error = call_within(&bad, "bad_tool", json!({}), 2.0).await.unwrap_err();
    assert_eq!(error.kind, Kind::UnknownOutcome);
    assert!(error.message.contains("tools/bad.py line "), "{}", error.message);
    unharmed(&good).await;
    until("the process that never gives up is ended", || !is_alive(first)).await;
    assert!(failure(&bad).contains("tools/bad.py line "), "{}", failure(&bad));
    works_again(&bad).await;
    unharmed(&good).await;
}

#[tokio::test]
async fn an_endless_loop_at_the_import_is_given_up_with_its_line_and_holds_up_nobody() {
    let mut world = World::new();
    let good = good(&mut world).await;
    for name in ["bad", "worse", "worst"] {
        world.write(
            &format!("{name}/integration.yaml"),
            &format!("schema: 1\nname: {name}\nworker: {{limits: {{start: 12s}}}}\n"),
        );
        world.write(&format!("{name}/hooks.py"), "print('it begins')\n\nwhile True:\n    pass\n");
    }
    let folders = world.hosts.scan().folders;
    let hanging = folders.into_iter().filter(|folder| folder.id != "good").map(|folder| {
        let hosts = world.hosts.clone();
        tokio::spawn(async move { hosts.load(&folder, None).await })
    });
    let hanging: Vec<_> = hanging.collect();
    // More of them than are asked at once.
    world.write("late/tools/say.py", &tool("late_say", "def late_say():\n    return 'here'"));
    let late = world.load("late").await;
    assert_eq!(call(&late, "late_say", json!({})).await.unwrap(), json!("here"));
    assert!(hanging.iter().any(|loading| !loading.is_finished()), "it waited for those that hang");
    unharmed(&good).await;
    for loading in hanging {
        let loaded = loading.await.unwrap();
        let problem = &loaded.problems[0].message;
        assert!(problem.contains("did not answer within 12 s") && problem.contains("hooks.py line "), "{problem}");
        assert_eq!(loaded.worker.state().state, "failing");
    }
    unharmed(&good).await;
}

#[tokio::test]
async fn a_blocked_event_loop_is_named_with_the_line_that_blocks_it() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let body =
        "async def bad_tool():\n    import time\n    return wait(time)\n\n\ndef wait(time):\n    time.sleep(3600)";
    let bad = bad(&mut world, body).await;
    let error = call_within(&bad, "bad_tool", json!({}), 2.0).await.unwrap_err();
    assert!(error.message.contains("tools/bad.py line 11, in wait"), "{}", error.message);
    let log = log(&bad);
    assert!(log.iter().any(|line| line.contains("most recent call first")), "{log:?}");
    unharmed(&good).await;
    until("the process is replaced", || bad.worker.state().pid.is_none()).await;
    assert!(failure(&bad).contains("tools/bad.py line 11, in wait"), "{}", failure(&bad));
    works_again(&bad).await;
    unharmed(&good).await;
}

#[tokio::test]
async fn too_much_memory_is_refused_to_that_process_alone() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let bad = bad(&mut world, "def bad_tool():\n    return len(bytearray(2 << 30))").await;
    let answer = call(&bad, "bad_tool", json!({})).await;
    let shown = format!("{answer:?}");
    let is_said = |text: &str| text.contains("MemoryError") || text.contains("memory runs out");
    assert!(is_said(&shown), "{shown}");
    assert!(is_said(&failure(&bad)), "{}", failure(&bad));
    unharmed(&good).await;
    works_again(&bad).await;
}

#[tokio::test]
async fn a_flood_of_log_is_counted_and_holds_nobody_up() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let body = "def bad_tool():\n    print('how it began', flush=True)\n    line = 'x' * 99 + '\\n'\n    import sys\n    \
                for _ in range(10):\n        sys.stdout.write(line * 100_000)\n    return 'done'";
    let bad = bad(&mut world, body).await;
    assert_eq!(call(&bad, "bad_tool", json!({})).await.unwrap(), json!("done"));
    let log = log(&bad);
    let size: usize = log.iter().map(String::len).sum();
    assert!(size < 1 << 20, "{size} bytes are kept");
    assert!(log.iter().any(|line| line.contains("how it began")));
    assert!(log.iter().any(|line| line.contains("printed too fast to be kept")), "{:?}", log.last());
    let lost = bad.worker.state().lines_lost;
    assert!(lost > 900_000, "{lost} lines are said to be lost");
    works_again(&bad).await;
    unharmed(&good).await;
}

#[tokio::test]
async fn a_segmentation_fault_is_named_and_ends_that_process_only() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let bad = bad(&mut world, "def bad_tool():\n    import ctypes\n    return ctypes.string_at(0)").await;
    let error = call(&bad, "bad_tool", json!({})).await.unwrap_err();
    assert_eq!(error.kind, Kind::UnknownOutcome);
    assert!(error.message.contains("SIGSEGV"), "{}", error.message);
    assert!(failure(&bad).contains("SIGSEGV"), "{}", failure(&bad));
    unharmed(&good).await;
    works_again(&bad).await;
}

#[tokio::test]
async fn a_worker_that_always_dies_rests_longer_and_longer_and_says_why() {
    let mut world = World::new();
    let bad = bad(&mut world, "def bad_tool():\n    import os\n    os._exit(9)").await;
    let mut refused = None;
    for _ in 0..6 {
        let error = call(&bad, "bad_tool", json!({})).await.unwrap_err();
        refused = refused.or(Some(error).filter(|error| error.kind == Kind::Network));
    }
    let refused = refused.expect("it was started again and again");
    assert!(refused.message.contains("ended with code 9"), "{}", refused.message);
    assert!(refused.retry_after.is_some());
    let state = bad.worker.state();
    assert!(state.reason.unwrap().contains("ended with code 9"));
}

#[tokio::test]
async fn poisoned_bytecode_is_not_run() {
    let mut world = World::new();
    let good = good(&mut world).await;
    world.write("bad/tools/fine.py", &tool("bad_fine", "def bad_fine():\n    return 'fine'"));
    let cache = world.root().join("bad/tools/__pycache__");
    fs::create_dir_all(&cache).unwrap();
    for tag in ["cpython-311", "cpython-312", "cpython-313", "cpython-314"] {
        fs::write(cache.join(format!("fine.{tag}.pyc")), b"\xa7\r\r\n poison").unwrap();
    }
    let bad = world.load("bad").await;
    assert_eq!(bad.problems, []);
    works_again(&bad).await;
    assert!(!bad.place.confines.code.join("tools/__pycache__").exists());
    unharmed(&good).await;
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_left_out_and_said() {
    let mut world = World::new();
    let good = good(&mut world).await;
    let secret = world.path().join("secret.txt");
    fs::write(&secret, "nobody's business").unwrap();
    let body = "def bad_tool():\n    import os\n    return os.path.exists(os.path.join(os.path.dirname(__file__), 'secret.txt'))";
    world.write("bad/tools/bad.py", &tool("bad_tool", body));
    symlink(&secret, world.root().join("bad/tools/secret.txt")).unwrap();
    symlink("bad.py", world.root().join("bad/tools/_inside.py")).unwrap();
    let bad = world.load("bad").await;
    let problems: Vec<String> = bad.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["tools/secret.txt: is a link that leads out of the folder and was left out"]);
    assert_eq!(call(&bad, "bad_tool", json!({})).await.unwrap(), json!(false));
    assert!(bad.place.confines.code.join("tools/_inside.py").is_file());
    unharmed(&good).await;
}

#[tokio::test]
async fn a_tool_cannot_read_what_is_another_folders_or_the_servers() {
    let mut world = World::new();
    let good = good(&mut world).await;
    unharmed(&good).await;
    let other = good.place.confines.code.join("tools/echo.py");
    let own = world.path().join("data/users.json");
    fs::write(world.path().join("data/private"), "nobody's business").unwrap();
    let body = format!(
        "def bad_tool():\n    said = []\n    for path in [{other:?}, {own:?}, {:?}]:\n        try:\n            \
         said.append(open(path).read())\n        except OSError as error:\n            said.append(type(error).__name__)\n    \
         return said",
        world.path().join("data/private")
    );
    let bad = bad(&mut world, &body).await;
    let said = call(&bad, "bad_tool", json!({})).await.unwrap();
    let said: Vec<&str> = said.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(said.iter().all(|said| ["PermissionError", "FileNotFoundError"].contains(said)), "{said:?}");
}

#[tokio::test]
async fn many_at_once_are_answered_each_with_its_own() {
    let mut world = World::new();
    let body = "async def bad_tool(number):\n    import asyncio\n    await asyncio.sleep(0.01)\n    return number";
    let bad = bad(&mut world, body).await;
    let calls = (0..200).map(|number| {
        let bad = &bad;
        async move { (number, call(bad, "bad_tool", json!({"number": number})).await) }
    });
    for (number, answer) in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), json!(number));
    }
    tokio::time::timeout(Duration::from_secs(20), bad.worker.drain(None)).await.unwrap();
}
