//! The commands of the program, as a person types them.

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};
use tercel_tests::{FakeGitHub, Options, Server, World, events, tree};

fn sample() -> String {
    tree::root().join("integrations/github/fixtures/pull_request.opened.json").to_str().unwrap().to_owned()
}

#[test]
fn a_rehearsal_shows_the_whole_trace_and_changes_nothing() {
    let github = FakeGitHub::start();
    let options = Options::new().github(&github);
    let folder = tree::root().join("integrations/github");
    let out = options.run(&["rehearse", folder.to_str().unwrap(), "--event", &sample()]).ok();
    for part in ["delivery", "verif", "session", "task", "github_get_pr", "outbox", "withheld"] {
        assert!(out.to_lowercase().contains(part), "nothing about `{part}`:\n{out}");
    }
    assert_eq!(github.requests().len(), 0, "a rehearsal reads from recorded answers");
    assert!(!options.data_directory().join("tercel.db").exists(), "a rehearsal leaves nothing behind");
}

#[test]
fn a_rehearsal_needs_no_configuration_at_all() {
    let options = Options::new().without("API_KEY");
    let out = options.run(&["rehearse", "github", "--event", &sample()]).ok();
    assert!(out.to_lowercase().contains("rehears"), "{out}");
}

#[test]
fn a_misspelt_setting_is_refused_wherever_it_stands() {
    let options = Options::new();
    for (file, line, words) in [
        ("tercel.toml", "LLM_MODLE = \"m\"\n", "tercel.toml: LLM_MODLE is not a setting; is LLM_MODEL meant?"),
        (".env", "TERCEL_LISTN=127.0.0.1:1\n", ".env: TERCEL_LISTN is not a setting; is TERCEL_LISTEN meant?"),
    ] {
        fs::write(options.place().join(file), line).unwrap();
        let said = options.run(&["doctor"]).failed();
        assert!(said.contains(words), "{said}");
        fs::remove_file(options.place().join(file)).unwrap();
    }
    let said = options.env("TERCEL_LISTN", "127.0.0.1:1").run(&["keys", "list"]).failed();
    assert!(said.contains("TERCEL_LISTN is not a setting; is TERCEL_LISTEN meant?"), "{said}");
}

#[test]
fn a_rehearsal_can_read_for_real() {
    let github = FakeGitHub::start();
    let options = Options::new().github(&github);
    options.run(&["rehearse", "github", "--event", &sample(), "--live-reads"]).ok();
    let requests = github.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.method == "GET"), "{requests:#?}");
}

#[test]
fn a_rehearsal_of_what_is_not_there_says_so() {
    let options = Options::new();
    for arguments in
        [["rehearse", "nobody", "--event", &sample()], ["rehearse", "github", "--event", "no/such/file.json"]]
    {
        let said = options.run(&arguments).failed();
        assert!(said.contains(arguments[1]) || said.contains(arguments[3]), "{said}");
    }
    let broken = options.place().join("broken.json");
    fs::write(&broken, "{").unwrap();
    let said = options.run(&["rehearse", "github", "--event", broken.to_str().unwrap()]).failed();
    assert!(said.contains("broken.json"), "{said}");
}

