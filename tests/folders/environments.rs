//! What folders in Python run in, while it is made, when it cannot be made, and when nobody needs it any more.

use crate::world::{PATIENCE, World, card, environments, fresh, options, put, root, stands};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};
use tercel_tests::{
    Client, Options, Server,
    wait::{pause, until_within},
};

const ROUTER: &str = r#"
import time
from fastapi import APIRouter

time.sleep(2)
router = APIRouter()


@router.get("/hello")
async def hello():
    return "hello"
"#;

/// Requirements that no other test has, so that their environment is made.
fn asks(what: &str) -> String {
    format!("{what}\n# {}\n", uuid::Uuid::now_v7())
}

/// Asks a route from the first moment on until it answers; what it said before.
fn asked_all_the_time(options: &Options, path: &'static str) -> JoinHandle<Vec<(u16, Option<String>, String)>> {
    let address = options.data_directory().join("address");
    std::thread::spawn(move || {
        let base = until_within(PATIENCE, "the server listens", || {
            fs::read_to_string(&address).ok().filter(|text| text.contains(':'))
        });
        let client = Client { base: format!("http://{}", base.trim()), key: None };
        let mut said = Vec::new();
        until_within(PATIENCE, "an answer of the code", || {
            let answer = client.try_call("GET", path, &[], "").ok()?;
            if answer.status != 200 {
                let wait = answer.header("retry-after").map(str::to_owned);
                said.push((answer.status, wait, answer.text()));
                pause(Duration::from_millis(2));
            }
            (answer.status == 200).then_some(())
        });
        said
    })
}

fn are_all_503(said: &[(u16, Option<String>, String)]) {
    for (status, wait, words) in said {
        assert_eq!(*status, 503, "{words}");
        let wait: u64 = wait.as_deref().and_then(|wait| wait.parse().ok()).unwrap_or_default();
        assert!((1..=60).contains(&wait), "{words}");
        assert!(words.contains("is being prepared") || words.contains("are being looked at"), "{words}");
    }
}

#[test]
fn a_route_is_answered_503_with_the_reason_until_the_code_answers_it() {
    let options = options();
    put(&root(&options), "slow", &[("router.py", ROUTER), ("requirements.txt", &asks("iniconfig==2.0.0"))]);
    put(&root(&options), "quick", &[("router.py", ROUTER)]);
    let (slow, quick) = (
        asked_all_the_time(&options, "/integrations/slow/hello"),
        asked_all_the_time(&options, "/integrations/quick/hello"),
    );
    let mut server = Server::start(options);
    let (slow, quick) = (slow.join().unwrap(), quick.join().unwrap());
    are_all_503(&quick);
    are_all_503(&slow);
    assert!(!quick.is_empty() && slow.iter().any(|(_, _, words)| words.contains("Its Python environment is made")));
    // The next time all is known.
    server.stop();
    let again = asked_all_the_time(&server.options, "/integrations/slow/hello");
    server.start_again();
    are_all_503(&again.join().unwrap());
    // What nobody put there is not there.
    assert_eq!(server.anonymous().get("/integrations/nobody/hello").status, 404);
}

#[test]
fn the_card_says_how_far_an_environment_is() {
    let server = Server::start(options());
    put(&root(&server.options), "asks", &[("router.py", ROUTER), ("requirements.txt", &asks("iniconfig==2.0.0"))]);
    let mut said: Vec<String> = Vec::new();
    until_within(PATIENCE, "it is ready", || {
        let card = card(&server, "asks");
        if card["worker"]["state"] == "preparing" {
            let words = card["worker"]["reason"].as_str().unwrap().to_owned();
            assert!(card["error"].as_str().unwrap().contains("is being prepared"), "{card:#}");
            said.extend(Some(words).filter(|words| said.last() != Some(words)));
        }
        (card["status"] == "ready").then_some(())
    });
    assert!(said.iter().any(|words| words.ends_with("resolving requirements.txt")), "{said:?}");
    assert!(said.len() > 1, "{said:?}");
}

