//! Processes of folders, as whoever looks after a server sees them.

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};
use tercel_tests::{Options, Server, World, until, wait::until_within};

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
    options.env("INTEGRATION_DIRS", root.to_str().unwrap())
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
    test_kill_process(Pid::from_raw(pid.cast_signed()).unwrap()).is_ok()
}

const ASKS: &str = r#"echo "token $CRM_TOKEN"
for try in 1 2; do
    curl -s -o /dev/null -w 'said %{http_code}\n' -H "Authorization: Bearer $AGENT_API_KEY" -H 'Idempotency-Key: one' \
        "$AGENT_SERVER_URL/api/v1/documents" -d '{"title": "From the process", "content": "canary", "integration_id": "crm"}'
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
    assert_eq!(lines, ["token ••••••••", "said 201", "said 201", "keys 403"]);
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
    server.start_again();
    is(&server, "running");
    until("its child has ended", || (!is_alive(child)).then_some(()));
    let off = server.put(&format!("{PATH}/auto-start"), json!({"auto_start": false})).expect(200);
    assert_eq!(off["auto_start"], false);
    server.restart();
    assert_eq!(is(&server, "stopped")["reason"], "It is not started by itself");
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
