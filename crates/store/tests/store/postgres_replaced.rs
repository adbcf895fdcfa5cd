//! A server whose place another one took: what it tells about a COMMIT in the middle, and what it must read anew.

use crate::world::{World, ask, cut, eye, placed, postgres::Postgres, postgres_store, until_seen, world_on};
use sqlx::PgConnection;
use std::time::{Duration, Instant};
use tercel_store::{Error, Turn};

/// The lock of the database, as the writing session takes it.
const LOCK: &str = "SELECT pg_advisory_lock(1952805475, hashtext('public'))";

/// Waits for the lock, so that whoever loses it does not get it again.
async fn rival(world: &World) -> PgConnection {
    let mut rival = eye(&world.database().url).await;
    sqlx::raw_sql(LOCK).execute(&mut rival).await.unwrap();
    rival
}

/// As a server does that begins.
async fn enters(rival: &mut PgConnection) {
    sqlx::raw_sql("INSERT INTO workers (started_at, seen_at) VALUES (1, 1)").execute(rival).await.unwrap();
}

/// A COMMIT that waits for a replica has happened already.
async fn waits_for_a_replica(server: &Postgres, world: &World, replica: &str) {
    server.psql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{replica}'"));
    server.psql("postgres", "SELECT pg_reload_conf()");
    let begun = Instant::now();
    loop {
        let mut fresh = eye(&world.database().url).await;
        let (now,): (String,) =
            sqlx::query_as("SELECT current_setting('synchronous_standby_names')").fetch_one(&mut fresh).await.unwrap();
        if now == replica {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_commit_that_happened_is_told_as_such_even_when_another_server_came_right_after_it() {
    let server = Postgres::start(&["fsync=off"]);
    let world = world_on(server.database_as("")).await;
    placed(world.store.accept(ask("before")).await);
    waits_for_a_replica(&server, &world, "nobody").await;
    let replacing = async {
        until_seen(&world.database().url, "wait_event = 'SyncRep' AND query LIKE '%SET commits%'").await;
        let cutting = async {
            until_seen(&world.database().url, "wait_event_type = 'Lock' AND query LIKE '%pg_advisory_lock%'").await;
            cut(world.database()).await;
            waits_for_a_replica(&server, &world, "").await;
        };
        let (mut rival, ()) = tokio::join!(rival(&world), cutting);
        enters(&mut rival).await;
        rival
    };
    let (told, _rival) = tokio::join!(world.store.accept(ask("a")), replacing);
    placed(told);
    assert_eq!(world.rows("SELECT client_id FROM sessions ORDER BY 1").await, ["a", "before"]);
}

#[tokio::test]
async fn a_commit_that_did_not_happen_is_told_as_such_when_another_server_came() {
    let world = postgres_store().await;
    placed(world.store.accept(ask("before")).await);
    let mut other = eye(&world.database().url).await;
    // What goes with the COMMIT waits for this row.
    sqlx::raw_sql("BEGIN; UPDATE workers SET started_at = started_at").execute(&mut other).await.unwrap();
    let replacing = async {
        until_seen(&world.database().url, "wait_event_type = 'Lock' AND query LIKE '%SET commits%'").await;
        let cutting = async {
            until_seen(&world.database().url, "wait_event_type = 'Lock' AND query LIKE '%pg_advisory_lock%'").await;
            cut(world.database()).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        };
        let (mut rival, ()) = tokio::join!(rival(&world), cutting);
        enters(&mut rival).await;
        rival
    };
    let (told, _rival) = tokio::join!(world.store.accept(ask("a")), replacing);
    assert!(matches!(told, Err(Error::Away(_))), "{told:?}");
    assert_eq!(world.rows("SELECT client_id FROM sessions").await, ["before"]);
}

#[tokio::test]
async fn a_commit_of_which_nothing_is_known_at_the_end_of_a_server_is_not_told_as_not_stored() {
    let server = Postgres::start(&["fsync=off"]);
    let world = world_on(server.database_as("")).await;
    placed(world.store.accept(ask("before")).await);
    waits_for_a_replica(&server, &world, "nobody").await;
    let ending = async {
        until_seen(&world.database().url, "wait_event = 'SyncRep' AND query LIKE '%SET commits%'").await;
        let cutting = async {
            until_seen(&world.database().url, "wait_event_type = 'Lock' AND query LIKE '%pg_advisory_lock%'").await;
            cut(world.database()).await;
            waits_for_a_replica(&server, &world, "").await;
        };
        // Whose lock it is cannot be told: it may be that of the old session.
        let (rival, ()) = tokio::join!(rival(&world), cutting);
        world.store.close().await;
        rival
    };
    let (told, _rival) = tokio::join!(world.store.accept(ask("a")), ending);
    let Err(error @ Error::Unanswered) = told else { panic!("{told:?}") };
    assert!(error.is_passing() && !error.obstacle().contains("nothing was stored"), "{}", error.obstacle());
}

#[tokio::test]
async fn what_was_read_before_is_old_when_another_server_was_there_meanwhile_and_only_then() {
    let mut world = postgres_store().await;
    let turns = world.store.turn();
    world.accept(ask("a")).await;
    cut(world.database()).await;
    world.accept(ask("b")).await;
    assert_eq!(*turns.borrow(), Turn::Ours, "nobody else was there");

    let old = world.restart().await;
    assert!(old.accept(ask("c")).await.is_err());
    assert_eq!(*turns.borrow(), Turn::Lost);
    let other = std::mem::replace(&mut world.store, old);
    other.close().await;
    let begun = Instant::now();
    while world.store.accept(ask("d")).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let back = *turns.borrow();
    assert!(matches!(back, Turn::Back(_)), "{back:?}");
    world.store.has_read_anew(Turn::Back(u64::MAX));
    assert_eq!(*turns.borrow(), back, "what was read before another turn does not count");
    world.store.has_read_anew(back);
    assert_eq!(*turns.borrow(), Turn::Ours);
}
