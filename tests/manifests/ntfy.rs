//! The shipped manifest for phones against the real server that it is for.

use crate::{real::target, world::card};
use serde_json::{Value, json};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tercel_tests::{
    FakeModel, Options, RUNTIME, Server, Turn,
    loopback::{Loopback, Reply},
    until,
};
use tokio::sync::Mutex;

/// A server that lets nobody in but `alice`, who may read and write `alerts`.
struct Ntfy {
    place: tempfile::TempDir,
    process: Child,
    /// What everybody asks it by.
    door: Loopback,
    token: String,
}

fn program() -> PathBuf {
    let program = target().join("ntfy/usr/bin/ntfy");
    assert!(program.is_file(), "{program:?} is not there: `make test` fetches it and runs the tests");
    program
}

impl Ntfy {
    fn start(more: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let here = place.path().display();
        let settings = format!(
            "base-url: \"http://127.0.0.1:{port}\"\nlisten-http: \"127.0.0.1:{port}\"\ncache-file: \"{here}/cache.db\"\n\
             auth-file: \"{here}/auth.db\"\nauth-default-access: \"deny-all\"\nmessage-size-limit: \"4K\"\n{more}"
        );
        fs::write(place.path().join("server.yml"), settings).unwrap();
        let log = fs::File::create(place.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command.args(["serve", "--config"]).arg(place.path().join("server.yml")).env_clear();
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        until("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        let door = door(format!("http://127.0.0.1:{port}"), false);
        let mut ntfy = Self { place, process, door, token: String::new() };
        ntfy.run("user", &["add", "alice"]);
        ntfy.run("access", &["alice", "alerts", "rw"]);
        let said = ntfy.run("token", &["add", "alice"]);
        let token = said.split_whitespace().find(|word| word.starts_with("tk_")).unwrap_or_else(|| panic!("{said}"));
        ntfy.token = token.to_owned();
        ntfy
    }

    fn run(&self, command: &str, arguments: &[&str]) -> String {
        let settings = self.place.path().join("server.yml");
        let output = Command::new(program())
            .args([command, "--config"])
            .arg(settings)
            .args(arguments)
            .env_clear()
            .env("NTFY_PASSWORD", "of-the-tests")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    }

    fn url(&self) -> String {
        self.door.url()
    }

    /// What it has of the topic, the oldest first.
    fn messages(&self) -> Vec<Value> {
        self.try_messages().expect("it lets alice read")
    }

    fn try_messages(&self) -> Option<Vec<Value>> {
        let answer = RUNTIME.block_on(async {
            let request = reqwest::Client::new().get(format!("{}/alerts/json?poll=1", self.url()));
            let answer = request.bearer_auth(&self.token).send().await.unwrap();
            (answer.status() == 200).then_some(answer.text().await.unwrap())
        });
        Some(answer?.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn options(&self) -> Options {
        Options::new().env("NTFY_URL", &self.url()).env("NTFY_TOPIC", "alerts").env("NTFY_TOKEN", &self.token)
    }
}

impl Drop for Ntfy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In front of a server: passes everything on, and loses the first answer to a post when it is told to.
///
/// One request at a time: of two that come at once, ntfy 2.11 refuses one in some hundred with 403, whoever asks.
fn door(url: String, loses: bool) -> Loopback {
    let (turn, loses) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(loses)));
    Loopback::start(move |request| {
        let (url, turn, loses) = (url.clone(), turn.clone(), loses.clone());
        async move {
            let _turn = turn.lock().await;
            let query: Vec<(String, String)> = request.query.clone().into_iter().collect();
            let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap();
            let passed = reqwest::Client::new()
                .request(method, format!("{url}{}", request.path))
                .query(&query)
                .header("authorization", request.header("authorization"))
                .body(request.body.clone())
                .send()
                .await
                .unwrap();
            let kind = passed.headers()["content-type"].to_str().unwrap().to_owned();
            let (status, body) = (passed.status().as_u16(), passed.bytes().await.unwrap());
            if request.method == "POST" && loses.swap(false, Ordering::Relaxed) {
                return Reply::Close;
            }
            Reply::text(status, &[("content-type", kind.as_str())], body)
        }
    })
}

fn say(server: &Server, model: &FakeModel, text: &str, target: Value) -> String {
    let text = text.to_owned();
    model.script(move |_| Turn::text(&text));
    let session = server.session("web:alice");
    server.ask_with(&session, json!({"content": "How is it?", "dispatch_config": target, "notify": false}))
}

#[test]
fn what_an_agent_answers_is_there_as_it_is() {
    let (ntfy, model) = (Ntfy::start(""), FakeModel::start());
    let server = Server::start(ntfy.options().model(&model));
    assert_eq!(card(&server, "ntfy")["status"], "ready");
    let tested = server.post("/api/v1/admin/integrations/ntfy/connection/test", json!({})).expect(200);
    assert_eq!((&tested["ok"], &tested["account"]), (&json!(true), &json!("alerts")), "{tested:#}");
    let text = "The \"door\" is\nopen — {{ fields.token }} {% raw %} 🎉\r\nX-Title: no";
    let task = say(&server, &model, text, json!({"type": "ntfy", "priority": 5}));
    let sent = server.outbox(&task, &["sent"]);
    let there = ntfy.messages();
    assert_eq!(there.len(), 1, "{there:#?}");
    assert_eq!(
        (&there[0]["message"], &there[0]["priority"], &there[0]["title"], &there[0]["id"]),
        (&json!(text), &json!(5), &json!("Default"), &sent["receipt"]["id"])
    );
}

#[test]
fn a_long_answer_comes_whole_and_in_order_whatever_it_is_written_in() {
    let (ntfy, model) = (Ntfy::start(""), FakeModel::start());
    let server = Server::start(ntfy.options().model(&model));
    // Three bytes each: counted in characters, a part of them would not be taken.
    let text = (0..900).map(|number| format!("第{number}行")).collect::<Vec<_>>().join(" ");
    let task = say(&server, &model, &text, json!({"type": "ntfy"}));
    server.outbox(&task, &["sent"]);
    until("all of it is there", || {
        let words: Vec<String> =
            ntfy.messages().iter().map(|one| one["message"].as_str().unwrap().to_owned()).collect();
        (words.len() > 1 && words.join(" ") == text).then_some(())
    });
}

#[test]
fn what_it_says_no_with_is_passed_on() {
    let ntfy = Ntfy::start("");
    let server = Server::start(ntfy.options());
    let test = |values| server.post("/api/v1/admin/integrations/ntfy/connection/test", values).expect(200);
    let wrong = test(json!({"token": "tk_wrong00000000000000000000000"}));
    assert_eq!((&wrong["ok"], &wrong["code"]), (&json!(false), &json!("auth")), "{wrong:#}");
    let other = test(json!({"topic": "others"}));
    assert_eq!((&other["ok"], &other["code"]), (&json!(false), &json!("forbidden")), "{other:#}");
    assert!(other["hint"].as_str().unwrap().contains("to read and to write"), "{other:#}");
    let model = FakeModel::start();
    let server = Server::start(ntfy.options().model(&model));
    let task = say(&server, &model, "hello", json!({"type": "ntfy", "topic": "others"}));
    let dead = server.outbox(&task, &["dead"]);
    assert!(dead["error"]["message"].as_str().unwrap().contains("40301"), "{dead:#}");
    assert_eq!(ntfy.messages(), [] as [Value; 0]);
}

#[test]
fn its_own_limit_is_waited_for() {
    let (ntfy, model) =
        (Ntfy::start("visitor-request-limit-burst: 3\nvisitor-request-limit-replenish: \"1s\"\n"), FakeModel::start());
    let server = Server::start(ntfy.options().model(&model));
    model.script(|_| Turn::text("Yes."));
    let session = server.session("web:alice");
    let tasks: Vec<String> = (0..6)
        .map(|_| {
            server.ask_with(&session, json!({"content": "And?", "dispatch_config": {"type": "ntfy"}, "notify": false}))
        })
        .collect();
    for task in &tasks {
        server.outbox(task, &["sent"]);
    }
    until("it lets somebody look", || (ntfy.try_messages()?.len() == 6).then_some(()));
}

#[test]
fn a_message_whose_acknowledgement_was_lost_is_found_and_not_sent_again() {
    let (ntfy, model) = (Ntfy::start(""), FakeModel::start());
    let between = door(ntfy.url(), true);
    let server = Server::start(ntfy.options().env("NTFY_URL", &between.url()).model(&model));
    let task = say(&server, &model, "  The door is open.  ", json!({"type": "ntfy"}));
    let sent = server.outbox(&task, &["sent"]);
    let there = ntfy.messages();
    assert_eq!(there.len(), 1, "{there:#?}");
    assert_eq!(sent["receipt"]["id"], there[0]["id"], "{sent:#}");
}
