//! What is asked of a server that dies, and what must have come of it.

use crate::Story;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tercel_tests::{
    Asked, Event, FakeGitHub, Server, Turn,
    events::{self, REPOSITORY},
    github::{Comment, reads_pull_request},
};

const ANSWER: &str = "Looks good.";

/// A webhook that is sent until it is taken, a run with a tool, a comment.
pub struct Webhook(Event);

impl Webhook {
    pub fn new() -> Self {
        Self(events::pull_request("opened", 1))
    }
}

impl Story for Webhook {
    fn model(asked: &Asked) -> Turn {
        match asked.results().as_slice() {
            [] => reads_pull_request(1),
            _ => Turn::text(ANSWER),
        }
    }

    fn ask(&mut self, server: &Server) -> Option<()> {
        // GitHub's own redelivery, or an operator's: the same request again.
        send(server, &self.0)
    }

    fn check(&self, server: &Server, github: &FakeGitHub, place: &str) {
        let comments = github.comments();
        is_a_duplicate(server, &self.0, place);
        let task = one_task(server, place);
        assert_eq!(task["result"], ANSWER, "{place}: {task:#}");
        assert_eq!(said(server, &task), ["user", "assistant"], "{place}");
        assert_eq!(comments.len(), 1, "{place}: {comments:#?}");
        assert!(comments[0].body.starts_with(ANSWER), "{place}: {comments:#?}");
        are_receipts(server, &comments, place);
    }
}

/// A message by the API under a key, shown at its target and answered there.
pub struct Message {
    session: Option<String>,
    made: Value,
}

impl Message {
    pub fn new() -> Self {
        Self { session: None, made: Value::Null }
    }

    fn post(server: &Server, session: &str) -> Option<Value> {
        let target = json!({"type": "github", "repo": REPOSITORY, "number": 4});
        let body = json!({"content": "How is it?", "run_agent": true, "dispatch_config": target});
        try_post(server, &format!("/api/v1/sessions/{session}/messages"), "the-only-one", body)
    }
}

impl Story for Message {
    fn model(_: &Asked) -> Turn {
        Turn::text(ANSWER)
    }

    fn ask(&mut self, server: &Server) -> Option<()> {
        if self.session.is_none() {
            self.session = Some(try_session(server, "web:alice")?);
        }
        self.made = Self::post(server, self.session.as_deref()?)?;
        Some(())
    }

    fn check(&self, server: &Server, github: &FakeGitHub, place: &str) {
        let comments = github.comments();
        let session = self.session.as_deref().unwrap();
        assert_eq!(Self::post(server, session).as_ref(), Some(&self.made), "{place}: the same key, the same message");
        let task = one_task(server, place);
        assert_eq!((&task["id"], &task["result"]), (&self.made["task_id"], &json!(ANSWER)), "{place}: {task:#}");
        assert_eq!(said(server, &task), ["user", "assistant"], "{place}");
        let bodies: Vec<&str> = comments.iter().filter_map(|comment| comment.body.lines().next()).collect();
        assert_eq!(bodies, ["[api] How is it?", ANSWER], "{place}");
        are_receipts(server, &comments, place);
    }
}

/// An answer that becomes a message of another session, which is answered in its turn.
pub struct Internal {
    sessions: Option<(String, String)>,
}

impl Internal {
    pub fn new() -> Self {
        Self { sessions: None }
    }
}

impl Story for Internal {
    fn model(asked: &Asked) -> Turn {
        Turn::text(if asked.question().contains("How is it?") { ANSWER } else { "Good to know." })
    }

    fn ask(&mut self, server: &Server) -> Option<()> {
        if self.sessions.is_none() {
            self.sessions = Some((try_session(server, "web:alice")?, try_session(server, "web:bob")?));
        }
        let (from, to) = self.sessions.as_ref()?;
        let target = json!({"type": "internal", "session_id": to, "run_agent": true});
        let body = json!({"content": "How is it?", "run_agent": true, "dispatch_config": target});
        try_post(server, &format!("/api/v1/sessions/{from}/messages"), "the-only-one", body).map(drop)
    }

