//! PostgreSQL that stops, crashes or is cut off: nothing is lost, nothing happens twice, all well afterwards.

use crate::world::{
    World, answer_all, ask, cut, delivered, eye, placed,
    postgres::{FAST, Postgres, Stop},
    postgres_store, until_seen, world_on,
};
use futures::future::{join_all, try_join_all};
use sqlx::{Connection, PgConnection};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tercel_store::{Error, Store};

/// Asks one after the other in a session of its own, and answers which messages it was told are stored.
async fn keep_asking(store: &Store, session: usize, times: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..times {
        let placed = placed(store.accept(delivered(ask(&session.to_string()), &[])).await);
        told.push(placed.message_id.simple().to_string());
    }
    told
}

/// What callers were told is exactly what is there.
async fn has_exactly(world: &World, told: Vec<Vec<String>>) {
    let told: Vec<String> = told.into_iter().flatten().collect();
    let known: BTreeSet<&String> = told.iter().collect();
    let kept = world.rows("SELECT id FROM messages").await;
    assert_eq!((kept.len(), known.len()), (told.len(), told.len()));
    assert_eq!(kept.iter().collect::<BTreeSet<_>>(), known);
    assert_eq!(world.rows("SELECT COUNT(*) FROM tasks").await, [told.len().to_string()]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM deliveries").await, [told.len().to_string()]);
    world.is_consistent().await;
}

async fn goes_away(stop: Stop) {
    let mut server = Postgres::start(&[]);
    let world = world_on(server.database_as("")).await;
    let store = world.store.clone();
    let asking = join_all((0..64).map(|session| {
        let store = store.clone();
        async move { keep_asking(&store, session, 12).await }
    }));
    let reading = async {
        for _ in 0..200 {
            store.queue().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let interrupting = async {
        until_seen(&world.database().url, "query LIKE '%COMMIT%'").await;
        tokio::task::spawn_blocking(move || {
            server.stop(stop);
            server.start_again();
            server
        })
        .await
        .unwrap()
    };
    let (told, (), _server) = tokio::join!(asking, reading, interrupting);
    has_exactly(&world, told).await;
}

#[tokio::test]
async fn a_server_that_stops_and_starts_again_under_load_is_waited_for() {
    goes_away(Stop::Fast).await;
}

#[tokio::test]
async fn a_server_that_crashes_and_recovers_under_load_is_waited_for() {
    goes_away(Stop::Crash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_lose_and_double_nothing() {
    let world = postgres_store().await;
    let (store, done, cuts) = (world.store.clone(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let url = world.database().url.clone();
    let cutting = {
        let (done, cuts) = (done.clone(), cuts.clone());
        tokio::spawn(async move {
            let mut eye = eye(&url).await;
            while !done.load(Ordering::Relaxed) {
                // Half of them in the very moment of a COMMIT.
                let moment = if cuts.load(Ordering::Relaxed) % 2 == 0 {
                    "query LIKE '%COMMIT%' AND state = 'active'"
                } else {
                    "state <> 'idle'"
                };
                let sql = format!(
                    "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name LIKE 'tercel%' AND {moment}"
                );
                let sql = sqlx::AssertSqlSafe(sql);
                let (ended,): (i64,) = sqlx::query_as(sql).fetch_one(&mut eye).await.unwrap();
                if ended > 0 {
                    cuts.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(15)).await;
                }
            }
        })
    };
    let mut told = Vec::new();
    let begun = Instant::now();
    // Every message is asked, run, answered and sent while connections go.
    while cuts.load(Ordering::Relaxed) < 60 {
        assert!(begun.elapsed() < Duration::from_secs(60), "only {cuts:?} cuts");
        told.extend(
            try_join_all((0..8).map(|session| {
                let store = store.clone();
                tokio::spawn(async move { keep_asking(&store, session, 2).await })
            }))
            .await
            .unwrap(),
        );
        answer_all(&store).await;
    }
    done.store(true, Ordering::Relaxed);
    cutting.await.unwrap();
    // What came after the last claim.
    while answer_all(&store).await > 0 {}
    let asked = told.iter().map(Vec::len).sum::<usize>();
    let ended = "SELECT (SELECT COUNT(*) FROM tasks WHERE status = 'complete' AND attempt = 1), \
                 (SELECT COUNT(*) FROM outbox WHERE state = 'sent' AND attempts = 1), \
                 (SELECT COUNT(*) FROM messages WHERE role = 'assistant')";
    assert_eq!(world.rows(ended).await, [format!("{asked} {asked} {asked}")]);
    let mut eye = world.rows("SELECT id FROM messages WHERE role = 'user' ORDER BY 1").await;
    let mut told: Vec<String> = told.into_iter().flatten().collect();
    told.sort();
    eye.sort();
    assert_eq!(eye, told);
    world.is_consistent().await;
}

#[tokio::test]
async fn a_commit_that_was_not_answered_but_happened_is_not_made_again() {
    let server = Postgres::start(&["fsync=off"]);
    let world = world_on(server.database_as("")).await;
    // A COMMIT that waits for a replica has happened already.
    let configure = |value: &str| {
        server.psql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{value}'"));
        server.psql("postgres", "SELECT pg_reload_conf()");
    };
    configure("nobody");
    until_seen_setting(&world, "nobody").await;
    let asking = keep_asking(&world.store, 1, 1);
    let cutting = async {
        until_seen(&world.database().url, "wait_event = 'SyncRep' AND query LIKE '%COMMIT%'").await;
        cut(world.database()).await;
        configure("");
    };
    let (told, ()) = tokio::join!(asking, cutting);
    assert_eq!(world.rows("SELECT commits FROM workers").await, ["1"]);
    has_exactly(&world, vec![told]).await;
}

async fn until_seen_setting(world: &World, value: &str) {
    let begun = Instant::now();
    loop {
        let mut fresh = PgConnection::connect(&world.database().url).await.unwrap();
        let (now,): (String,) =
            sqlx::query_as("SELECT current_setting('synchronous_standby_names')").fetch_one(&mut fresh).await.unwrap();
        if now == value {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_commit_that_was_not_answered_and_did_not_happen_is_made_again() {
    let world = postgres_store().await;
    // Whoever is answered comes after the first beat of the writer, which writes the same row.
    let mut told = keep_asking(&world.store, 0, 1).await;
    let mut other = eye(&world.database().url).await;
    // What goes with the COMMIT waits for this row.
    sqlx::raw_sql("BEGIN; UPDATE workers SET started_at = started_at").execute(&mut other).await.unwrap();
    let asking = keep_asking(&world.store, 1, 1);
    let cutting = async {
        until_seen(&world.database().url, "wait_event_type = 'Lock' AND query LIKE '%SET commits%'").await;
        cut(world.database()).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    };
    let (asked, ()) = tokio::join!(asking, cutting);
    told.extend(asked);
    assert_eq!(world.rows("SELECT commits FROM workers").await, ["3"]);
    has_exactly(&world, vec![told]).await;
}

#[tokio::test]
async fn while_it_is_away_for_long_reads_and_writes_fail_as_passing_and_then_go_on() {
    let mut server = Postgres::start(&FAST);
    let world = world_on(server.database_as("")).await;
    world.accept(ask("before")).await;
    server.stop(Stop::Fast);
    let begun = Instant::now();
    let writes = join_all((0..300).map(|i| world.store.accept(ask(&i.to_string()))));
    let (writes, read) = tokio::join!(writes, world.store.queue());
    let waited = begun.elapsed().as_secs();
    assert!((9..20).contains(&waited), "{waited} s");
    for answer in writes {
        assert!(matches!(&answer, Err(error @ Error::Away(_)) if error.is_passing()), "{answer:?}");
    }
    assert!(read.unwrap_err().is_passing());
    assert!(world.store.is_refused());
    server.start_again();
    world.accept(ask("after")).await;
    assert!(!world.store.is_refused());
    assert_eq!(world.rows("SELECT client_id FROM sessions ORDER BY id").await, ["before", "after"]);
    world.is_consistent().await;
}

#[tokio::test]
async fn a_server_that_is_stopped_while_its_database_is_away_ends_soon() {
    let mut server = Postgres::start(&FAST);
    let world = world_on(server.database_as("")).await;
    server.stop(Stop::Fast);
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(world.store.accept(ask("a")), async {
        tokio::task::yield_now().await;
        world.store.close().await;
    });
    assert!(answer.unwrap_err().is_passing());
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}
