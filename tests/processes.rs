//! Processes of folders, as whoever looks after a server sees them.

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    time::Duration,
};
use tercel_tests::{
    Options, Server, World,
    environments::environments,
    until,
    wait::{pause, until_within},
};

/// An environment may have to be made first.
const PREPARING: Duration = Duration::from_secs(240);

/// A folder with a process that is a shell script and needs `CRM_TOKEN`.
fn options(script: &str) -> Options {
    let options = Options::new();
    let root: PathBuf = options.place().join("folders");
    let folder = root.join("crm");
    fs::create_dir_all(&folder).unwrap();
    let declared =
        "DESCRIPTION = \"Listens\"\nCMD = [\"sh\", \"integrations/crm/run.sh\"]\nREQUIRED_ENV = [\"CRM_TOKEN\"]\n";
    fs::write(folder.join("process.py"), declared).unwrap();
    fs::write(folder.join("run.sh"), script).unwrap();
    // Its user gets through to what is its own.
    fs::set_permissions(options.place(), fs::Permissions::from_mode(0o711)).unwrap();
    // One environment for all tests: making it takes a while.
    let shared = environments(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(options.data_directory()).unwrap();
    symlink(shared, options.data_directory().join("envs")).unwrap();
    installing(options.env("INTEGRATION_DIRS", root.to_str().unwrap()))
}

/// What reaching PyPI needs on this machine.
#[expect(clippy::disallowed_methods, reason = "tests run in the environment of whoever starts them")]
fn installing(options: Options) -> Options {
    let is_wanted = |name: &str| ["PIP_", "UV_", "SSL_CERT_"].iter().any(|prefix| name.starts_with(prefix));
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let wanted =
        std::env::vars().filter(|(name, _)| is_wanted(name) || proxies.contains(&name.to_uppercase().as_str()));
    wanted.fold(options, |options, (name, value)| options.env(&name, &value))
}

const PATH: &str = "/api/v1/admin/integrations/crm/process";

fn process(server: &Server) -> Value {
    server.get(PATH).json()
}

/// Waits until it is like that; answers how it is.
fn is(server: &Server, status: &str) -> Value {
    until_within(PREPARING, &format!("the process is {status}"), || {
        Some(process(server)).filter(|process| process["status"] == status)
    })
}

fn said(server: &Server) -> Vec<String> {
    let log = server.get(&format!("{PATH}/logs")).expect(200);
    log["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

fn give_the_token(server: &Server) {
    let settings = json!({"settings": {"CRM_TOKEN": "of-the-tests-0123456789"}});
    server.put("/api/v1/admin/integrations/crm/settings", settings).expect(200);
}

fn is_alive(pid: u32) -> bool {
    // One that has ended and was not waited for is not alive.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

const ASKS: &str = r#"echo "token $CRM_TOKEN"
for try in 1 2; do
    curl -s -o /dev/null -w 'said %{http_code}\n' -H "Authorization: Bearer $AGENT_API_KEY" -H 'Idempotency-Key: one' \
        "$AGENT_SERVER_URL/api/v1/documents" -d '{"title": "From the process", "content": "canary", "integration_id": "crm"}'
done
session=$(curl -s -H "Authorization: Bearer $AGENT_API_KEY" -H 'Content-Type: application/json' "$AGENT_SERVER_URL/api/v1/sessions" \
    -d '{"client_id": "crm:room"}' | tr ',' '\n' | sed -n 's/.*"session_id": *"\([^"]*\)".*/\1/p')
for try in 1 2; do
    curl -s -o /dev/null -w 'injected %{http_code}\n' -H "Authorization: Bearer $AGENT_API_KEY" -H 'Idempotency-Key: two' \
        -H 'Content-Type: application/json' "$AGENT_SERVER_URL/api/v1/sessions/$session/messages" -d '{"content": "from outside"}'
done
curl -s -o /dev/null -w 'keys %{http_code}\n' -H "Authorization: Bearer $AGENT_API_KEY" "$AGENT_SERVER_URL/api/v1/keys"
sleep 600
"#;

#[test]
fn a_setting_starts_it_its_key_acts_as_the_integration_and_what_it_repeats_is_taken_once() {
    let server = Server::start(options(ASKS));
    let waiting = is(&server, "waiting");
    assert_eq!((&waiting["missing"], &waiting["auto_start"]), (&json!(["CRM_TOKEN"]), &json!(true)));
    give_the_token(&server);
    let running = is(&server, "running");
    until("it has asked", || said(&server).iter().any(|line| line.starts_with("keys")).then_some(()));
    let lines = said(&server);
    let expected = ["token ••••••••", "said 201", "said 201", "injected 201", "injected 201", "keys 403"];
    assert_eq!(lines, expected);
    let messages = server.messages(&server.session("crm:room"));
    assert_eq!(messages.len(), 1, "what it repeats is stored once: {messages:#?}");
    assert_eq!(messages[0]["metadata"]["trusted"], false, "whoever wrote it, it was not the operator");
    let found = server.list("/api/v1/documents/search?q=canary");
    assert_eq!(found.len(), 1, "{found:#?}");
    let card = server.get("/api/v1/admin/integrations").expect(200);
    let card = card["integrations"].as_array().unwrap().iter().find(|one| one["id"] == "crm").unwrap().clone();
    assert_eq!((&card["has_process"], &card["process_status"]), (&json!(true), &json!("running")));
    // Paused, switched off, stopped by hand: each for its own reason.
    let pid = running["pid"].as_u64().unwrap() as u32;
    server.post("/api/v1/admin/integrations/crm/pause", json!({})).expect(200);
    assert_eq!(is(&server, "stopped")["reason"], "`crm` is paused");
    assert!(!is_alive(pid));
    server.post("/api/v1/admin/integrations/crm/resume", json!({})).expect(200);
    is(&server, "running");
    server.post(&format!("{PATH}/stop"), json!({})).expect(200);
    assert!(is(&server, "stopped")["reason"].as_str().unwrap().starts_with("It was stopped"));
    server.post(&format!("{PATH}/start"), json!({})).expect(200);
    let before = is(&server, "running")["pid"].clone();
    server.post(&format!("{PATH}/restart"), json!({})).expect(200);
    until("it is another one", || {
        let now = process(&server);
        (now["status"] == "running" && now["pid"] != before).then_some(())
    });
}

#[test]
fn none_outlives_a_server_that_is_killed_and_who_starts_none_by_itself_is_remembered() {
    let mut server =
        Server::start(options("trap '' TERM HUP; (trap '' TERM HUP; sleep 600) & echo $!; wait; sleep 600\n"));
    until_within(PREPARING, "the folder is there", || (process(&server)["status"] == "waiting").then_some(()));
    give_the_token(&server);
    let pid = is(&server, "running")["pid"].as_u64().unwrap() as u32;
    let child = until("its child", || said(&server).first()?.parse::<u32>().ok());
    server.kill9();
    until("the process has ended", || (!is_alive(pid)).then_some(()));
    until("its child has ended, though no server is there", || (!is_alive(child)).then_some(()));
    server.start_again();
    let next = is(&server, "running")["pid"].as_u64().unwrap() as u32;
    assert!(is_alive(next));
    let off = server.put(&format!("{PATH}/auto-start"), json!({"auto_start": false})).expect(200);
    assert_eq!(off["auto_start"], false);
    server.restart();
    until("it is remembered", || (process(&server)["reason"] == "It is not started by itself").then_some(()));
    assert_eq!(process(&server)["status"], "stopped");
}

#[test]
fn the_command_shows_starts_and_stops_it() {
    let mut server = Server::start(options("echo \"here with $CRM_TOKEN\"; sleep 600\n"));
    let says = |server: &Server, what: &str| {
        server.options.run(&["integrations", "process", "crm", what]).ok().trim().to_owned()
    };
    is(&server, "waiting");
    assert_eq!(says(&server, "show"), "The process of `crm` is waiting: CRM_TOKEN must have a value first");
    give_the_token(&server);
    is(&server, "running");
    until("its log", || says(&server, "logs").contains("here with ••••••••").then_some(()));
    says(&server, "stop");
    is(&server, "stopped");
    assert!(says(&server, "show").contains("It was stopped"));
    says(&server, "start");
    let first = is(&server, "running")["pid"].clone();
    says(&server, "restart");
    until("it is another one", || {
        let now = process(&server);
        (now["status"] == "running" && now["pid"] != first).then_some(())
    });
    assert!(says(&server, "manual").ends_with("It is started by hand only"));
    server.restart();
    until("it is remembered", || says(&server, "show").contains("It is not started by itself").then_some(()));
    assert!(!says(&server, "auto").contains("by hand"));
    is(&server, "running");
    let failed = server.options.run(&["integrations", "process", "nobody", "show"]).failed();
    assert!(failed.contains("nobody"), "{failed}");
}

/// Changed together, as an editor does: one start, with both.
#[test]
fn a_change_of_its_folder_starts_it_anew_and_one_that_does_not_load_does_not() {
    let server = Server::start(options("echo one; sleep 600\n"));
    is(&server, "waiting");
    give_the_token(&server);
    let first = is(&server, "running");
    let folder = server.options.place().join("folders/crm");
    fs::write(folder.join("process.py"), "CMD = [\n").unwrap();
    let card = || {
        let all = server.get("/api/v1/admin/integrations").expect(200);
        all["integrations"].as_array().unwrap().iter().find(|one| one["id"] == "crm").unwrap().clone()
    };
    until_within(PREPARING, "the mistake is said", || (card()["status"] == "error").then_some(()));
    assert_eq!(process(&server)["pid"], first["pid"], "what ran goes on");
    fs::write(folder.join("run.sh"), "echo two; sleep 600\n").unwrap();
    let declared = "DESCRIPTION = \"Listens better\"\nCMD = [\"sh\", \"integrations/crm/run.sh\"]\nREQUIRED_ENV = [\"CRM_TOKEN\"]\n";
    fs::write(folder.join("process.py"), declared).unwrap();
    until_within(PREPARING, "another one", || {
        let now = process(&server);
        (now["status"] == "running" && now["pid"] != first["pid"] && now["description"] == "Listens better")
            .then_some(())
    });
    until("it says", || said(&server).contains(&"two".to_owned()).then_some(()));
    assert!(!is_alive(first["pid"].as_u64().unwrap() as u32));
}

#[test]
fn one_that_does_not_stay_is_a_notice_with_its_last_words() {
    let server = Server::start(options("echo \"no door at $CRM_TOKEN\"; exit 7\n"));
    until_within(PREPARING, "the folder is there", || (process(&server)["status"] == "waiting").then_some(()));
    give_the_token(&server);
    let failing = until_within(Duration::from_secs(60), "it is left alone", || {
        Some(process(&server)).filter(|process| process["status"] == "failing")
    });
    assert_eq!((&failing["reason"], &failing["restarts"]), (&json!("It ended with code 7"), &json!(4)));
    let notice = server.notice("process:crm");
    assert_eq!(notice["detail"], "It ended with code 7. The last it said: no door at ••••••••");
}

#[test]
fn a_flood_is_cut_a_changed_setting_starts_it_anew_and_one_that_does_not_hear_is_killed() {
    let script = "trap '' TERM; (trap '' TERM; sleep 600) & echo $!; sleep 2; yes flood | head -c 999996; sleep 5; echo last; sleep 600\n";
    let server = Server::start(options(script));
    until_within(PREPARING, "the folder is there", || (process(&server)["status"] == "waiting").then_some(()));
    give_the_token(&server);
    let first = is(&server, "running")["pid"].as_u64().unwrap() as u32;
    until_within(Duration::from_secs(60), "it has said all", || {
        said(&server).iter().any(|line| line == "last").then_some(())
    });
    let lines = said(&server);
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes are kept");
    let child: u32 = lines[0].parse().unwrap_or_else(|_| panic!("what came before the flood is kept: {}", lines[0]));
    let changed = json!({"settings": {"CRM_TOKEN": "another-of-the-tests-0123456789"}});
    server.put("/api/v1/admin/integrations/crm/settings", changed).expect(200);
    let next = until_within(Duration::from_secs(20), "another one", || {
        let process = process(&server);
        let pid = process["pid"].as_u64()? as u32;
        (process["status"] == "running" && pid != first).then_some(process)
    });
    assert!(!is_alive(first) && !is_alive(child), "it did not hear, and is gone with all that it started");
    assert_eq!(next["restarts"], 0, "that was no crash");
}

#[test]
fn a_file_outside_that_it_watches_starts_it_anew() {
    let options = options("sleep 600\n");
    let shared = options.place().join("shared.txt");
    fs::write(&shared, "one").unwrap();
    let declared = options.place().join("folders/crm/process.py");
    let text = fs::read_to_string(&declared).unwrap() + "WATCH_PATHS = [\"shared.txt\"]\n";
    fs::write(&declared, text).unwrap();
    let server = Server::start(options);
    until_within(PREPARING, "the folder is there", || (process(&server)["status"] == "waiting").then_some(()));
    give_the_token(&server);
    let first = is(&server, "running");
    assert_eq!(first["watch"], json!(["shared.txt"]));
    // Written again and again: the first look at it may come after the first of them.
    let mut text = String::from("two");
    until_within(Duration::from_secs(60), "another one", || {
        text.push('!');
        fs::write(&shared, &text).unwrap();
        pause(Duration::from_secs(6));
        (process(&server)["pid"] != first["pid"]).then_some(())
    });
}

#[test]
fn what_has_no_process_says_so() {
    let world = World::start();
    for (method, path) in [("GET", ""), ("POST", "/start"), ("POST", "/stop"), ("POST", "/restart"), ("GET", "/logs")] {
        let path = format!("/api/v1/admin/integrations/github/process{path}");
        let detail = world.server.call(method, &path, &[], "").refused(404, "not_found");
        assert_eq!(detail, "`github` has no process");
    }
    let nowhere = "/api/v1/admin/integrations/nowhere/process";
    world.server.get(nowhere).refused(404, "not_found");
    world.server.put(&format!("{nowhere}/auto-start"), json!({"auto_start": "yes"})).refused(422, "invalid");
}