    fn check(&self, server: &Server, _: &FakeGitHub, place: &str) {
        let (from, to) = self.sessions.as_ref().unwrap();
        let talk = |session: &str| -> Vec<(String, String)> {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            server.messages(session).iter().map(|said| (text(&said["role"]), text(&said["content"]))).collect()
        };
        let said = |role: &str, text: &str| (role.to_owned(), text.to_owned());
        assert_eq!(talk(from), [said("user", "How is it?"), said("assistant", ANSWER)], "{place}");
        assert_eq!(talk(to), [said("user", ANSWER), said("assistant", "Good to know.")], "{place}");
        assert_eq!(server.list("/api/v1/tasks").len(), 2, "{place}");
        let rows = server.list("/api/v1/outbox");
        let arrived = server.messages(to)[0]["id"].clone();
        assert_eq!((rows.len(), &rows[0]["receipt"]["id"]), (1, &arrived), "{place}: {rows:#?}");
    }
}

/// An answer that is longer than a comment may be.
pub struct Parts(Event);

const LINES: usize = 6_000;

impl Parts {
    pub fn new() -> Self {
        Self(events::pull_request("opened", 1))
    }
}

impl Story for Parts {
    fn model(_: &Asked) -> Turn {
        Turn::Text((0..LINES).map(|n| format!("Line {n:05} of a long answer\n")).collect())
    }

    fn ask(&mut self, server: &Server) -> Option<()> {
        send(server, &self.0)
    }

    fn check(&self, server: &Server, github: &FakeGitHub, place: &str) {
        let comments = github.comments();
        is_a_duplicate(server, &self.0, place);
        let task = one_task(server, place);
        assert_eq!(said(server, &task), ["user", "assistant"], "{place}");
        assert_eq!(comments.len(), 3, "{place}: {} comments", comments.len());
        let lines = comments.iter().flat_map(|comment| comment.body.lines()).filter_map(|line| line.get(5..10));
        let numbers: Vec<usize> = lines.filter_map(|number| number.parse().ok()).collect();
        assert_eq!(numbers, (0..LINES).collect::<Vec<_>>(), "{place}: a part is missing, doubled or out of order");
        are_receipts(server, &comments, place);
    }
}

/// An answer that is shown while the model writes it.
pub struct Growing {
    session: Option<String>,
}

impl Growing {
    pub fn new() -> Self {
        Self { session: None }
    }
}

impl Story for Growing {
    fn model(_: &Asked) -> Turn {
        Turn::paced(&["Looks", " rather", " good."], std::time::Duration::from_millis(1_100))
    }

    fn ask(&mut self, server: &Server) -> Option<()> {
        if self.session.is_none() {
            self.session = Some(try_session(server, "web:alice")?);
        }
        let target = json!({"type": "github", "repo": REPOSITORY, "number": 4, "stream": true});
        let body = json!({"content": "How is it?", "run_agent": true, "notify": false, "dispatch_config": target});
        let path = format!("/api/v1/sessions/{}/messages", self.session.as_deref()?);
        try_post(server, &path, "the-only-one", body).map(drop)
    }

    fn check(&self, server: &Server, github: &FakeGitHub, place: &str) {
        let comments = github.comments();
        let task = one_task(server, place);
        assert_eq!(task["result"], "Looks rather good.", "{place}: {task:#}");
        assert_eq!(said(server, &task), ["user", "assistant"], "{place}");
        assert_eq!(comments.len(), 1, "{place}: {comments:#?}");
        assert_eq!(comments[0].body.lines().next(), Some("Looks rather good."), "{place}: {comments:#?}");
        let rows = server.list("/api/v1/outbox");
        let answer: Vec<&Value> = rows.iter().filter(|row| row["part"] == 1).collect();
        assert_eq!(answer.len(), 1, "{place}: {rows:#?}");
        assert_eq!(answer[0]["receipt"]["id"], comments[0].id.to_string(), "{place}: {rows:#?}");
    }
}

