//! A server as users start it, and what tests ask of it.

use crate::{
    Client, Options, until,
    wait::{PATIENCE, pause, until_within},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The bootstrap key of every server under test.
pub const KEY: &str = "tests-are-the-admin-of-this-server";

/// On a machine that has much else to do.
const STARTING: Duration = Duration::from_secs(60);

/// A running server. Requests through it carry the bootstrap key.
pub struct Server {
    pub options: Options,
    client: Client,
    child: Child,
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What a server that did not start left behind.
#[derive(Debug)]
pub struct Failure {
    pub status: ExitStatus,
    pub log: String,
}

impl Server {
    #[track_caller]
    pub fn start(options: Options) -> Self {
        Self::try_start(options).unwrap_or_else(|failure| {
            panic!("the server did not start ({}), it said:\n{}", failure.status, failure.log)
        })
    }

    /// # Errors
    /// When the program ends before it listens.
    #[track_caller]
    pub fn try_start(options: Options) -> Result<Self, Failure> {
        // A server that was killed leaves its address behind.
        let address = options.data.join("address");
        let _ = fs::remove_file(&address);
        let log = File::options().create(true).append(true).open(options.log()).unwrap();
        let mut command = options.command(&["serve"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{:?} cannot be run: {error}", options.program));
        let mut server = Self { options, client: Client { base: String::new(), key: Some(KEY.into()) }, child };
        let start = Instant::now();
        loop {
            if let Some(status) = server.child.try_wait().unwrap() {
                return Err(Failure { status, log: server.log() });
            }
            let written = fs::read_to_string(&address).unwrap_or_default();
            if let Some(place) = written.strip_suffix('\n').or(Some(&written)).filter(|text| text.contains(':')) {
                server.client.base = format!("http://{place}");
                let ready = server.client.try_call("GET", "/ready", &[], "");
                if ready.is_ok_and(|answer| answer.status == 200) {
                    return Ok(server);
                }
            }
            assert!(start.elapsed() < STARTING, "the server was not ready within {STARTING:?}");
            pause(Duration::from_millis(5));
        }
    }

    /// Starts the program without waiting for more than its process: for one that is to die while it starts.
    #[track_caller]
    pub fn until_it_dies(options: Options) -> Failure {
        match Self::try_start(options) {
            Err(failure) => failure,
            Ok(server) => panic!("the server started on {}, which it should not have", server.base),
        }
    }

    /// The same server for a caller with another key.
    pub fn with_key(&self, key: &str) -> Client {
        Client { key: Some(key.into()), ..self.client.clone() }
    }

    pub fn anonymous(&self) -> Client {
        Client { key: None, ..self.client.clone() }
    }

    /// A new key with these scopes, as a client.
    #[track_caller]
    pub fn key(&self, scopes: &[&str]) -> Client {
        let name: String = scopes.join(" ").chars().take(80).collect();
        let made = self.post("/api/v1/keys", json!({"name": name, "scopes": scopes})).expect(201);
        self.with_key(made["key"].as_str().expect("the key is shown once"))
    }

    /// As a power failure of this process alone would.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// As an operator would.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// The same, and waits for a good end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.ask_to_stop();
        let status = self.wait_exit();
        assert!(status.success(), "the server ended with {status} on SIGTERM");
    }

    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until_within(Duration::from_secs(20), "the server ends", || child.try_wait().unwrap())
    }

    /// It does nothing any more, and does not know.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Starts again on the same data directory, after [`Server::kill9`], [`Server::stop`] or a crash.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_again_with(|options| options);
    }

    #[track_caller]
    pub fn start_again_with(&mut self, change: impl FnOnce(Options) -> Options) {
        assert!(self.has_exited(), "the server is still running");
        *self = Self::start(change(self.options.clone()));
    }

    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.options.log()).unwrap_or_default()
    }

    /// The most memory the process had so far, in MiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        // An error means that it is gone already.
        let _ = kill_process(pid, signal);
    }
}

