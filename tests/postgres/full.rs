//! The disk of the database is full.

use super::{LONG, each_once, postgres, pull_requests, world_on};
use serde_json::Value;
use std::path::Path;
use tercel_tests::{
    Engine, Event, World,
    disk::SmallDisk,
    events,
    postgres::{FAST, NOBODY, Postgres, Stop},
    until,
    wait::until_within,
};

fn give_away(place: &Path) {
    // Whoever is not root could mount nothing, and got none.
    std::os::unix::fs::chown(place, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// An event that takes room.
fn large() -> Event {
    let mut event = events::push();
    event.body["filler"] = (0..2_000).map(|_| uuid()).collect::<String>().into();
    event
}

/// What compresses to nothing would not fill a disk.
fn uuid() -> String {
    Event::new("x", Value::Null).delivery
}

/// Sends until so many are refused in a row; the ids of those that were taken.
fn fill(world: &World, disk: &SmallDisk, refused: usize) -> Vec<Value> {
    let (mut accepted, mut in_a_row) = (Vec::new(), 0);
    disk.fill(1);
    for _ in 0..2_000 {
        match world.server.github(&large()) {
            answer if answer.status < 300 => {
                accepted.push(answer.json()["delivery_id"].clone());
                in_a_row = 0;
            }
            answer => {
                let detail = answer.refused(503, "unavailable");
                assert!(answer.header("retry-after").is_some(), "{detail}");
                in_a_row += 1;
            }
        }
        if in_a_row == refused {
            return accepted;
        }
    }
    panic!("the disk did not fill up");
}

fn are_all_there(world: &World, accepted: &[Value]) {
    let listed = world.server.list("/api/v1/deliveries?limit=500");
    let lost: Vec<&Value> = accepted.iter().filter(|id| !listed.iter().any(|row| row["id"] == **id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), accepted.len());
}

#[test]
fn a_full_disk_of_the_tables_refuses_what_it_cannot_store_and_goes_on_with_room() {
    let Some(postgres) = postgres(&FAST) else { return };
    let Some(disk) = SmallDisk::make() else { return };
    give_away(disk.directory());
    postgres.psql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.directory().display()));
    let mut world = World::start_with(|options| options.on(postgres.database_as("TABLESPACE small")));
    let accepted = fill(&world, &disk, 5);
    let detail = world.server.github(&large()).refused(503, "unavailable");
    assert!(detail.contains("disk is full"), "{detail}");
    let ready = world.server.get("/ready");
    assert!(ready.status == 503 && ready.text().contains("could not be written"), "{ready}");
    disk.empty();
    until("/ready is well again", || (world.server.get("/ready").status == 200).then_some(()));
    world.server.github(&large()).accepted();
    world.server.kill9();
    world.server.start_again();
    are_all_there(&world, &accepted);
}

#[test]
fn a_full_disk_of_all_of_postgres_which_it_dies_of_loses_nothing_that_was_accepted() {
    if !Engine::Postgres.is_tested() {
        return;
    }
    let Some(disk) = SmallDisk::of(160) else { return };
    give_away(disk.directory());
    let mut postgres = Postgres::start_in(disk.directory(), &["max_wal_size=32MB", "min_wal_size=32MB"]);
    let world = world_on(&postgres);
    let runs = pull_requests(3);
    runs.iter().for_each(|event| drop(world.server.github(event).accepted()));
    let accepted = fill(&world, &disk, 3);
    disk.empty();
    // Its log had no room: it may have ended. Somebody starts it again.
    postgres.stop(Stop::Crash);
    postgres.start_again();
    until_within(LONG, "the server is back by itself", || (world.server.get("/ready").status == 200).then_some(()));
    are_all_there(&world, &accepted);
    world.server.github(&large()).accepted();
    each_once(&world, &runs);
}