/// A call of a tool that the client has, which its client answers until somebody says that the answer is kept.
pub struct Client {
    session: Option<String>,
}

impl Client {
    pub fn new() -> Self {
        Self { session: None }
    }
}

impl Story for Client {
    fn model(asked: &Asked) -> Turn {
        match asked.results().as_slice() {
            [] => Turn::call("locate", json!({})),
            results => Turn::text(&format!("{ANSWER} {}", results.concat())),
        }
    }

    fn ask(&mut self, server: &Server) -> Option<()> {
        if self.session.is_none() {
            let target = json!({"type": "github", "repo": REPOSITORY, "number": 4});
            let place = json!({"client_id": "web:alice", "dispatch_config": target});
            let made = try_post(server, "/api/v1/sessions", "web:alice", place)?;
            self.session = Some(made["session_id"].as_str().unwrap().to_owned());
        }
        let tasks = || -> Option<Vec<Value>> {
            let answer = server.try_call("GET", "/api/v1/tasks", &[], "").ok()?;
            serde_json::from_slice(&answer.body).ok()
        };
        if tasks()?.is_empty() {
            let tools = json!([{"name": "locate"}]);
            let body = json!({"message": "Where am I?", "session_id": self.session, "client_tools": tools}).to_string();
            let client: tercel_tests::Client = (**server).clone();
            // It is answered when the run is over, which it is after the answer below.
            std::thread::spawn(move || {
                let headers = [("content-type", "application/json"), ("idempotency-key", "the-only-one")];
                client.try_call("POST", "/chat/stream", &headers, body).map(drop)
            });
            for _ in 0..200 {
                if !tasks()?.is_empty() {
                    break;
                }
                tercel_tests::wait::pause(std::time::Duration::from_millis(10));
            }
        }
        let tasks = tasks()?;
        let task = tasks.first().filter(|task| task["status"] != "pending" && task["status"] != "running")?;
        let answer = json!({"task_id": task["id"], "call_id": "call_0", "result": "In Bern"}).to_string();
        let headers = [("content-type", "application/json")];
        let taken = server.try_call("POST", "/chat/tool_result", &headers, answer).ok()?;
        (taken.status == 200).then_some(())
    }

    fn check(&self, server: &Server, github: &FakeGitHub, place: &str) {
        let comments = github.comments();
        let task = one_task(server, place);
        let result = task["result"].as_str().unwrap_or_default();
        assert!(result.starts_with(ANSWER) && result.contains("In Bern"), "{place}: {task:#}");
        assert_eq!(said(server, &task), ["user", "assistant"], "{place}");
        let trace = server.trace(task["id"].as_str().unwrap());
        let results = trace["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == "tool").count();
        assert_eq!((results, comments.len()), (1, 1), "{place}: {trace:#}");
        are_receipts(server, &comments, place);
    }
}

/// How each life ended: issues that there are, and whether the model was told that nobody knows.
pub type Ends = Arc<Mutex<Vec<(usize, bool)>>>;

/// A tool that writes, called by a run that nobody but trusted people had a say in.
pub struct Writing {
    session: Option<String>,
    ends: Ends,
}

impl Writing {
    pub fn new(ends: &Ends) -> Self {
        Self { session: None, ends: ends.clone() }
    }
}

impl Story for Writing {
    fn model(asked: &Asked) -> Turn {
        match asked.results().as_slice() {
            [] => Turn::call("github_create_issue", json!({"repo": REPOSITORY, "title": "Too quiet", "body": "Hm."})),
            results => Turn::text(&format!("{ANSWER} {}", results.concat())),
        }
    }

