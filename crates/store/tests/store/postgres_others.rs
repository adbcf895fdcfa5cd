//! PostgreSQL that others use as well: their locks, their files on its disk, another server of ours.

use crate::{
    faults::Disk,
    world::{
        ask, ceiling, commit, complete, cut, delivered, eye, open, placed,
        postgres::{FAST, NOBODY, Postgres},
        postgres_store, until_seen, world_on,
    },
};
use futures::future::join_all;
use std::time::{Duration, Instant};
use tercel_store::Error;

#[tokio::test]
async fn a_lock_that_somebody_keeps_fails_all_writes_together_and_then_they_go_on() {
    let world = postgres_store().await;
    let mut other = eye(&world.database().url).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE tasks").execute(&mut other).await.unwrap();
    let begun = Instant::now();
    let answers = join_all((0..20).map(|i| world.store.accept(ask(&i.to_string())))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(Error::is_passing)), "{answers:?}");
    // Two groups at most, each of which waits five seconds once.
    assert!(begun.elapsed().as_secs() < 15);
    // One that is let go soon is waited for.
    let freeing = async {
        until_seen(&world.database().url, "wait_event_type = 'Lock'").await;
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    };
    tokio::join!(world.accept(ask("a")), freeing);
    assert_eq!(world.rows("SELECT COUNT(*) FROM tasks").await, ["1"]);
}

#[tokio::test]
async fn two_transactions_that_wait_for_each_other_are_tried_again() {
    let world = postgres_store().await;
    let ceilings = || vec![ceiling("server", 1)];
    let asked = || {
        let mut ask = ask("a");
        ask.items[0].ceilings = ceilings();
        ask
    };
    world.accept(asked()).await;
    let mut other = eye(&world.database().url).await;
    // The writer is the one that finds out.
    let begin = "SET deadlock_timeout = '30s'; BEGIN; UPDATE sessions SET last_at = 0";
    sqlx::raw_sql(begin).execute(&mut other).await.unwrap();
    let crossing = async {
        until_seen(&world.database().url, "wait_event_type = 'Lock' AND application_name LIKE 'tercel%'").await;
        sqlx::raw_sql("UPDATE usage SET prompt_tokens = 5; COMMIT").execute(&mut other).await.unwrap();
    };
    tokio::join!(world.accept(asked()), crossing);
    assert_eq!(world.rows("SELECT runs, prompt_tokens FROM usage").await, ["2 5"]);
    world.is_consistent().await;
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost_and_with_space_it_goes_on() {
    let Some(disk) = Disk::mount("24m") else { return };
    let server = Postgres::start(&FAST);
    std::os::unix::fs::chown(disk.0.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    server.psql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.path().display()));
    let world = world_on(server.database_as("TABLESPACE small")).await;
    let big = |i: usize| {
        let mut ask = delivered(ask(&i.to_string()), &[]);
        let noise = |n: u32| n.wrapping_mul(2_654_435_761) ^ i as u32;
        ask.delivery.as_mut().unwrap().body = (0..100_000).flat_map(|n| noise(n).to_le_bytes()).collect();
        ask
    };
    let mut kept = Vec::new();
    let failed = loop {
        let ask = big(kept.len());
        let id = ask.delivery.as_ref().unwrap().id;
        match world.store.accept(ask).await {
            Ok(_) => kept.push(id),
            Err(error) => break error,
        }
        assert!(kept.len() < 200, "the disk is small");
    };
    assert!(failed.is_passing() && failed.obstacle().contains("disk is full"), "{failed}");
    assert!(!kept.is_empty());
    for id in &kept {
        assert!(world.store.delivery(*id).await.unwrap().unwrap().body.is_some());
    }
    assert!(disk.tool("mount", &["-o", "remount,size=256m"]));
    let more = join_all((100..110).map(|i| world.store.accept(big(i)))).await;
    more.into_iter().for_each(|answer| drop(placed(answer)));
    assert_eq!(world.store.deliveries(None, None, 999).await.unwrap().len(), kept.len() + 10);
    world.is_consistent().await;
    world.store.close().await;
}

#[tokio::test]
async fn a_server_whose_place_was_taken_writes_nothing_until_it_has_it_again() {
    let mut world = postgres_store().await;
    world.accept(ask("a")).await;
    let lost = world.claim().await;
    let old = world.restart().await;
    let Err(refused) = old.accept(ask("b")).await else { panic!("it was stored") };
    assert!(refused.is_passing() && refused.to_string().contains("Another server (tercel"), "{refused}");
    assert!(old.commit(commit(&lost, Some(complete(vec![])))).await.is_err());
    assert!(old.is_refused());
    let task = world.claim().await;
    assert_eq!((task.id, task.attempt), (lost.id, 2));
    assert_eq!(world.rows("SELECT client_id FROM sessions").await, ["a"]);
    // The other one dies in the middle: what it had is free for the first.
    let other = std::mem::replace(&mut world.store, old);
    cut(world.database()).await;
    drop(other);
    let begun = Instant::now();
    let again = loop {
        match world.store.claim_tasks(9).await {
            Ok(claimed) if !claimed.tasks.is_empty() => break claimed.tasks,
            other => assert!(begun.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
    };
    assert_eq!((again[0].id, again[0].attempt), (lost.id, 3));
    world.end(&again[0], complete(vec![])).await;
    world.is_consistent().await;
}

#[tokio::test]
async fn a_server_that_comes_while_another_one_ends_waits_for_it_and_a_second_one_is_refused() {
    let world = postgres_store().await;
    let coming = open(world.database());
    let ending = async {
        until_seen(&world.database().url, "query LIKE '%pg_try_advisory_lock%'").await;
        world.store.close().await;
    };
    let (next, ()) = tokio::join!(coming, ending);
    let next = next.unwrap();
    let begun = Instant::now();
    let Err(refused) = open(world.database()).await else { panic!("it was opened") };
    assert!(begun.elapsed() > Duration::from_secs(9), "it must wait for a predecessor");
    let (start, end) = ("Another server (tercel (process ", "Stop it, or give this one another DATABASE_URL");
    assert!(refused.to_string().starts_with(start) && refused.to_string().ends_with(end), "{refused}");
    next.accept(ask("a")).await.unwrap();
    next.close().await;
}
