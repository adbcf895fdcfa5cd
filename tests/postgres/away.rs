//! The database goes away and comes back, in all the ways it does.

use super::{each_once, postgres, pull_requests, send_all, world_on, world_with};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tercel_tests::{
    Turn, World, events,
    postgres::{Database, FAST, Postgres, Stop},
    until,
    wait::{pause, until_within},
    wire::{Breaks, Wire},
};

fn goes_away_under_load(stop: Stop) {
    let Some(mut postgres) = postgres(&[]) else { return };
    let world = world_on(&postgres);
    let events = pull_requests(40);
    let taken = Mutex::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| send_all(&world.server, &events, &taken));
        until("some are taken", || (*taken.lock().unwrap() > 4).then_some(()));
        postgres.stop(stop);
        until("/ready says it", || (world.server.get("/ready").status == 503).then_some(()));
        assert_eq!(world.server.get("/health").status, 200);
        assert!(*taken.lock().unwrap() < events.len(), "all was done before");
        postgres.start_again();
    });
    each_once(&world, &events);
    assert!(world.server.log().contains("The database is back after"), "{}", world.server.log());
}

#[test]
fn one_that_is_stopped_and_started_again_under_load_is_waited_for() {
    goes_away_under_load(Stop::Fast);
}

#[test]
fn one_that_crashes_and_recovers_under_load_is_waited_for() {
    goes_away_under_load(Stop::Crash);
}

/// Also of a test that fails, whose other thread would go on for ever.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn connections_that_are_cut_again_and_again_are_made_again() {
    let Some(postgres) = postgres(&FAST) else { return };
    let world = world_on(&postgres);
    let events = pull_requests(50);
    let (taken, done, cuts) = (Mutex::new(0), AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted";
            let cut = format!(
                "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'tercel%' \
                 AND EXISTS ({holders})"
            );
            while !done.load(Ordering::Relaxed) {
                let ended: i64 = postgres.psql("postgres", &cut).parse().unwrap();
                let cuts = cuts.fetch_add(ended, Ordering::Relaxed);
                // Sometimes before it has taken up its work again, sometimes in the middle of it.
                pause(Duration::from_millis(if ended > 0 { (cuts * 97 % 250).cast_unsigned() } else { 5 }));
            }
        });
        let _end = AtTheEnd(&done);
        // A little at a time, so that it takes a while.
        for part in events.chunks(5) {
            send_all(&world.server, part, &taken);
            world.github.wait_for_comments(part[0].body["number"].as_u64().unwrap() as usize);
        }
    });
    each_once(&world, &events);
    assert!(cuts.load(Ordering::Relaxed) > 8, "only {cuts:?} cuts");
    let log = world.server.log();
    assert!(!log.contains("after_connect"), "{log}");
}

#[test]
fn while_it_is_away_callers_are_told_to_come_again_and_what_was_done_is_noted_later() {
    let Some(mut postgres) = postgres(&FAST) else { return };
    let world = world_on(&postgres);
    let (answer, go_on) = Turn::pieces(&["Looks ", "good."]);
    world.model.queue([answer]);
    let first = events::pull_request("opened", 1);
    let task = world.server.github_task(&first);
    world.model.wait_for_calls(1);
    postgres.stop(Stop::Fast);
    go_on.add_permits(3);
    let begun = Instant::now();
    let second = events::pull_request("opened", 2);
    let refused = world.server.github(&second);
    let detail = refused.refused(503, "unavailable");
    assert!(refused.header("retry-after").is_some() && detail.contains("database"), "{detail}");
    assert!(world.server.get("/api/v1/tasks").status == 503, "what cannot be read is not there for now");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    postgres.start_again();
    until_within(Duration::from_secs(20), "it is back by itself", || {
        (world.server.get("/ready").status == 200).then_some(())
    });
    world.server.complete(&task);
    world.server.github_task(&second);
    each_once(&world, &[first, second]);
    assert_eq!(world.model.calls(), 2, "an answer that was there is not asked for again");
}

#[test]
fn a_post_that_left_while_it_went_away_is_not_posted_again() {
    let Some(mut postgres) = postgres(&FAST) else { return };
    let world = world_on(&postgres);
    let first = events::pull_request("opened", 1);
    world.github.delay(Duration::from_millis(400));
    let task = world.server.github_task(&first);
    until("it is on its way", || (world.github.posts() == 1).then_some(()));
    postgres.stop(Stop::Fast);
    world.github.wait_for_comments(1);
    postgres.start_again();
    world.github.delay(Duration::ZERO);
    world.server.outbox(&task, &["sent"]);
    each_once(&world, &[first]);
    assert_eq!(world.github.posts(), 1);
}

#[test]
fn a_stop_while_it_is_away_ends_soon_and_the_next_start_goes_on() {
    let Some(mut postgres) = postgres(&FAST) else { return };
    let mut world = world_on(&postgres);
    let first = events::pull_request("opened", 1);
    world.model.latency(Duration::from_millis(500));
    world.server.github_task(&first);
    world.model.wait_for_calls(1);
    postgres.stop(Stop::Fast);
    let begun = Instant::now();
    world.server.ask_to_stop();
    world.server.wait_exit();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let failure = tercel_tests::Server::until_it_dies(world.server.options.clone());
    assert!(failure.log.contains("does not answer") && failure.log.contains("DATABASE_URL"), "{}", failure.log);
    postgres.start_again();
    world.server.start_again();
    each_once(&world, &[first]);
}

fn behind(wire: &Wire, postgres: &Postgres, database: Database) -> World {
    let url = wire.url(&database);
    let world = world_with(postgres, |options| options.on(database).env("DATABASE_URL", &url));
    world.model.script(|_| Turn::text("Looks good."));
    world
}

#[test]
fn one_that_is_slow_slows_down_and_loses_nothing() {
    let Some(postgres) = postgres(&FAST) else { return };
    let database = postgres.database_as("");
    let wire = Wire::to(&database, Breaks::Before, u32::MAX);
    let world = behind(&wire, &postgres, database);
    wire.delay(Duration::from_millis(30));
    let events = pull_requests(20);
    send_all(&world.server, &events, &Mutex::new(0));
    each_once(&world, &events);
    assert!(!world.server.log().contains("is away"), "{}", world.server.log());
}

#[test]
fn one_that_says_nothing_in_the_middle_of_a_commit_is_given_up_after_thirty_seconds_and_asked_anew() {
    let Some(postgres) = postgres(&FAST) else { return };
    let database = postgres.database_as("");
    let wire = Wire::to(&database, Breaks::Never, 40);
    let world = behind(&wire, &postgres, database);
    let begun = Instant::now();
    let (mut events, mut number) = (Vec::new(), 0);
    while wire.commits() < 40 {
        number += 1;
        let event = events::pull_request("opened", number);
        events.push(event);
        let sent = events.last().unwrap();
        until_within(Duration::from_secs(90), "it is taken", || {
            world.server.try_github(sent).is_ok_and(|answer| answer.status < 300).then_some(())
        });
    }
    each_once(&world, &events);
    let waited = begun.elapsed();
    assert!((30..90).contains(&waited.as_secs()), "{waited:?}");
}