    fn ask(&mut self, server: &Server) -> Option<()> {
        if self.session.is_none() {
            self.session = Some(try_session(server, "web:alice")?);
        }
        let body = json!({
            "content": "Open an issue",
            "run_agent": true,
            "notify": false,
            "execution_config": {"tools": ["github_create_issue"]},
            "dispatch_config": {"type": "github", "repo": REPOSITORY, "number": 4},
        });
        let path = format!("/api/v1/sessions/{}/messages", self.session.as_deref()?);
        try_post(server, &path, "the-only-one", body).map(drop)
    }

    fn check(&self, server: &Server, github: &FakeGitHub, place: &str) {
        let (comments, issues) = (github.comments(), github.created());
        let task = one_task(server, place);
        let result = task["result"].as_str().unwrap_or_default();
        assert!(result.starts_with(ANSWER), "{place}: {task:#}");
        assert!(issues.len() <= 1, "{place}: {issues:#?}");
        let is_unknown = result.contains("outcome unknown");
        let is_told = issues.first().is_some_and(|issue| result.contains(issue["html_url"].as_str().unwrap()));
        assert!(is_unknown || is_told, "{place}: {task:#}\n{issues:#?}");
        assert_eq!(said(server, &task), ["user", "assistant"], "{place}");
        assert_eq!(comments.len(), 1, "{place}: {comments:#?}");
        are_receipts(server, &comments, place);
        self.ends.lock().unwrap().push((issues.len(), is_unknown));
    }
}

fn send(server: &Server, event: &Event) -> Option<()> {
    server.try_github(event).is_ok_and(|answer| answer.status < 300).then_some(())
}

fn try_session(server: &Server, client_id: &str) -> Option<String> {
    let made = try_post(server, "/api/v1/sessions", client_id, json!({"client_id": client_id}))?;
    Some(made["session_id"].as_str().unwrap().to_owned())
}

/// What was made, when the server lived to say so.
fn try_post(server: &Server, path: &str, key: &str, body: Value) -> Option<Value> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    let answer = server.try_call("POST", path, &headers, body.to_string()).ok()?;
    (answer.status == 201).then(|| answer.json())
}

#[track_caller]
fn is_a_duplicate(server: &Server, event: &Event, place: &str) {
    let again = server.github(event).accepted();
    assert_eq!(again["status"], "duplicate", "{place}: {again}");
    let deliveries = server.list("/api/v1/deliveries");
    let first: Vec<&Value> = deliveries.iter().filter(|delivery| delivery["outcome"] != "duplicate").collect();
    assert_eq!(first.len(), 1, "{place}: {deliveries:#?}");
    let end = (&first[0]["state"], &first[0]["outcome"]);
    assert_eq!(end, (&json!("processed"), &json!("run")), "{place}: {deliveries:#?}");
}

#[track_caller]
fn one_task(server: &Server, place: &str) -> Value {
    let mut tasks = server.list("/api/v1/tasks");
    assert_eq!(tasks.len(), 1, "{place}: {tasks:#?}");
    tasks.remove(0)
}

/// Who spoke in the session of a task, in order.
fn said(server: &Server, task: &Value) -> Vec<String> {
    let messages = server.messages(task["session_id"].as_str().unwrap());
    messages.iter().map(|message| message["role"].as_str().unwrap().to_owned()).collect()
}

/// Every row of the outbox has the receipt of its own comment, in order.
#[track_caller]
fn are_receipts(server: &Server, comments: &[Comment], place: &str) {
    let mut rows = server.list("/api/v1/outbox");
    rows.sort_by_key(|row| row["id"].as_str().unwrap().to_owned());
    let receipts: Vec<&str> = rows.iter().map(|row| row["receipt"]["id"].as_str().unwrap_or("none")).collect();
    let posted: Vec<String> = comments.iter().map(|comment| comment.id.to_string()).collect();
    assert_eq!(receipts, posted, "{place}: {rows:#?}");
    for (row, comment) in rows.iter().zip(comments) {
        assert!(comment.body.starts_with(row["text"].as_str().unwrap()), "{place}: {row:#}");
    }
}