#[test]
fn a_tool_can_be_called_by_hand() {
    let github = FakeGitHub::start();
    let options = Options::new().github(&github);
    let out = options.run(&["call", "github_get_pr", r#"{"repo": "octo/hello", "number": 1}"#]).ok();
    let answer: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(answer["title"], "Say hello 1 times");
    let said = options.run(&["call", "github_get_pr", r#"{"repo": "octo/hello"}"#]).failed();
    assert!(said.contains("number"), "{said}");
    let said = options.run(&["call", "github_get_pull", "{}"]).failed();
    assert!(said.contains("github_get_pr"), "the nearest name helps: {said}");
}

#[test]
fn keys_are_made_listed_and_revoked_with_and_without_a_server() {
    let mut world = World::start();
    for running in [true, false] {
        if !running {
            world.server.stop();
        }
        let options = world.server.options.clone();
        let out = options.run(&["keys", "create", "ci", "--scope", "tasks:read"]).ok();
        let key = out.split_whitespace().last().unwrap().to_owned();
        let listed = options.run(&["keys", "list"]).ok();
        assert!(listed.contains("ci") && listed.contains("tasks:read") && !listed.contains(&key), "{listed}");
        if !running {
            world.server.start_again();
        }
        let client = world.server.with_key(&key);
        client.get("/api/v1/tasks").expect(200);
        client.get("/api/v1/bots").expect(403);
        let newest = world.server.list("/api/v1/keys").into_iter().find(|key| key["name"] == "ci").unwrap();
        let id = newest["id"].clone();
        options.run(&["keys", "revoke", id.as_str().unwrap()]).ok();
        client.get("/api/v1/tasks").expect(401);
    }
}

#[test]
fn the_doctor_says_what_is_missing_and_what_is_well() {
    let bare = Options::new().run(&["doctor"]).ok();
    for word in ["LLM_", "GITHUB_WEBHOOK_SECRET"] {
        assert!(bare.contains(word), "nothing about {word}:\n{bare}");
    }
    let world = World::start();
    let told = world.server.options.run(&["doctor"]).ok();
    assert!(told.contains(world.server.options.data_directory().to_str().unwrap()), "{told}");
    for secret in ["ghp_of_the_tests", "sk-of-the-tests", events::SECRET, tercel_tests::server::KEY] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn the_log_of_an_integration_can_be_read() {
    let world = World::start();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    world.github.wait_for_comments(1);
    let out = world.server.options.run(&["logs", "github"]).ok();
    assert!(out.contains("pull_request.opened"), "{out}");
    let said = world.server.options.run(&["logs", "nobody"]).failed();
    assert!(said.contains("nobody"), "{said}");
}

#[test]
fn the_log_of_an_integration_can_be_followed() {
    let world = World::start();
    let mut follow = world.server.options.command(&["logs", "github", "-f"]);
    let mut child = follow.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Nothing has happened yet: what comes is new.
    world.server.github_task(&events::pull_request("opened", 1));
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("pull_request.opened"), "{line}");
    world.server.github_task(&events::issues("opened", 2));
    let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("issues.opened")));
    assert!(line.is_some());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_log_in_json_is_an_object_a_line() {
    let mut world = World::start_with(|options| options.env("TERCEL_LOG_FORMAT", "json"));
    world.server.stop();
    let log = world.server.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let listens = lines.iter().find(|line| line.to_string().contains("listens on http://")).expect("the greeting");
    assert_eq!(listens["level"], "INFO");
    assert!(listens["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{listens}");
}

#[test]
fn a_server_without_a_model_says_what_to_do_next() {
    let server = Server::start(Options::new());
    let log = server.log();
    let (_, command) = log.split_once("Next, in another terminal: ").expect("the next step");
    let command = command.lines().next().unwrap();
    assert!(command.contains(" rehearse github --event pull_request.opened --send"), "{command}");
    // It is a command that works.
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    let options = server.options.clone().env("GITHUB_WEBHOOK_SECRET", events::SECRET);
    drop(server);
    let server = Server::start(options);
    let said = server.options.run(&arguments).ok();
    assert!(said.contains("octo") || said.contains("pull_request"), "{said}");

    let world = World::start();
    assert!(!world.server.log().contains("Next, in another terminal"), "with a model there is another one");
}

#[test]
fn settings_that_do_not_exist_name_the_nearest() {
    for (name, value, near) in
        [("TERCEL_LISTN", "127.0.0.1:0", "TERCEL_LISTEN"), ("TERCEL_DATADIR", "x", "TERCEL_DATA_DIR")]
    {
        let said = Options::new().env(name, value).run(&["serve"]).failed();
        assert!(said.contains(name) && said.contains(near), "{said}");
    }
    for (name, value) in [
        ("TERCEL_LISTEN", "nowhere"),
        ("ENCRYPTION_KEY", "short"),
        ("TERCEL_ALLOW_PRIVATE", "10.0.0.0/99"),
        ("LLM_BASE_URL", "not an address"),
    ] {
        let said = Options::new().env(name, value).run(&["serve"]).failed();
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn settings_are_read_from_files_and_the_environment_wins() {
    let options = Options::new().without("API_KEY");
    fs::write(options.place().join(".env"), "API_KEY=from-the-dot-env-file-of-the-test\nGITHUB_BOT=from-dot-env\n")
        .unwrap();
    let server = tercel_tests::Server::start(options.env("GITHUB_BOT", "from-the-environment"));
    let client = server.with_key("from-the-dot-env-file-of-the-test");
    let settings = client.get("/api/v1/admin/integrations/github/settings").expect(200);
    let bot = settings["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "GITHUB_BOT").unwrap();
    assert_eq!((&bot["value"], &bot["source"]), (&json!("from-the-environment"), &json!("env")));
}
