//! The process dies before and after every commit and around every call to the outside: nothing is lost, nothing
//! happens twice. Failpoints of the program say where; the tests go through all of them.

use serde_json::{Value, json};
use std::time::Duration;
use tercel_tests::{
    Event, FakeGitHub, FakeModel, Options, Server, Turn, events,
    github::{Comment, reads_pull_request},
    wait::until_within,
};

const ANSWER: &str = "Looks good.";
/// More than the scenario has, and an end to a test that would otherwise not have one.
const MOST: u32 = 120;

#[test]
fn nothing_is_lost_or_doubled_when_it_dies_before_a_commit() {
    dies_at_each("commit.before");
}

#[test]
fn nothing_is_lost_or_doubled_when_it_dies_after_a_commit() {
    dies_at_each("commit.after");
}

#[test]
fn nothing_is_lost_or_doubled_when_it_dies_before_it_calls_out() {
    dies_at_each("outbound.before");
}

#[test]
fn nothing_is_lost_or_doubled_when_it_dies_after_it_called_out() {
    dies_at_each("outbound.after");
}

fn dies_at_each(point: &str) {
    for n in 1..=MOST {
        if !scenario(point, n) {
            // Two calls of the model, three reads of the tool, one comment; no fewer commits.
            assert!(n > 6, "`{point}` is reached only {} times", n - 1);
            return;
        }
    }
    panic!("the scenario still dies at hit {MOST} of `{point}`");
}

/// A webhook that is sent until it is taken, a run with a tool, a comment; with a death at the n-th hit of the point.
/// Answers whether it died.
fn scenario(point: &str, n: u32) -> bool {
    let (github, model) = (FakeGitHub::start(), FakeModel::start());
    model.script(|asked| match asked.results().as_slice() {
        [] => reads_pull_request(1),
        _ => Turn::text(ANSWER),
    });
    let calm = Options::new().github(&github).model(&model).with_failpoints();
    let armed = calm.clone().env("TERCEL_FAILPOINT", &format!("{point}:{n}"));
    let mut life = Life::begin(armed, calm);

    let event = events::pull_request("opened", 1);
    let mut taken = false;
    until_within(Duration::from_secs(30), &format!("the answer is posted, after `{point}` {n}"), || {
        life.revive();
        if !taken {
            // GitHub's own redelivery, or an operator's: the same request again.
            taken = life.server.try_github(&event).is_ok_and(|answer| answer.status < 300);
        }
        let answer = life.server.try_call("GET", "/api/v1/outbox", &[], "").ok()?;
        let rows: Vec<Value> = serde_json::from_slice(&answer.body).ok()?;
        (taken && !rows.is_empty() && rows.iter().all(|row| row["state"] == "sent")).then_some(())
    });
    life.end();
    check(&life.server, &event, &github.comments(), &format!("`{point}` {n}"));
    life.died
}

/// A server that is started again without the failpoint when it has died of it.
struct Life {
    server: Server,
    calm: Options,
    died: bool,
}

impl Life {
    fn begin(armed: Options, calm: Options) -> Self {
        match Server::try_start(armed) {
            Ok(server) => Self { server, calm, died: false },
            Err(_) => Self { server: Server::start(calm.clone()), calm, died: true },
        }
    }

    fn revive(&mut self) {
        if self.server.has_exited() {
            assert!(!self.died, "it died without a failpoint");
            self.died = true;
            self.server = Server::start(self.calm.clone());
        }
    }

    /// A last death may come while it stops. What is checked is what the next start finds.
    fn end(&mut self) {
        self.revive();
        self.server.ask_to_stop();
        let status = self.server.wait_exit();
        assert!(status.success() || !self.died, "it ended with {status}");
        self.died |= !status.success();
        self.server = Server::start(self.calm.clone());
    }
}

fn check(server: &Server, event: &Event, comments: &[Comment], place: &str) {
    let again = server.github(event).accepted();
    assert_eq!(again["status"], "duplicate", "{place}: {again}");
    let tasks = server.list("/api/v1/tasks");
    assert_eq!(tasks.len(), 1, "{place}: {tasks:#?}");
    assert_eq!((&tasks[0]["status"], &tasks[0]["result"]), (&json!("complete"), &json!(ANSWER)), "{place}: {tasks:#?}");
    assert_eq!(comments.len(), 1, "{place}: {comments:#?}");
    assert!(comments[0].body.starts_with(ANSWER), "{place}: {comments:#?}");
    let session = tasks[0]["session_id"].as_str().unwrap();
    let messages = server.messages(session);
    let said: Vec<Value> = messages.iter().map(|message| message["role"].clone()).collect();
    assert_eq!(said, ["user", "assistant"], "{place}: {messages:#?}");
    let rows = server.list("/api/v1/outbox");
    assert_eq!((rows.len(), &rows[0]["receipt"]["id"]), (1, &json!(comments[0].id.to_string())), "{place}: {rows:#?}");
    let deliveries = server.list("/api/v1/deliveries");
    let runs: Vec<&Value> = deliveries.iter().filter(|delivery| delivery["outcome"] != "duplicate").collect();
    assert_eq!(
        (runs.len(), &runs[0]["state"], &runs[0]["outcome"]),
        (1, &json!("processed"), &json!("run")),
        "{place}: {deliveries:#?}"
    );
}
