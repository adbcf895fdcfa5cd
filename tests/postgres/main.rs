//! PostgreSQL that stops, crashes, is cut off, full, locked or wanted by two: nothing is lost, nothing happens twice, and
//! all goes on by itself.

mod away;
mod documented;
mod full;
mod succession;

use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};
use tercel_tests::{Engine, Event, Options, Server, Turn, World, events, postgres::Postgres, wait::pause};

const LONG: Duration = Duration::from_secs(60);

/// A PostgreSQL of one's own, with commits that last, when it is the turn of PostgreSQL.
fn postgres(settings: &[&str]) -> Option<Postgres> {
    Engine::Postgres.is_tested().then(|| Postgres::start(settings))
}

/// A server that answers every pull request with one comment.
fn world_on(postgres: &Postgres) -> World {
    world_with(postgres, |options| options)
}

fn world_with(postgres: &Postgres, change: impl FnOnce(Options) -> Options) -> World {
    let world = World::start_with(|options| change(options.on(postgres.database_as(""))));
    world.model.script(|_| Turn::text("Looks good."));
    world
}

fn pull_requests(count: u64) -> Vec<Event> {
    (1..=count).map(|number| events::pull_request("opened", number)).collect()
}

/// Sends each event again and again until it is taken, as services do, by four senders.
fn send_all(server: &Server, events: &[Event], taken: &Mutex<usize>) {
    std::thread::scope(|scope| {
        for part in events.chunks(events.len().div_ceil(4)) {
            scope.spawn(move || {
                for event in part {
                    let begun = Instant::now();
                    while !server.try_github(event).is_ok_and(|answer| answer.status < 300) {
                        assert!(begun.elapsed() < LONG, "an event is not taken");
                        pause(Duration::from_millis(50));
                    }
                    *taken.lock().unwrap() += 1;
                }
            });
        }
    });
}

/// Each event was stored once, ran once to its end, and was answered once.
fn each_once(world: &World, events: &[Event]) {
    let begun = Instant::now();
    let all = |path: &str, key: &str, end: &str| {
        let answer = world.server.try_call("GET", &format!("{path}?limit=500"), &[], "").ok()?;
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).ok()?;
        Some(rows.len() == events.len() && rows.iter().all(|row| row[key] == end))
    };
    while !(all("/api/v1/tasks", "status", "complete") == Some(true)
        && all("/api/v1/outbox", "state", "sent") == Some(true))
    {
        assert!(
            begun.elapsed() < LONG,
            "{:#?}\n{:#?}",
            world.server.list("/api/v1/tasks"),
            world.server.list("/api/v1/outbox")
        );
        pause(Duration::from_millis(50));
    }
    let deliveries = world.server.list("/api/v1/deliveries?limit=500");
    let stored = deliveries.iter().filter(|delivery| delivery["outcome"] == json!("run")).count();
    assert_eq!(stored, events.len(), "{deliveries:#?}");
    let mut answers = BTreeMap::<u64, usize>::new();
    world.github.comments().iter().for_each(|comment| *answers.entry(comment.number).or_default() += 1);
    let once = events.iter().map(|event| (event.body["number"].as_u64().unwrap(), 1)).collect();
    assert_eq!(answers, once);
    assert_eq!(world.server.get("/ready").status, 200);
}
