//! A sync whose integration panics, hangs or answers nonsense in the middle: each record is there once all the same.

use crate::world::{World, board, open, place};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tercel::sync;
use tercel_sdk::{Error, Host, Integration, Kind, Push, Pushed, Result, sync::Change, syncs};

/// What the board has, by keys, and how often each was made.
#[derive(Default)]
struct Wall {
    rows: Mutex<BTreeMap<String, (Value, usize)>>,
    calls: AtomicUsize,
}

impl Wall {
    fn take(&self, push: &Push) -> Pushed {
        let mut rows = self.rows.lock().unwrap();
        match push.change {
            Change::Create => rows.entry(push.key.clone()).or_default().1 += 1,
            Change::Update => assert_eq!(push.remote_id.as_deref(), Some(format!("on-{}", push.key).as_str())),
            Change::Delete => {
                rows.remove(&push.key);
                return Pushed::done(&push.id, None);
            }
        }
        rows.entry(push.key.clone()).or_default().0 = push.row.clone();
        Pushed::done(&push.id, Some(format!("on-{}", push.key)))
    }

    fn titles(&self) -> Vec<(String, usize)> {
        let rows = self.rows.lock().unwrap();
        rows.values().map(|(row, made)| (row["title"].as_str().unwrap_or_default().to_owned(), *made)).collect()
    }
}

/// A board that does what it is told at its first call, and works from then on.
fn board_that(
    wall: &Arc<Wall>,
    first: impl Fn(Vec<Pushed>) -> Result<Vec<Pushed>> + Send + Sync + Clone + 'static,
) -> Integration {
    let (pushed, found) = (wall.clone(), wall.clone());
    let push = move |_: Host, pushes: Vec<Push>| {
        let (wall, first) = (pushed.clone(), first.clone());
        async move {
            let nth = wall.calls.fetch_add(1, Ordering::SeqCst);
            let done = pushes.iter().map(|push| wall.take(push)).collect();
            if nth > 0 { Ok(done) } else { first(done) }
        }
    };
    let find = move |_: Host, push: Push| {
        let is_there = found.rows.lock().unwrap().contains_key(&push.key);
        async move { Ok(is_there.then(|| format!("on-{}", push.key))) }
    };
    board().sync(syncs("posts", push).batch(2).find(find).by_id().deletes())
}

async fn synced(world: &World) -> Value {
    let path = "/api/v1/admin/integrations/board/connection/sync";
    let started = world.call("POST", path, json!({})).await;
    let path = format!("/api/v1/syncs/{}", started["task_id"].as_str().unwrap());
    world
        .until("the sync ends", async || {
            let report = world.get(&path).await;
            (!report["ended_at"].is_null()).then_some(report)
        })
        .await
}

fn counts(report: &Value) -> [i64; 6] {
    ["created", "updated", "deleted", "skipped", "failed", "unknown"].map(|key| report[key].as_i64().unwrap())
}

async fn survives(first: impl Fn(Vec<Pushed>) -> Result<Vec<Pushed>> + Send + Sync + Clone + 'static) {
    let (place, wall) = (place(), Arc::new(Wall::default()));
    let world = open(place.path(), vec![board_that(&wall, first)]).await;
    world.app.work.spawn(sync::run_all(world.app.clone()));
    let posts = json!({"records": [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}, {"id": "c", "title": "C"}]});
    world.call("POST", "/api/v1/records/posts", posts).await;
    let report = synced(&world).await;
    assert_eq!(counts(&report), [3, 0, 0, 0, 0, 0], "{report:#}");
    let once = |title: &str| (title.to_owned(), 1);
    assert_eq!(wall.titles(), [once("A"), once("B"), once("C")]);
    world.call("PUT", "/api/v1/records/posts/a", json!({"title": "Other"})).await;
    world.call("DELETE", "/api/v1/records/posts/b", Value::Null).await;
    let report = synced(&world).await;
    assert_eq!(counts(&report), [0, 1, 1, 1, 0, 0], "{report:#}");
    assert_eq!(wall.titles(), [once("Other"), once("C")]);
    world.stop().await;
}

#[tokio::test]
async fn one_that_works_pushes_each_record_once() {
    survives(Ok).await;
}

#[tokio::test]
async fn one_that_panics_after_it_pushed_is_asked_what_is_there() {
    survives(|_| panic!("a test makes a fault here")).await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "this is the part that keeps a thread")]
async fn one_that_hangs_is_given_up_and_asked_what_is_there() {
    survives(|done| {
        std::thread::sleep(std::time::Duration::from_millis(700));
        Ok(done)
    })
    .await;
}

