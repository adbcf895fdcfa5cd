//! The same stories with a connection to PostgreSQL that breaks at each COMMIT: whether it was one is found out, and the
//! server lives.

use super::{Story, is_done, stories::*};
use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};
use tercel_tests::{
    Engine, FakeGitHub, FakeModel, Options, Server,
    options::with_tables,
    postgres::{Database, FAST, Postgres},
    wait::pause,
    wire::{Breaks, Wire},
};

const MOST: u32 = 60;
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_webhook_is_answered_once_whichever_commit_is_not_answered() {
    survives(1, 10, || postgres().database(), Webhook::new);
}

#[test]
fn a_message_with_a_key_is_answered_once_whichever_commit_is_not_answered() {
    survives(commits_of_a_start(), 9, with_a_schema, Message::new);
}

#[test]
fn an_answer_for_another_session_gets_there_once_whichever_commit_is_not_answered() {
    survives(commits_of_a_start(), 12, with_a_schema, Internal::new);
}

#[test]
fn every_part_is_posted_once_and_in_order_whichever_commit_is_not_answered() {
    survives(commits_of_a_start(), 14, with_a_schema, Parts::new);
}

/// One that is reached through a socket, which can be broken.
fn postgres() -> &'static Postgres {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    POSTGRES.get_or_init(|| Postgres::start(&FAST))
}

fn with_a_schema() -> Database {
    with_tables(postgres())
}

/// Those that a first start makes are broken in the first story; the others begin behind those of a start.
fn commits_of_a_start() -> u32 {
    if Engine::tested() != Engine::Postgres {
        return 1;
    }
    let (github, model, database) = (FakeGitHub::start(), FakeModel::start(), with_a_schema());
    let wire = Wire::to(&database, Breaks::Before, u32::MAX);
    let url = wire.url(&database);
    let _server = Server::start(Options::storing_in(database).github(&github).model(&model).env("DATABASE_URL", &url));
    wire.commits().max(1)
}

fn survives<S: Story>(first: u32, least: u32, database: fn() -> Database, story: fn() -> S) {
    if !Engine::Postgres.is_tested() {
        return;
    }
    std::thread::scope(|scope| {
        for breaks in [Breaks::Before, Breaks::After] {
            scope.spawn(move || {
                let reached = (first..=MOST).find(|n| !lives(database(), breaks, *n, story()));
                let reached = reached.unwrap_or_else(|| panic!("commit {MOST} is still reached"));
                assert!(reached > least, "there are only {} commits", reached - 1);
            });
        }
    });
}

/// Lives through a story in which the n-th COMMIT is not answered. Answers whether there was one.
fn lives<S: Story>(database: Database, breaks: Breaks, n: u32, mut story: S) -> bool {
    let place = format!("{breaks:?} commit {n}");
    let (github, model) = (FakeGitHub::start(), FakeModel::start());
    model.script(S::model);
    let wire = Wire::to(&database, breaks, n);
    let url = wire.url(&database);
    let options = Options::storing_in(database).github(&github).model(&model).env("DATABASE_URL", &url);
    // Who starts it starts it again, if it breaks already now.
    let mut server = Server::try_start(options.clone()).unwrap_or_else(|failure| {
        assert!(!failure.log.contains("panicked"), "{place}: {}", failure.log);
        Server::start(options)
    });
    let mut taken = None;
    let begun = Instant::now();
    loop {
        assert!(!server.has_exited(), "{place}: the server ended\n{}", server.log());
        taken = taken.or_else(|| story.ask(&server));
        if taken.is_some() && is_done(&server) == Some(true) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            let (tasks, outbox) = (server.list("/api/v1/tasks"), server.list("/api/v1/outbox"));
            panic!("{place}: taken: {taken:?}, tasks: {tasks:#?}, outbox: {outbox:#?}");
        }
        pause(Duration::from_millis(10));
    }
    let reached = wire.commits() >= n;
    story.check(&server, &github, &place);
    reached
}
