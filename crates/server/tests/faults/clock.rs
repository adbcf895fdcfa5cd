//! Schedules while the clock on the wall jumps: a laptop that slept, a clock that was set.

use crate::world::{World, board, open_with, place, start};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tercel::{retention, schedules, watchman};
use tercel_sdk::{Host, Inbound, Received, Refusal};
use tercel_store::{Counts, Spent, now};

const MINUTE: i64 = 60_000_000;

/// A server that follows a clock which can be set.
struct Watched {
    world: World,
    ahead: Arc<AtomicI64>,
}

impl Watched {
    async fn start(place: &crate::world::Place) -> Self {
        let world = start(place.path(), Vec::new()).await;
        let ahead = Arc::new(AtomicI64::new(0));
        let wall = ahead.clone();
        let wall = Arc::new(move || now() + wall.load(Ordering::SeqCst));
        world.app.work.spawn(schedules::run_by(world.app.clone(), wall));
        Self { world, ahead }
    }

    /// Sets the clock; it is looked at now, and not only at its next look.
    fn set(&self, minutes: i64) {
        self.ahead.store(minutes * MINUTE, Ordering::SeqCst);
        self.world.app.schedules.notify_one();
    }

    async fn hourly(&self) -> String {
        let body = json!({
            "name": "Round", "prompt": "What is new?", "when": {"kind": "interval", "every": "1h"}, "notify_missed": true,
        });
        self.world.call("POST", "/api/v1/schedules", body).await["id"].as_str().unwrap().to_owned()
    }

    async fn history(&self, id: &str) -> Vec<Value> {
        let rows = self.world.get(&format!("/api/v1/schedules/{id}/history")).await;
        rows.as_array().unwrap().iter().map(|row| json!([row["outcome"], row["missed"]])).collect()
    }

    /// Waits until the schedule has so many rows in its history, newest first, and its runs have ended.
    async fn has(&self, id: &str, rows: &[Value]) {
        self.world
            .until("its history is long enough", async || (self.history(id).await.len() >= rows.len()).then_some(()))
            .await;
        assert_eq!(self.history(id).await, rows);
        let task = self.world.get(&format!("/api/v1/schedules/{id}")).await["task_id"].as_str().unwrap().to_owned();
        self.world.ended(&task).await;
    }

    async fn tasks(&self) -> usize {
        self.world.get("/api/v1/tasks").await.as_array().unwrap().len()
    }
}

#[tokio::test]
async fn a_clock_that_jumps_forward_starts_one_run_and_the_other_times_are_told() {
    let place = place();
    let watched = Watched::start(&place).await;
    let id = watched.hourly().await;
    watched.set(5 * 60 + 30);
    watched.has(&id, &[json!(["run", 4])]).await;
    let notice = format!("schedule:{id}");
    watched
        .world
        .until("it is told", async || watched.world.open_notices().await.contains(&notice).then_some(()))
        .await;
    // Looked at again, nothing is due.
    watched.set(5 * 60 + 40);
    watched.set(6 * 60 + 1);
    watched.has(&id, &[json!(["run", 0]), json!(["run", 4])]).await;
    assert_eq!(watched.tasks().await, 2);
}

#[tokio::test]
async fn a_time_that_comes_again_because_the_clock_was_put_back_has_no_second_run() {
    let place = place();
    let watched = Watched::start(&place).await;
    let id = watched.hourly().await;
    let path = format!("/api/v1/schedules/{id}");
    let first = watched.world.get(&path).await["next_at"].clone();
    watched.set(90);
    watched.has(&id, &[json!(["run", 0])]).await;
    assert_ne!(watched.world.get(&path).await["next_at"], first);
    watched.set(0);
    let is_back = async || (watched.world.get(&path).await["next_at"] == first).then_some(());
    watched.world.until("it waits for the first time again", is_back).await;
    watched.set(61);
    watched.has(&id, &[json!(["repeated", 0]), json!(["run", 0])]).await;
    watched.set(121);
    watched.has(&id, &[json!(["run", 0]), json!(["repeated", 0]), json!(["run", 0])]).await;
    assert_eq!(watched.tasks().await, 2);
}

#[tokio::test]
async fn a_machine_that_slept_has_a_gap_as_one_that_was_off_has() {
    let place = place();
    let refused = |_: Host, _: Inbound| Err::<Received, Refusal>(Refusal::Malformed("Nothing comes this way".into()));
    let world = open_with(place.path(), vec![board().webhook(refused)], &[]).await;
    let ahead = Arc::new(AtomicI64::new(0));
    let looks = Arc::new(AtomicI64::new(0));
    let (wall, count) = (ahead.clone(), looks.clone());
    let wall = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        now() + wall.load(Ordering::SeqCst)
    });
    world.app.work.spawn(watchman::watch_by(world.app.clone(), wall, Duration::from_millis(5)));
    ahead.store(-90 * MINUTE, Ordering::SeqCst);
    let seen = looks.load(Ordering::SeqCst) + 6;
    world.until("it was looked at", async || (looks.load(Ordering::SeqCst) > seen).then_some(())).await;
    assert_eq!(world.open_notices().await, [""; 0], "a clock that was put back is no gap");
    ahead.store(0, Ordering::SeqCst);
    let told = async || Some(world.open_notices().await).filter(|keys| keys.len() == 2);
    let mut keys = world.until("it is told", told).await;
    keys.sort();
    assert!(keys[0].starts_with("downtime:20") && keys[1] == "gap:board:default", "{keys:?}");
    let notices = world.get("/api/v1/notices?open=true").await.to_string();
    assert!(notices.contains("The machine slept, or its clock was put forward"), "{notices}");
}

#[tokio::test]
async fn accounts_that_are_older_than_they_are_kept_are_closed() {
    let place = place();
    let world = open_with(place.path(), Vec::new(), &[("TERCEL_KEEP_USAGE", "3")]).await;
    let hour = now() / 3_600_000_000;
    let counts = |calls| Counts { calls, ..Counts::default() };
    let spent = |ago: i64, calls| Spent { scope: "server".into(), hour: hour - ago, counts: counts(calls) };
    world.app.store.spend(vec![spent(1, 1), spent(50, 2), spent(24 * 10, 4), spent(24 * 100, 8)]).await.unwrap();
    let calls = async || world.app.store.spent("server", 0).await.unwrap().calls;
    assert_eq!(calls().await, 15);
    world.app.work.spawn(retention::prune_all(world.app.clone()));
    world.until("what is old is gone", async || (calls().await == 3).then_some(())).await;
}
