//! Secrets planted wherever one can stand are nowhere to be seen: not in answers, logs, prompts, files, backups, nor in the
//! processes of others.

use crate::world::{World, loads, put, root};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};
use tercel_tests::{FakeGitHub, Options, Receiver, Turn, until};

const OF_FORGE: &str = "canary-of-forge-0123456789";
const OF_VAULT: &str = "canary-of-vault-0123456789";
const OF_GITHUB: &str = "ghp_canary-of-github-0123456789";
const OF_WORK: &str = "ghp_canary-of-work-0123456789";
const DRAFT: &str = "ghp_canary-of-a-draft-0123456789";
const WEBHOOK: [&str; 2] = ["canary-webhook-one-0123456789", "canary-webhook-two-0123456789"];
const PROVIDER: &str = "sk-canary-of-a-provider-0123456789";
const HEADER: &str = "canary-of-a-header-0123456789";
const PASSPHRASE: &str = "canary of the passphrase 0123456789";
/// Of targets: of a session, a message, a channel, a binding, a schedule, notices.
const TARGETS: [&str; 6] = [
    "canary-target-session-0123456789",
    "canary-target-message-0123456789",
    "canary-target-channel-0123456789",
    "canary-target-binding-0123456789",
    "canary-target-schedule-0123456789",
    "canary-target-notices-0123456789",
];

fn canaries() -> Vec<&'static str> {
    let all = [OF_FORGE, OF_VAULT, OF_GITHUB, OF_WORK, DRAFT, PROVIDER, HEADER, PASSPHRASE, tercel_tests::server::KEY];
    all.into_iter().chain(WEBHOOK).chain(TARGETS).collect()
}

#[track_caller]
fn is_clean(what: &str, text: &[u8]) {
    for canary in canaries() {
        if let Some(at) = text.windows(canary.len()).position(|window| window == canary.as_bytes()) {
            let near = String::from_utf8_lossy(&text[at.saturating_sub(200)..(at + 80).min(text.len())]).into_owned();
            panic!("`{canary}` is in {what}: {near}");
        }
    }
}

const VAULT: &[(&str, &str)] = &[
    ("setup.py", "SETUP = {'env_vars': [{'key': 'VAULT_TOKEN', 'required': True, 'secret': True}]}\n"),
    (
        "tools/open.py",
        r#"
import os
from integrations._register import register


@register({"type": "function", "function": {"name": "vault_open", "description": "Opens", "parameters": {"type": "object", "properties": {}}}})
def vault_open():
    print("opened with", os.environ["VAULT_TOKEN"])
    return f"opened with {os.environ['VAULT_TOKEN']}"
"#,
    ),
];

struct Planted {
    world: World,
    github: FakeGitHub,
    receiver: Receiver,
    file: PathBuf,
    /// What the calls that planted them were answered.
    told: String,
}

fn planted() -> Planted {
    let (github, receiver) = (FakeGitHub::start(), Receiver::start());
    let mut file = PathBuf::new();
    let prepare = |options: &Options| {
        put(&root(options), "vault", VAULT);
        let directory = options.place().join("config/integrations");
        fs::create_dir_all(&directory).unwrap();
        file = directory.join("forge.yaml");
        fs::write(&file, format!("token: {OF_FORGE}\n")).unwrap();
    };
    let world = World::start_with(prepare, |options| {
        let options = options.github(&github).allow_loopback().env("GITHUB_TOKEN", OF_GITHUB);
        options.env("GITHUB_WEBHOOK_SECRET", WEBHOOK[0]).env("TERCEL_BACKUP_PASSPHRASE", PASSPHRASE)
    });
    loads(&world.server, "vault");
    let mut planted = Planted { world, github, receiver, file, told: String::new() };
    planted.plant();
    planted
}