/// The folder stands as one that has an error, for this reason, everywhere where somebody looks; the other one works.
#[track_caller]
fn says_why(server: &Server, words: &str) -> Value {
    let card = stands(server, "asks", "error");
    let error = card["error"].as_str().unwrap();
    assert!(error.contains(words), "{words}: {card:#}");
    assert_eq!(card["worker"]["state"], "failing");
    let refused = server.anonymous().get("/integrations/asks/hello");
    assert!(refused.header("retry-after").is_some());
    assert!(refused.refused(503, "unavailable").contains(words), "{words}");
    let doctor = server.options.run(&["doctor"]).out;
    assert!(doctor.contains("`asks`"), "{doctor}");
    assert_eq!(server.get("/ready").status, 200);
    card
}

#[test]
fn a_package_that_does_not_exist_is_said_until_the_folder_asks_for_another() {
    let options = options();
    let folder = put(
        &root(&options),
        "asks",
        &[("router.py", ROUTER), ("requirements.txt", "tercel-has-no-such-package==1.0\n")],
    );
    put(&root(&options), "good", &[("router.py", ROUTER)]);
    let server = Server::start(options);
    says_why(&server, "tercel-has-no-such-package");
    stands(&server, "good", "ready");
    fs::write(folder.join("requirements.txt"), "").unwrap();
    stands(&server, "asks", "ready");
    assert_eq!(server.anonymous().get("/integrations/asks/hello").text(), "\"hello\"");
}

#[test]
fn a_network_that_is_not_there_is_said_and_hurts_only_who_needs_it() {
    let options = options().env("UV_INDEX_URL", "http://127.0.0.1:9/simple").env("UV_HTTP_RETRIES", "0");
    put(
        &root(&options),
        "asks",
        &[("router.py", ROUTER), ("requirements.txt", "iniconfig==2.0.0\n# without a network\n")],
    );
    put(&root(&options), "good", &[("router.py", ROUTER)]);
    let server = Server::start(options);
    says_why(&server, "requirements.txt cannot be resolved");
    assert!(says_why(&server, "127.0.0.1:9")["error"].as_str().unwrap().contains("requirements.txt"));
    stands(&server, "good", "ready");
}

#[test]
fn where_there_is_no_uv_and_none_can_be_fetched_it_is_said_what_to_do() {
    let options = fresh()
        .env("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        .env("PIP_RETRIES", "0")
        .without("PIP_FIND_LINKS")
        .without("UV_FIND_LINKS");
    put(&root(&options), "asks", &[("router.py", ROUTER), ("skills/how.md", "Do it.")]);
    let server = Server::start(options);
    let card = says_why(&server, "uv is not on this machine and could not be installed");
    assert!(card["error"].as_str().unwrap().contains("pip install uv"), "{card:#}");
}

#[test]
fn what_nobody_needs_any_more_is_removed_while_others_run() {
    let shared = environments();
    let old = shared.join(format!("packages-old{}", std::process::id()));
    let begun = shared.join(format!("packages-begun{}", std::process::id()));
    for place in [&old, &begun] {
        fs::create_dir_all(place.join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", place.join("bin/python")).unwrap();
    }
    File::create(old.join("lock.txt"))
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(2 * 86_400))
        .unwrap();
    let world = World::start();
    until_within(PATIENCE, "they are removed", || (!old.exists() && !begun.exists()).then_some(()));
    // A state that was replaced goes, too.
    let states = || {
        let entries = fs::read_dir(world.server.options.data_directory().join("folders/forge")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    let readme = root(&world.server.options).join("forge/README.md");
    for text in ["one", "two", "three"] {
        fs::write(&readme, text).unwrap();
        until_within(PATIENCE, "it is loaded", || (card(&world.server, "forge")["readme"] == text).then_some(()));
    }
    until_within(PATIENCE, "only the state that runs is left", || (states() == 1).then_some(()));
    let said = world.server.post("/api/v1/tools/forge_note/call", json!({"arguments": {"text": "a"}})).expect(200);
    assert_eq!(said["result"], "noted a with nothing");
}
