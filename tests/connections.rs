//! Connections of the whole program: files that are taken over, and what is in them then.

use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};
use tercel_tests::{FakeGitHub, Options, Receiver, Server, World, until};

const CONNECTION: &str = "/api/v1/admin/integrations/github/connection";
const REFERENCE: &str = "\"${secret:github.token}\"";

/// A world without a token in its environment, and its directory of connection files.
fn world(file: Option<&str>) -> (World, PathBuf) {
    let mut directory = PathBuf::new();
    let world = World::start_with(|options| {
        directory = options.place().join("config/integrations");
        fs::create_dir_all(&directory).unwrap();
        if let Some(text) = file {
            fs::write(directory.join("github.yaml"), text).unwrap();
        }
        options.without("GITHUB_TOKEN").env("WHOSE", "octo")
    });
    (world, directory)
}

fn setting(server: &Server, key: &str) -> Value {
    let settings = server.get("/api/v1/admin/integrations/github/settings").expect(200);
    settings["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap().clone()
}

fn is_connected(server: &Server) {
    until("the file is taken over and tested", || {
        (server.get(CONNECTION).expect(200)["state"] == "connected").then_some(())
    });
}

#[test]
fn a_file_is_taken_over_once_and_no_secret_stays_in_it() {
    let text = "# Mine\ntoken: ghp_in-the-file-0123456789 # secret\nbot: ${WHOSE}-bot\n";
    let (mut world, directory) = world(Some(text));
    let file = directory.join("github.yaml");
    is_connected(&world.server);
    assert_eq!(setting(&world.server, "GITHUB_TOKEN")["source"], "db");
    assert_eq!(setting(&world.server, "GITHUB_BOT")["value"], "octo-bot");
    let taken_over = format!("# Mine\ntoken: {REFERENCE}\nbot: ${{WHOSE}}-bot\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), taken_over);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let asked = || world.github.requests().iter().filter(|request| request.path == "/user").count();
    let before = asked();
    assert!(world.github.requests().iter().all(|request| request.header("authorization").contains("in-the-file")));
    let example = fs::read_to_string(directory.join("github.yaml.example")).unwrap();
    assert!(
        example.contains("token: \"\"\n") && example.contains("\napi_url: \"https://api.github.com\"\n"),
        "{example}"
    );

    world.server.restart();
    is_connected(&world.server);
    assert_eq!(fs::read_to_string(&file).unwrap(), taken_over, "there is nothing new in it");
    assert!(asked() <= before + 1);

    // What somebody writes into it counts; what is saved elsewhere stands in it.
    fs::write(&file, format!("token: ghp_new-in-the-file-0123456789\nbot: {}\n", "other")).unwrap();
    until("it is taken over", || (setting(&world.server, "GITHUB_BOT")["value"] == "other").then_some(()));
    until("the secret leaves the file", || fs::read_to_string(&file).unwrap().contains(REFERENCE).then_some(()));
    let saved = json!({"settings": {"GITHUB_BOT": null, "GITHUB_POLL": "octo/hello"}});
    world.server.put("/api/v1/admin/integrations/github/settings", saved).accepted();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("token: {REFERENCE}\npoll: \"octo/hello\"\n"));
    world.server.post(&format!("{CONNECTION}/disconnect"), json!({})).accepted();
    assert!(!file.exists() && directory.join("github.yaml.example").exists());
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_says_what_is_wrong() {
    let (world, directory) = world(Some("tokn: ghp_in-the-file-0123456789\n"));
    let file = directory.join("github.yaml");
    let notice = world.server.notice("connection-file:github");
    let detail = notice["detail"].as_str().unwrap();
    assert!(detail.contains("no field `tokn`") && detail.contains("token") && !detail.contains("ghp_"), "{notice:#}");
    assert_eq!(setting(&world.server, "GITHUB_TOKEN")["is_set"], false);
    for (text, words) in [
        ("api_url: ftp://x\n", "an address that begins with https://"),
        ("token: [ghp_in-the-file-0123456789\n", "not YAML"),
        ("bot: ${MISSING}\n", "MISSING is not set"),
        ("bot: ${API_KEY}\n", "API_KEY is the server's own"),
        ("token: ${secret:other.token}\n", "as ${secret:github.token}"),
    ] {
        fs::write(&file, text).unwrap();
        let said =
            || world.server.notice("connection-file:github")["detail"].as_str().unwrap().contains(words).then_some(());
        until(words, said);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    fs::write(&file, "token: ghp_in-the-file-0123456789\n").unwrap();
    is_connected(&world.server);
    until("it is over", || world.server.list("/api/v1/notices?open=true").is_empty().then_some(()));
    assert!(!world.server.log().contains("ghp_in"), "a secret is in the log");
}

const TOKEN: &str = "ghp_sealed-0123456789";
const TARGET_TOKEN: &str = "xoxb-sealed-0123456789";

/// Secrets of every kind: of a connection, of one that was replaced, of a target, of a provider and of a hook.
fn plant(server: &Server, github: &FakeGitHub, receiver: &Receiver) {
    let connect = "/api/v1/admin/integrations/github/connections/work/connect";
    for secret in ["webhook-one", "webhook-two"] {
        let values = json!({"token": TOKEN, "webhook_secret": secret, "api_url": github.url()});
        assert_eq!(server.post(connect, values).expect(200)["ok"], true);
    }
    let provider =
        json!({"id": "other", "kind": "openai", "base_url": receiver.url(), "api_key": "sk-sealed-0123456789"});
    server.post("/api/v1/providers", provider).expect(201);
    server.post("/api/v1/hooks", json!({"url": receiver.url(), "events": ["before_transcription"]})).accepted();
    let target = json!({"type": "webhook", "url": receiver.url(), "token": TARGET_TOKEN});
    server.post("/api/v1/sessions", json!({"client_id": "web:alice", "dispatch_config": target})).expect(201);
}

/// That all of them can still be opened, and none needs the key of that id.
fn all_open(server: &Server, github: &FakeGitHub, receiver: &Receiver, earlier: &str) {
    let tested = server.post("/api/v1/admin/integrations/github/connections/work/test", json!({})).expect(200);
    assert_eq!(tested["ok"], true, "{tested:#}");
    assert!(github.requests().iter().any(|request| request.header("authorization") == format!("Bearer {TOKEN}")));
    let shown = server.get("/api/v1/admin/integrations/github/connections/work").expect(200);
    assert!(shown["earlier"]["webhook_secret"].is_string() && shown["problems"] == json!({}), "{shown:#}");
    let before = receiver.received().len();
    let session = server.session("web:alice");
    let task = server.ask(&session, "hello");
    server.outbox(&task, &["sent"]);
    until("the answer arrived", || (receiver.received().len() > before).then_some(()));
    let doctor = server.options.run(&["doctor"]).out;
    assert!(doctor.contains("opens all of them"), "{doctor}");
    assert!(!doctor.contains("another key") && !doctor.contains(earlier), "{doctor}");
}

fn key_id(options: &Options) -> String {
    fs::read_to_string(options.data_directory().join("key.id")).unwrap()
}

#[test]
fn the_key_is_replaced_while_the_server_runs_and_the_earlier_one_goes_with_the_next_start() {
    let (mut world, receiver) = (World::start_with(|options| options.allow_loopback()), Receiver::start());
    plant(&world.server, &world.github, &receiver);
    let (data, first) = (world.server.options.data_directory().to_owned(), key_id(&world.server.options));
    let secret = || world.server.post("/api/v1/keys/webhook-secret", json!({})).expect(200)["secret"].clone();
    let before = secret();
    let said = world.server.options.run(&["keys", "rotate-seal"]).ok();
    assert!(said.contains("values are sealed with the new key"), "{said}");
    assert_ne!(key_id(&world.server.options), first);
    assert_eq!(secret(), before, "receivers know us");
    let again = world.server.options.run(&["keys", "rotate-seal"]).failed();
    assert!(again.contains("start it anew first"), "{again}");
    assert_eq!(fs::metadata(data.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(data.join("key.previous").exists());
    world.server.restart();
    assert!(!data.join("key.previous").exists());
    all_open(&world.server, &world.github, &receiver, &first);

    // And once more, without a server.
    let second = key_id(&world.server.options);
    world.server.stop();
    world.server.options.run(&["keys", "rotate-seal"]).ok();
    let server = Server::start(world.server.options.clone());
    all_open(&server, &world.github, &receiver, &second);
    assert_eq!(server.post("/api/v1/keys/webhook-secret", json!({})).expect(200)["secret"], before);
}

#[test]
fn a_key_of_the_environment_is_replaced_by_its_owner() {
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let receiver = Receiver::start();
    let mut world = World::start_with(|options| options.allow_loopback().env("ENCRYPTION_KEY", &one));
    plant(&world.server, &world.github, &receiver);
    let first = key_id(&world.server.options);
    let told = world.server.options.run(&["keys", "rotate-seal"]).failed();
    assert!(told.contains("ENCRYPTION_KEY_PREVIOUS"), "{told}");
    world.server.stop();
    let calm = world.server.options.clone();
    let with_both = calm.clone().env("ENCRYPTION_KEY", &two).env("ENCRYPTION_KEY_PREVIOUS", &one);
    let mut server = Server::start(with_both);
    assert!(server.log().contains("ENCRYPTION_KEY_PREVIOUS can be taken out"), "{}", server.log());
    server.stop();
    let mut server = Server::start(calm.clone().env("ENCRYPTION_KEY", &two));
    all_open(&server, &world.github, &receiver, &first);
    server.stop();
    let refused = Server::until_it_dies(calm);
    assert!(refused.log.contains("ENCRYPTION_KEY"), "{}", refused.log);
}

#[test]
fn a_server_that_dies_while_the_key_is_replaced_loses_no_secret() {
    let named = ["seal.previous", "seal.key", "seal.marker", "seal.noted"].map(|name| format!("{name}:1"));
    let commits = (1..=24).map(|n| format!("commit.{}:+{n}", if n % 2 == 0 { "before" } else { "after" }));
    let mut died = 0;
    for point in named.into_iter().chain(commits) {
        let (github, receiver) = (FakeGitHub::start(), Receiver::start());
        let calm = Options::new().github(&github).allow_loopback();
        let model = tercel_tests::FakeModel::start();
        let calm = calm.model(&model);
        let mut server = Server::start(calm.clone());
        plant(&server, &github, &receiver);
        let first = key_id(&calm);
        server.stop();
        if let Ok(mut server) = Server::try_start(calm.clone().env("TERCEL_FAILPOINT", &point)) {
            let path = "/api/v1/keys/rotate-seal";
            let answered = server.try_call("POST", path, &[], "{}");
            let is_done = answered.is_ok_and(|answer| answer.status == 200);
            died += u32::from(!is_done);
            // What is reached at the start only is reached now.
            server.kill9();
            let _ = Server::try_start(calm.clone().env("TERCEL_FAILPOINT", &point)).map(|mut server| server.kill9());
        }
        let mut server = Server::start(calm.clone());
        if key_id(&calm) == first {
            server.post("/api/v1/keys/rotate-seal", json!({})).expect(200);
            server.restart();
        }
        assert!(!calm.data_directory().join("key.previous").exists(), "{point}");
        all_open(&server, &github, &receiver, &first);
    }
    assert!(died > 5, "hardly any of them died: {died}");
}