impl Planted {
    fn tell(&mut self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.world.server.call(method, path, &[("content-type", "application/json")], body.to_string());
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer}");
        self.told += &answer.text();
        if answer.text().is_empty() { Value::Null } else { answer.json() }
    }

    fn target(&self, canary: &str) -> Value {
        json!({"type": "webhook", "url": self.receiver.url(), "token": canary, "deep": {"password": [canary]}})
    }

    fn plant(&mut self) {
        let admin = "/api/v1/admin/integrations";
        self.tell("PUT", &format!("{admin}/vault/settings"), json!({"settings": {"VAULT_TOKEN": OF_VAULT}}));
        let work = format!("{admin}/github/connections/work");
        let values = json!({"token": OF_WORK, "webhook_secret": WEBHOOK[0], "api_url": self.github.url()});
        assert_eq!(self.tell("POST", &format!("{work}/connect"), values)["saved"], true);
        self.tell("POST", &format!("{work}/rotate"), json!({"field": "webhook_secret", "value": WEBHOOK[1]}));
        self.github.quotes(&format!(" You sent {DRAFT}, {OF_WORK} or {OF_GITHUB}."));
        self.tell("POST", &format!("{work}/test"), json!({"token": DRAFT}));
        self.tell("POST", &format!("{work}/test"), json!({}));
        self.tell(
            "POST",
            "/api/v1/providers",
            json!({"id": "other", "kind": "openai", "base_url": self.receiver.url(), "api_key": PROVIDER}),
        );
        self.tell("PUT", "/api/v1/bots/default", json!({"id": "default", "tools": ["*"]}));
        let [_, _, channel, binding, schedule, notices] = TARGETS.map(|canary| self.target(canary));
        let made = self.tell("POST", "/api/v1/channels", json!({"client_id": "web:room", "dispatch_config": channel}));
        let path = format!("/api/v1/channels/{}/bindings", made["id"].as_str().unwrap());
        self.tell("POST", &path, json!({"client_id": "web:other", "dispatch_config": binding}));
        let yearly = json!({"name": "Yearly", "when": {"kind": "cron", "cron": "0 0 1 1 *"}, "prompt": "hello", "dispatch_config": schedule});
        self.tell("POST", "/api/v1/schedules", yearly);
        self.tell("PUT", "/api/v1/notices/target", json!({"dispatch_config": notices}));
        let session = json!({"client_id": "web:alice", "dispatch_config": self.target(TARGETS[0])});
        self.tell("POST", "/api/v1/sessions", session);
    }

    /// Runs whose tools say their secrets, answers that fail with them, events that bring them.
    fn use_them(&mut self) {
        self.world.model.script(|asked| match asked.results().len() {
            0 => Turn::Calls(vec![("vault_open".into(), json!({})), ("forge_note".into(), json!({"text": "a"}))]),
            _ => Turn::Text(format!("I read: {}", asked.results().join("\n"))),
        });
        self.receiver.quotes(TARGETS[0]);
        self.receiver.answers(&[422]);
        let session = self.world.server.session("web:alice");
        let task = self.world.server.ask(&session, "hello");
        let result = self.world.server.complete(&task)["result"].as_str().unwrap().to_owned();
        assert!(result.contains("opened with ••••••••") && result.contains("noted a with ••••••••"), "{result}");
        let own = json!({"content": "hello", "run_agent": true, "dispatch_config": self.target(TARGETS[1])});
        let said = self.tell("POST", &format!("/api/v1/sessions/{session}/messages"), own);
        self.world.server.complete(said["task_id"].as_str().unwrap());
        let authorization = format!("Bearer {HEADER}");
        self.world.event(&[("authorization", &authorization)], json!({"text": "hello"})).accepted();
        self.world.delivery("processed");
        until("what is due has left", || {
            let rows = self.world.server.list("/api/v1/outbox");
            rows.iter().all(|row| !["pending", "sending"].contains(&row["state"].as_str().unwrap())).then_some(())
        });
    }
}

/// Everything that can be read by the interface, as its own description lists it.
fn answers(planted: &Planted) -> String {
    let server = &planted.world.server;
    let described = server.get("/openapi.json").expect(200);
    let mut told = String::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let streams = ["/chat/stream", "/integrations/{id}"].iter().any(|start| path.starts_with(start));
        if methods.get("get").is_none() || streams {
            continue;
        }
        for path in filled(server, path) {
            told += &server.get(&path).text();
        }
    }
    told
}

