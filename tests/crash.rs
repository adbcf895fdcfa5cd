//! The process dies before and after every commit and around every call to the outside: nothing is lost, nothing
//! happens twice. Failpoints of the program say where; the tests go through all of them.

#[path = "crash/cuts.rs"]
mod cuts;
#[path = "crash/stories.rs"]
mod stories;

use serde_json::Value;
use std::time::{Duration, Instant};
use stories::{Client, Ends, Growing, Internal, Message, Parts, Webhook, Writing};
use tercel_tests::{Asked, Engine, FakeGitHub, FakeModel, Life, Options, Server, Turn, wait::pause};

const POINTS: [&str; 4] = ["commit.before", "commit.after", "outbound.before", "outbound.after"];
/// From where hits of a failpoint are counted. Deaths in the middle of a start are the same in every story: one has them.
const FROM_THE_BEGINNING: &str = ":";
const WHEN_REACHABLE: &str = ":+";
/// More than any story has, and an end to a test that would otherwise not have one.
const MOST: u32 = 120;
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_webhook_is_answered_once() {
    // Two calls of the model, three reads of the tool, one comment, and the check of the connection now and then; with
    // entering, accepting, claiming, each step and both ends of the attempt there are more commits.
    survives(FROM_THE_BEGINNING, 10, 6, Webhook::new);
}

#[test]
fn a_message_with_a_key_is_taken_and_answered_once() {
    survives(WHEN_REACHABLE, 9, 3, Message::new);
}

#[test]
fn an_answer_for_another_session_gets_there_once() {
    survives(WHEN_REACHABLE, 12, 2, Internal::new);
}

#[test]
fn every_part_of_a_long_answer_is_posted_once_and_in_order() {
    survives(WHEN_REACHABLE, 14, 4, Parts::new);
}

#[test]
fn an_answer_that_grows_is_one_comment_with_all_of_it() {
    survives(WHEN_REACHABLE, 9, 3, Growing::new);
}

#[test]
fn a_client_is_asked_and_its_answer_is_taken_once() {
    survives(WHEN_REACHABLE, 12, 3, Client::new);
}

#[test]
fn a_tool_that_writes_does_so_once_and_what_nobody_knows_is_told_to_the_model() {
    // From the claim of the run to the end of its tool: before and after, it is a message like the others. The first call
    // outside is the model's, or the check of the connection.
    let places =
        [("outbound.before", 2..=4), ("outbound.after", 2..=4), ("commit.before", 4..=8), ("commit.after", 4..=7)];
    let ends = Ends::default();
    std::thread::scope(|scope| {
        for (point, hits) in places {
            let ends = &ends;
            scope.spawn(move || {
                for n in hits {
                    dies_at(&format!("{point}{WHEN_REACHABLE}{n}"), Writing::new(ends));
                }
            });
        }
    });
    let ends = ends.lock().unwrap();
    for (issues, why) in [(0, "before the issue was made"), (1, "after the issue was made")] {
        assert!(ends.contains(&(issues, true)), "no life ended {why}, without knowing of it: {ends:?}");
    }
}

#[test]
fn a_writer_that_has_a_fault_ends_the_process_and_the_next_one_goes_on() {
    let (github, model) = (FakeGitHub::start(), FakeModel::start());
    let calm = Options::new().github(&github).model(&model);
    let mut server = Server::start(calm.clone().env("TERCEL_FAILPOINT", "commit.before!40"));
    let session = server.session("web:alice");
    let path = format!("/api/v1/sessions/{session}/messages");
    let body = serde_json::json!({"content": "hello", "run_agent": true}).to_string();
    let mut tasks = Vec::new();
    while let Ok(answer) = server.try_call("POST", &path, &[], body.clone()) {
        match answer.status {
            201 => tasks.push(answer.json()["task_id"].as_str().unwrap().to_owned()),
            status => assert_eq!(status, 503, "{answer}"),
        }
        assert!(tasks.len() < 100, "the writer goes on");
    }
    let status = server.wait_exit();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(server.log().contains("The writer of the database had a fault"), "{}", server.log());
    let server = Server::start(server.options.clone().without("TERCEL_FAILPOINT"));
    for task in &tasks {
        server.complete(task);
    }
    let asked = server.messages(&session).iter().filter(|message| message["role"] == "user").count();
    assert_eq!(asked, tasks.len(), "what was accepted is there, and nothing else");
}

