//! A backup is taken while everything goes on, and what was accepted before it is in it. What is restored waits until
//! somebody has looked.

use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tercel_tests::{Engine, FakeGitHub, FakeModel, Options, Server, Turn, World, events, until};

const PASSPHRASE: &str = "a passphrase of the tests";
const WORKERS: usize = 16;

/// Makes a backup of the data of these options, beside them.
fn backup(options: &Options) -> PathBuf {
    let file = options.place().join("backup.tar.gz");
    let said =
        options.clone().env("TERCEL_BACKUP_PASSPHRASE", PASSPHRASE).run(&["backup", file.to_str().unwrap()]).ok();
    assert!(said.contains("verified") && said.contains("sealed to the passphrase"), "{said}");
    file
}

/// Restores a backup for a server with the same environment otherwise.
fn restored(file: &Path, options: Options) -> Options {
    let data = options.place().join("restored");
    let options = options.elsewhere(&data);
    let said =
        options.clone().env("TERCEL_BACKUP_PASSPHRASE", PASSPHRASE).run(&["restore", file.to_str().unwrap()]).ok();
    assert!(said.contains("tercel resume"), "{said}");
    options
}

#[test]
fn nothing_that_was_accepted_before_a_backup_is_missing_in_it() {
    let server = Server::start(Options::new());
    let sessions: Vec<String> = (0..WORKERS).map(|n| server.session(&format!("worker:{n}"))).collect();
    // Something to copy, so that the backup takes its time.
    for session in &sessions {
        server
            .post(&format!("/api/v1/sessions/{session}/messages"), json!({"content": "x".repeat(1 << 20)}))
            .expect(201);
    }
    let accepted: Arc<Mutex<Vec<(usize, String)>>> = Arc::default();
    let done = AtomicBool::new(false);
    let longest = Mutex::new(Duration::ZERO);
    let (before, file) = std::thread::scope(|scope| {
        for (n, session) in sessions.iter().enumerate() {
            let (server, accepted, done, longest) = (&server, &accepted, &done, &longest);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let made =
                        server.post(&format!("/api/v1/sessions/{session}/messages"), json!({"content": "hello"}));
                    let id = made.expect(201)["message_id"].as_str().unwrap().to_owned();
                    accepted.lock().unwrap().push((n, id));
                    let mut longest = longest.lock().unwrap();
                    *longest = begun.elapsed().max(*longest);
                }
            });
        }
        until("some messages are accepted", || (accepted.lock().unwrap().len() > 200).then_some(()));
        let before = accepted.lock().unwrap().clone();
        let file = backup(&server.options);
        let during = accepted.lock().unwrap().len() - before.len();
        done.store(true, Ordering::Relaxed);
        assert!(during > WORKERS, "only {during} messages were accepted during the backup");
        (before, file)
    });
    let longest = longest.into_inner().unwrap();
    assert!(longest < Duration::from_secs(5), "a client waited {longest:?}");

    let copy = Server::start(restored(&file, server.options.clone()));
    let kept: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let mut ids = Vec::new();
            let mut path = format!("/api/v1/sessions/{session}/messages?limit=500");
            loop {
                let answer = copy.get(&path);
                let rows = answer.expect(200).as_array().unwrap().clone();
                ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
                match answer.header("link").and_then(|link| link.split(['<', '>']).nth(1)) {
                    Some(next) => path = next.to_owned(),
                    None => return ids,
                }
            }
        })
        .collect();
    let missing: Vec<_> = before.iter().filter(|(n, id)| !kept[*n].contains(id)).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), before.len());
}