/// The path with ids that there are in the place of its names.
fn filled(server: &tercel_tests::Server, path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (name, after) = rest.split_once('}').unwrap();
    let list = before.trim_end_matches('/');
    let ids: Vec<String> = match (list, name) {
        ("/api/v1/admin/integrations", _) => ["forge", "vault", "github"].map(str::to_owned).into(),
        (_, "name") if list.ends_with("/connections") => vec!["default".into(), "work".into()],
        ("/v1/models", _) => vec!["default".into()],
        _ => {
            let rows = server.get(list).json();
            let rows = rows.as_array().cloned().unwrap_or_default();
            rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
        }
    };
    ids.iter().flat_map(|id| filled(server, &format!("{before}{id}{after}"))).collect()
}

fn every_file(directory: &Path, look: &mut impl FnMut(&Path, Vec<u8>)) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            // Environments are shared by all tests.
            kind if kind.is_dir() && entry.file_name() != "envs" => every_file(&entry.path(), look),
            kind if kind.is_file() => look(&entry.path(), fs::read(entry.path()).unwrap_or_default()),
            _ => {}
        }
    }
}

#[test]
fn a_secret_that_is_planted_anywhere_is_seen_nowhere() {
    let mut planted = planted();
    until("the file is taken over", || (!fs::read_to_string(&planted.file).unwrap().contains(OF_FORGE)).then_some(()));
    loads(&planted.world.server, "forge");
    // What their settings ended is over when they say that they have them.
    for (tool, arguments) in [("vault_open", json!({})), ("forge_note", json!({"text": "ready"}))] {
        until(&format!("{tool} has its token"), || {
            let path = format!("/api/v1/tools/{tool}/call");
            let said = planted.world.server.post(&path, json!({"arguments": arguments})).json();
            said["result"].as_str()?.contains("with ••••••••").then_some(())
        });
    }
    planted.use_them();

    let told = answers(&planted);
    assert!(told.len() > 50_000 && told.contains("••••••••"), "this looks at nothing: {}", told.len());
    is_clean("an answer", told.as_bytes());
    is_clean("an answer to who planted it", planted.told.as_bytes());
    let server = &planted.world.server;
    is_clean("the log", server.log().as_bytes());
    for asked in planted.world.model.asked() {
        is_clean("a prompt", asked.0.to_string().as_bytes());
    }
    for request in planted.world.service.received().iter().chain(&planted.receiver.received()) {
        is_clean("what was sent", &request.body);
    }
    for request in planted.github.requests() {
        is_clean("what GitHub was told", &request.body);
        is_clean("what GitHub was told", format!("{} {:?}", request.path, request.query).as_bytes());
    }
    is_clean("the connection file", &fs::read(&planted.file).unwrap());

    let environment = |id: &str| {
        let pid = until(&format!("{id} has a process"), || crate::world::card(server, id)["worker"]["pid"].as_u64());
        String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).unwrap()).into_owned()
    };
    for (id, own) in [("forge", OF_FORGE), ("vault", OF_VAULT)] {
        let environment = environment(id);
        assert!(environment.contains(own), "{id} has its own");
        is_clean(&format!("the environment of {id}"), environment.replace(own, "").as_bytes());
    }

    for arguments in [&["--without-secrets"][..], &[]] {
        let file = server.options.place().join(format!("backup-{}", arguments.len()));
        let arguments: Vec<&str> =
            ["backup", file.to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
        server.options.run(&arguments).ok();
        let mut unpacked = Vec::new();
        GzDecoder::new(fs::File::open(&file).unwrap()).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked.len() > 10_000);
        is_clean("a backup", &unpacked);
    }
    for arguments in
        [&["doctor"][..], &["integrations", "list"], &["keys", "list"], &["logs", "vault"], &["logs", "github"]]
    {
        let said = server.options.run(arguments);
        is_clean("what a command says", (said.out + &said.err).as_bytes());
    }
    is_clean("what is stored", server.options.stored().as_bytes());
    let data = server.options.data_directory().to_owned();
    let check = || every_file(&data, &mut |path, bytes| is_clean(&path.display().to_string(), &bytes));
    check();
    planted.world.server.stop();
    check();
    is_clean("the log", planted.world.server.log().as_bytes());
}