#[tokio::test]
async fn one_that_says_nothing_of_a_record_is_asked_what_is_there() {
    survives(|_| Ok(Vec::new())).await;
    survives(|mut done| {
        done.truncate(1);
        Ok(done)
    })
    .await;
}

#[tokio::test]
async fn one_that_says_it_does_not_know_is_asked_what_is_there() {
    survives(|_| Err(Error::new(Kind::UnknownOutcome, "the line went dead"))).await;
    survives(|_| Err(Error::new(Kind::Error, "something is wrong"))).await;
}

#[tokio::test]
async fn an_update_that_may_have_arrived_is_made_anew_when_somebody_says_that_the_record_is_there() {
    let (place, wall) = (place(), Arc::new(Wall::default()));
    let pushed = wall.clone();
    let push = move |_: Host, pushes: Vec<Push>| {
        let wall = pushed.clone();
        async move {
            match wall.calls.fetch_add(1, Ordering::SeqCst) {
                1 => Err(Error::new(Kind::UnknownOutcome, "the line went dead")),
                _ => Ok(pushes.iter().map(|push| wall.take(push)).collect()),
            }
        }
    };
    let world = open(place.path(), vec![board().sync(syncs("posts", push))]).await;
    world.app.work.spawn(sync::run_all(world.app.clone()));
    world.call("POST", "/api/v1/records/posts", json!({"records": [{"id": "a", "title": "A"}]})).await;
    assert_eq!(counts(&synced(&world).await), [1, 0, 0, 0, 0, 0]);
    world.call("PUT", "/api/v1/records/posts/a", json!({"title": "Other"})).await;
    assert_eq!(counts(&synced(&world).await), [0, 0, 0, 0, 0, 1]);
    let path = "/api/v1/admin/integrations/board/connections/default/ledger/a";
    world.call("POST", path, json!({"there": true})).await;
    let report = synced(&world).await;
    assert_eq!(counts(&report), [0, 1, 0, 0, 0, 0], "{report:#}");
    assert_eq!(wall.titles(), [("Other".to_owned(), 1)]);
    world.stop().await;
}

#[tokio::test]
async fn one_that_cannot_be_looked_for_does_not_hold_up_the_others() {
    let (place, wall) = (place(), Arc::new(Wall::default()));
    let pushed = wall.clone();
    let push = move |_: Host, pushes: Vec<Push>| {
        let done = pushes.iter().map(|push| pushed.take(push)).collect::<Vec<_>>();
        async move { Ok(done) }
    };
    let find = |_: Host, push: Push| async move {
        match push.key.as_str() {
            "a" => Err(Error::new(Kind::Timeout, "it did not answer")),
            "b" => panic!("a test makes a fault here"),
            _ => Ok(None::<String>),
        }
    };
    let world = open(place.path(), vec![board().sync(syncs("posts", push).batch(2).find(find).by_id())]).await;
    world.app.work.spawn(sync::run_all(world.app.clone()));
    let posts = ["a", "b", "c", "d"].map(|id| json!({"id": id, "title": id}));
    world.call("POST", "/api/v1/records/posts", json!({"records": posts})).await;
    let report = synced(&world).await;
    assert_eq!((counts(&report), &report["status"]), ([2, 0, 0, 0, 2, 0], &json!("complete")), "{report:#}");
    assert_eq!(report["codes"], json!({"error": 1, "timeout": 1}));
    assert_eq!(wall.titles(), [("c".to_owned(), 1), ("d".to_owned(), 1)]);
    world.stop().await;
}

#[tokio::test]
async fn a_paused_integration_pushes_nothing_until_it_goes_on() {
    let (place, wall) = (place(), Arc::new(Wall::default()));
    let world = open(place.path(), vec![board_that(&wall, Ok)]).await;
    world.app.work.spawn(sync::run_all(world.app.clone()));
    world.call("POST", "/api/v1/records/posts", json!({"records": [{"id": "a", "title": "A"}]})).await;
    world.call("POST", "/api/v1/admin/integrations/board/pause", Value::Null).await;
    let started = world.call("POST", "/api/v1/admin/integrations/board/connection/sync", json!({})).await;
    let path = format!("/api/v1/syncs/{}", started["task_id"].as_str().unwrap());
    let waits = world
        .until("it waits", async || Some(world.get(&path).await).filter(|report| report["status"] == "waiting"))
        .await;
    assert!(waits["error"]["message"].as_str().unwrap().contains("paused"), "{waits:#}");
    assert!(wall.titles().is_empty());
    world.call("POST", "/api/v1/admin/integrations/board/resume", Value::Null).await;
    world
        .until("it goes on", async || Some(world.get(&path).await).filter(|report| report["status"] == "complete"))
        .await;
    assert_eq!(wall.titles().len(), 1);
    world.stop().await;
}