#[test]
fn a_backup_can_be_made_without_a_server_and_leaves_nothing_behind() {
    let mut server = Server::start(Options::new());
    let session = server.session("a:b");
    server.stop();
    let file = backup(&server.options);
    let left: Vec<String> = fs::read_dir(server.options.data_directory())
        .unwrap()
        .chain(fs::read_dir(server.options.place()).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("backup-") || name.ends_with(".part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        fs::metadata(&file).map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o777).unwrap(),
        0o600
    );
    let copy = Server::start(restored(&file, server.options.clone()));
    assert_eq!(copy.session("a:b"), session);
}

#[test]
fn a_backup_that_is_damaged_or_not_whole_restores_nothing() {
    let server = Server::start(Options::new());
    let whole = fs::read(backup(&server.options)).unwrap();
    let mut changed = whole.clone();
    // More than one byte: where a database is empty, another distance to the zeros before gives the same zeros.
    let middle = whole.len() / 2;
    changed[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
    let cases = [
        ("cut", &whole[..whole.len() * 2 / 3]),
        ("short", &whole[..whole.len() - 4]),
        ("changed", &changed),
        ("empty", &[]),
    ];
    for (name, bytes) in cases {
        let file = server.options.place().join(name);
        fs::write(&file, bytes).unwrap();
        let data = server.options.place().join("never");
        let options = server.options.clone().data(&data).env("TERCEL_BACKUP_PASSPHRASE", PASSPHRASE);
        let said = options.run(&["restore", file.to_str().unwrap()]).failed();
        assert!(said.contains("cannot be used"), "{name}: {said}");
        assert!(!data.exists(), "{name}: something was written");
    }
}

#[test]
fn a_wrong_passphrase_or_a_used_directory_changes_nothing() {
    let server = Server::start(Options::new());
    let file = backup(&server.options);
    let name = file.to_str().unwrap();
    let data = server.options.place().join("other");
    let options = server.options.clone().data(&data);
    let said = options.run(&["restore", name]).failed();
    assert!(said.contains("--passphrase-file") && said.contains("--without-secrets"), "{said}");
    let said = options.clone().env("TERCEL_BACKUP_PASSPHRASE", "another passphrase").run(&["restore", name]).failed();
    assert!(said.contains("passphrase is not the one"), "{said}");
    assert!(!data.exists());

    let right = server.options.clone().env("TERCEL_BACKUP_PASSPHRASE", PASSPHRASE);
    let said = right.run(&["restore", name]).failed();
    assert!(said.contains("empty directory"), "{said}");
    server.get("/ready").expect(200);

    let said = right.data(&data).env("ENCRYPTION_KEY", &"ab".repeat(32)).run(&["restore", name]).failed();
    assert!(said.contains("ENCRYPTION_KEY"), "{said}");
}

#[test]
fn secrets_are_in_a_backup_only_sealed_to_its_passphrase() {
    const TOKEN: &str = "ghp_typed_by_somebody_0123456789";
    let server = Server::start(Options::new());
    let settings = "/api/v1/admin/integrations/github/settings";
    let put = server.put(settings, json!({"settings": {"GITHUB_TOKEN": TOKEN}}));
    assert!(put.status < 300, "{put}");
    let is_set = |server: &Server| {
        let told = server.get(settings).expect(200).to_string();
        told.contains("••••")
    };
    assert!(is_set(&server));

    let file = backup(&server.options);
    let mut packed = String::new();
    let key = fs::read_to_string(server.options.data_directory().join("key")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(&file).unwrap()).read_to_end(&mut bytes).unwrap();
    packed.push_str(&String::from_utf8_lossy(&bytes));
    assert!(packed.contains("argon2id") && packed.contains("sealed:1:"));
    assert!(!packed.contains(key.trim()) && !packed.contains(TOKEN) && !packed.contains(PASSPHRASE));
    let copy = Server::start(restored(&file, server.options.clone()));
    assert!(is_set(&copy), "the secret came with it");
    let doctor = copy.options.run(&["doctor"]).out;
    assert!(doctor.contains("opens all of them"), "{doctor}");
}

fn unpacked(file: &Path) -> String {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(file).unwrap()).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_backup_without_secrets_has_no_sealed_value_and_says_after_the_restore_who_needs_theirs_again() {
    const SECRET: &str = "typed-by-somebody-0123456789";
    let model = FakeModel::start();
    let server = Server::start(Options::new().model(&model).env("TERCEL_OPEN_RUNS", "0"));
    let target = json!({"type": "webhook", "url": "https://receiver.example/x", "secret": SECRET});
    server.put("/api/v1/admin/integrations/github/settings", json!({"settings": {"GITHUB_TOKEN": SECRET}})).expect(200);
    let provider = json!({"id": "claude", "kind": "anthropic", "api_key": SECRET, "models": ["sonnet"]});
    server.post("/api/v1/providers", provider).expect(201);
    let channel = json!({"client_id": "web:team", "dispatch_config": target});
    let channel = server.post("/api/v1/channels", channel).expect(201)["id"].as_str().unwrap().to_owned();
    let binding = json!({"client_id": "github:octo/hello", "dispatch_config": target});
    server.post(&format!("/api/v1/channels/{channel}/bindings"), binding).expect(201);
    let schedule =
        json!({"name": "Round", "prompt": "p", "when": {"kind": "interval", "every": "1h"}, "dispatch_config": target});
    server.post("/api/v1/schedules", schedule).expect(201);
    server.put("/api/v1/notices/target", json!({"dispatch_config": target})).expect(200);
    let session = |client: &str| {
        let body = json!({"client_id": client, "dispatch_config": target});
        server.post("/api/v1/sessions", body).expect(201)["session_id"].as_str().unwrap().to_owned()
    };
    // Shown at its place, and asked: a row of the outbox and a task.
    let asked = json!({"content": "x", "run_agent": true, "dispatch_config": target});
    server.post(&format!("/api/v1/sessions/{}/messages", session("web:alice")), asked).expect(201);

    let whole = unpacked(&backup(&server.options));
    assert!(whole.matches("sealed:1:").count() >= 9, "{}", whole.matches("sealed:1:").count());
    let bare = server.options.place().join("bare.tar.gz");
    let said = server.options.run(&["backup", bare.to_str().unwrap(), "--without-secrets"]).ok();
    assert!(said.contains("have to be entered again"), "{said}");
    let packed = unpacked(&bare);
    assert!(!packed.contains("sealed:1:") && !packed.contains("argon2id") && !packed.contains(SECRET));

    let options = server.options.clone().elsewhere(&server.options.place().join("bare"));
    let said = options.run(&["restore", bare.to_str().unwrap()]).ok();
    for line in [
        "`github`: token",
        "the provider `claude`: its key",
        "the channel `web:team`: its dispatch_config",
        "the binding of `github:octo/hello`: its dispatch_config",
        "the schedule `Round`: its dispatch_config",
        "notices: where they are sent",
        "1 conversations",
        "1 runs",
        "1 answers",
    ] {
        assert!(said.contains(&format!("\n  {line}")), "{line}: {said}");
    }
    let copy = Server::start(options);
    let settings = copy.get("/api/v1/admin/integrations/github/settings").expect(200).to_string();
    assert!(
        !settings.contains("••••") && settings.contains("was left out of the backup; enter it again"),
        "{settings}"
    );
    let doctor = copy.options.run(&["doctor"]).out;
    assert!(doctor.contains("was left out of the backup"), "{doctor}");
    // What would have been signed does not go out without.
    copy.options.run(&["resume", "--yes"]).ok();
    let row = until("it is parked", || {
        copy.list("/api/v1/outbox").into_iter().find(|row| row["state"] == "parked" && row["task_id"].is_null())
    });
    assert!(row["error"]["message"].as_str().unwrap().contains("left out of the backup"), "{row:#}");
}

#[test]
fn a_restore_without_secrets_leaves_out_those_that_are_in_the_backup() {
    let server = Server::start(Options::new());
    let settings = json!({"settings": {"GITHUB_TOKEN": "ghp_typed_by_somebody_0123456789"}});
    server.put("/api/v1/admin/integrations/github/settings", settings).expect(200);
    let file = backup(&server.options);
    let options = server.options.clone().elsewhere(&server.options.place().join("bare"));
    let said = options.run(&["restore", file.to_str().unwrap(), "--without-secrets"]).ok();
    assert!(said.contains("\n  `github`: token\n"), "{said}");
}

#[test]
fn what_is_restored_takes_in_and_sends_nothing_until_somebody_says_so() {
    let world = World::start_with(|options| options.env("TERCEL_OPEN_RUNS", "0"));
    world.model.script(|_| Turn::text("Looks good."));
    let first = world.server.github_task(&events::pull_request("opened", 1));
    let file = backup(&world.server.options);
    let mut server = world.server;
    server.stop();

    let mut copy = Server::start(restored(&file, server.options.clone().without("TERCEL_OPEN_RUNS")));
    let ready = copy.get("/ready").expect(200);
    assert!(ready["held"].as_str().unwrap().contains("restored from a backup"), "{ready}");
    copy.notice("held");
    let doctor = copy.options.run(&["doctor"]).out;
    assert!(doctor.contains("tercel resume"), "{doctor}");
    let metrics = copy.get("/metrics").text();
    assert!(metrics.contains("tercel_held 1"), "{metrics}");
    let second = copy.github_task(&events::pull_request("opened", 2));

    let shown = copy.options.run(&["resume"]);
    assert!(!shown.status.success() && shown.out.contains("Runs that would go on: 2"), "{shown:?}");
    // A start does not let it go either.
    copy.restart();
    assert_eq!(copy.get("/api/v1/held").expect(200)["runs"], 2);
    assert_eq!((world.model.calls(), world.github.posts()), (0, 0));

    let said = copy.options.run(&["resume", "--yes"]).ok();
    assert!(said.contains("goes on"), "{said}");
    for task in [&first, &second] {
        copy.complete(task);
        copy.outbox(task, &["sent"]);
    }
    assert_eq!(world.github.posts(), 2);
    assert!(copy.list("/api/v1/notices?open=true").iter().all(|notice| notice["key"] != "held"));
    copy.restart();
    assert_eq!(copy.get("/api/v1/held").expect(200)["held"], false);
    assert!(copy.options.run(&["resume"]).ok().contains("not held"));
    assert_eq!(world.github.posts(), 2);
}

#[test]
fn an_answer_that_left_after_the_backup_is_not_sent_again() {
    let mut world = World::start();
    world.model.script(|_| Turn::text("Looks good."));
    world.github.shut();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    world.server.outbox(&task, &["pending"]);
    let file = backup(&world.server.options);
    world.github.open();
    world.github.wait_for_comments(1);
    world.server.outbox(&task, &["sent"]);
    world.server.stop();

    let copy = Server::start(restored(&file, world.server.options.clone()));
    let held = copy.get("/api/v1/held").expect(200);
    assert_eq!((&held["answers"], &held["next_answers"][0]["text"]), (&json!(1), &json!("Looks good.")));
    copy.options.run(&["resume", "--yes"]).ok();
    copy.outbox(&task, &["sent"]);
    assert_eq!(world.github.posts(), 1, "it was looked for and found");
}

#[test]
fn a_database_that_is_used_or_of_the_other_engine_is_not_restored_into() {
    let server = Server::start(Options::new());
    let file = backup(&server.options);
    let name = file.to_str().unwrap();
    let data = server.options.place().join("other");
    let bare = server.options.clone().data(&data).env("TERCEL_BACKUP_PASSPHRASE", PASSPHRASE);
    let cases = match Engine::tested() {
        Engine::Sqlite => vec![(bare.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing"), "unset it")],
        Engine::Postgres => {
            let used = Server::start(Options::new());
            let into = used.options.clone().data(&data).env("TERCEL_BACKUP_PASSPHRASE", PASSPHRASE);
            let running = into.run(&["restore", name]).failed();
            assert!(running.contains("Another server"), "{running}");
            drop(used);
            vec![(into, "used already"), (bare.without("DATABASE_URL"), "set DATABASE_URL")]
        }
    };
    for (options, words) in cases {
        let said = options.run(&["restore", name]).failed();
        assert!(said.contains(words), "{said}");
        // Another try finds nothing in its way.
        let left: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "lock" || name == "restore.tmp"), "{left:?}");
    }
}

#[test]
fn a_copy_of_the_directory_of_a_server_that_died_goes_on_held() {
    if !Engine::Sqlite.is_tested() {
        return;
    }
    let (github, model) = (FakeGitHub::start(), FakeModel::start());
    model.script(|_| Turn::text("Looks good."));
    let options = Options::new().github(&github).model(&model);
    let mut server = Server::start(options.clone().env("TERCEL_OPEN_RUNS", "0"));
    let task = server.github_task(&events::pull_request("opened", 1));
    server.kill9();
    let data = options.place().join("copy");
    let copied = Command::new("cp").arg("-a").arg(server.options.data_directory()).arg(&data).status().unwrap();
    assert!(copied.success());
    fs::write(data.join("held"), "").unwrap();

    let copy = Server::start(options.data(&data));
    let told: Value = copy.get("/api/v1/held").expect(200);
    assert_eq!((&told["held"], &told["runs"]), (&json!(true), &json!(1)), "{told}");
    copy.options.run(&["resume", "--yes"]).ok();
    copy.complete(&task);
    github.wait_for_comments(1);
    copy.outbox(&task, &["sent"]);
    assert_eq!(github.posts(), 1);
}

#[test]
fn a_backup_by_the_api_needs_to_be_told_what_becomes_of_secrets() {
    let server = Server::start(Options::new());
    for body in
        [json!({}), json!({"passphrase": "long enough", "without_secrets": true}), json!({"passphrase": "short"})]
    {
        server.post("/api/v1/backup", body).refused(422, "invalid");
    }
    let made = server.post("/api/v1/backup", json!({"without_secrets": true}));
    assert_eq!((made.status, made.header("content-type")), (200, Some("application/gzip")), "{made}");
}