/// What tests ask of a server again and again.
impl Server {
    /// Makes a session, or finds it.
    #[track_caller]
    pub fn session(&self, client_id: &str) -> String {
        let made = self.post("/api/v1/sessions", json!({"client_id": client_id})).expect(201);
        made["session_id"].as_str().unwrap().to_owned()
    }

    /// Sends a message that the agent shall answer; the id of its task.
    #[track_caller]
    pub fn ask(&self, session: &str, content: &str) -> String {
        self.ask_with(session, json!({"content": content}))
    }

    /// The same with more in the body.
    #[track_caller]
    pub fn ask_with(&self, session: &str, mut body: Value) -> String {
        body["run_agent"] = json!(true);
        let made = self.post(&format!("/api/v1/sessions/{session}/messages"), body).expect(201);
        made["task_id"].as_str().unwrap_or_else(|| panic!("no task was made: {made}")).to_owned()
    }

    #[track_caller]
    pub fn task(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/tasks/{id}")).expect(200)
    }

    /// Waits until a task is in one of these states.
    #[track_caller]
    pub fn wait_for(&self, id: &str, states: &[&str]) -> Value {
        let mut last = Value::Null;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            last = self.task(id);
            if states.contains(&last["status"].as_str().unwrap()) {
                return last;
            }
            pause(Duration::from_millis(10));
        }
        panic!("the task did not become {states:?} within {PATIENCE:?}: {last:#}\n{:#}", self.trace(id));
    }

    /// Waits for the end of a task, which must be a good one.
    #[track_caller]
    pub fn complete(&self, id: &str) -> Value {
        let task = self.wait_for(id, &["complete", "failed", "cancelled"]);
        assert_eq!(task["status"], "complete", "{task:#}\n{:#}", self.trace(id));
        task
    }

    #[track_caller]
    pub fn trace(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/tasks/{id}/trace")).expect(200)
    }

    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path);
        let Value::Array(list) = answer.expect(200) else { panic!("not a list: {answer}") };
        list
    }

    #[track_caller]
    pub fn messages(&self, session: &str) -> Vec<Value> {
        self.list(&format!("/api/v1/sessions/{session}/messages"))
    }

    /// Waits for an outbox row of a task in one of these states.
    #[track_caller]
    pub fn outbox(&self, task: &str, states: &[&str]) -> Value {
        let mut last = Vec::new();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            last = self.list("/api/v1/outbox");
            let row =
                last.iter().find(|row| row["task_id"] == task && states.iter().any(|state| row["state"] == *state));
            if let Some(row) = row {
                return row.clone();
            }
            pause(Duration::from_millis(10));
        }
        panic!("no outbox row of the task became {states:?} within {PATIENCE:?}: {last:#?}");
    }

    /// Waits for an open notice whose title, detail or key has that in it.
    #[track_caller]
    pub fn notice(&self, about: &str) -> Value {
        until(&format!("a notice about `{about}`"), || {
            let notices = self.list("/api/v1/notices?open=true");
            notices.into_iter().find(|notice| notice.to_string().to_lowercase().contains(&about.to_lowercase()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(20_000);
            let from = log.ceil_char_boundary(from);
            eprintln!("--- the server's log ---\n{}--- end of the log ---", &log[from..]);
            if let Some(newer) = newer_source(&self.options.program) {
                eprintln!("{:?} is older than {newer:?}: run `make test`", self.options.program);
            }
        }
    }
}

/// A source file that changed after the program was built, by cargo's own list of them.
fn newer_source(program: &Path) -> Option<PathBuf> {
    let built = program.metadata().ok()?.modified().ok()?;
    let list = fs::read_to_string(program.with_file_name("tercel.d")).ok()?;
    let (_, sources) = list.split_once(": ")?;
    let mut sources = sources.split_whitespace().map(PathBuf::from);
    sources.find(|source| source.metadata().and_then(|data| data.modified()).is_ok_and(|changed| changed > built))
}