/// What is asked of a server that may die of it, and what must have come of it in the end.
trait Story: 'static {
    fn model(asked: &Asked) -> Turn;
    /// Asks as somebody does who asks again until there is an answer: whether there is one by now.
    fn ask(&mut self, server: &Server) -> Option<()>;
    /// Looks at the end, when every run is complete and every answer is sent.
    fn check(&self, server: &Server, github: &FakeGitHub, place: &str);
}

fn survives<S: Story>(counted: &'static str, commits: u32, calls: u32, story: fn() -> S) {
    std::thread::scope(|scope| {
        for point in POINTS {
            let least = if point.starts_with("commit") { commits } else { calls };
            scope.spawn(move || dies_at_each(point, counted, least, story));
        }
    });
}

fn dies_at_each<S: Story>(point: &str, counted: &str, least: u32, story: fn() -> S) {
    for n in Engine::tested().deaths(point).take_while(|n| *n <= MOST) {
        if !dies_at(&format!("{point}{counted}{n}"), story()) {
            assert!(n > least, "`{point}` is reached only {} times", n - 1);
            return;
        }
    }
    panic!("the story still dies at hit {MOST} of `{point}`");
}

/// Lives through a story with a death at this hit of a failpoint. Answers whether it died.
fn dies_at<S: Story>(place: &str, mut story: S) -> bool {
    let (github, model) = (FakeGitHub::start(), FakeModel::start());
    model.script(S::model);
    let calm = Options::new().github(&github).model(&model);
    let mut life = Life::begin(calm, place);
    let mut taken = None;
    let start = Instant::now();
    loop {
        life.revive();
        taken = taken.or_else(|| story.ask(&life.server));
        if taken.is_some() && is_done(&life.server) == Some(true) {
            break;
        }
        if start.elapsed() > PATIENCE {
            let (tasks, outbox) = (life.server.list("/api/v1/tasks"), life.server.list("/api/v1/outbox"));
            panic!("{place}: taken: {taken:?}, tasks: {tasks:#?}, outbox: {outbox:#?}");
        }
        // Looking costs the machine more than the story does.
        pause(Duration::from_millis(50));
    }
    life.end();
    assert_eq!(is_done(&life.server), Some(true), "{place}: what was done is no longer");
    story.check(&life.server, &github, place);
    life.died()
}

/// Whether there is something, and all of it has come to its end. Nothing when the server dies meanwhile.
fn is_done(server: &Server) -> Option<bool> {
    let all = |path: &str, key: &str, end: &str| -> Option<(bool, usize)> {
        let answer = server.try_call("GET", path, &[], "").ok()?;
        let rows: Vec<Value> = serde_json::from_slice(&answer.body).ok()?;
        let is_at_its_end = |row: &Value| row[key] == end || (row["part"] == 0 && row[key] == "dropped");
        Some((!rows.is_empty() && rows.iter().all(is_at_its_end), rows.len()))
    };
    // A run leaves its answers before it is complete, and what an answer brings to another session makes a run before
    // it is sent: when the runs are the same before and after, nothing was missed between the two looks.
    let (complete, before) = all("/api/v1/tasks", "status", "complete")?;
    let (sent, _) = all("/api/v1/outbox", "state", "sent")?;
    let (_, after) = all("/api/v1/tasks", "status", "complete")?;
    Some(complete && sent && before == after)
}
