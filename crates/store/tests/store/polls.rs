//! What a poll brings and how far it has read are one commit; down times are kept until they are fetched.

use crate::world::{World, ask, delivered, gap, polled};
use tercel_store::{Accept, Accepted, DownTime};

on_both_engines!(
    what_a_poll_brings_is_taken_once_and_its_bookmark_moves,
    a_poll_that_cannot_be_stored_leaves_its_bookmark,
    a_gap_that_was_not_fetched_grows,
    the_down_time_lies_between_two_processes,
    places_are_those_of_one_integration,
);

fn news(client: &str, key: &str) -> Accept {
    delivered(ask(client), &[key])
}

async fn bookmarks(world: &World) -> Vec<String> {
    world.store.polls().await.unwrap().into_iter().map(|poll| poll.bookmark).collect()
}

async fn what_a_poll_brings_is_taken_once_and_its_bookmark_moves(world: World) {
    let first = world.store.polled(polled("1", vec![news("a", "k1"), news("b", "k2")])).await.unwrap();
    assert!(first.iter().all(|answer| matches!(answer, Accepted::New(_))), "{first:?}");
    assert_eq!(bookmarks(&world).await, ["1"]);
    let again = world.store.polled(polled("2", vec![news("b", "k2"), news("a", "k3")])).await.unwrap();
    assert!(matches!(again[..], [Accepted::Duplicate(_), Accepted::New(_)]), "{again:?}");
    assert_eq!(bookmarks(&world).await, ["2"]);
    assert_eq!(world.statuses().await.len(), 3);
    let stored = world.store.deliveries(None, None, 9).await.unwrap();
    let body = world.store.delivery(stored[0].id).await.unwrap().unwrap().body;
    assert_eq!(body.as_deref(), Some(&b"{\"a\": 1}"[..]));
    world.is_consistent().await;
}

async fn a_poll_that_cannot_be_stored_leaves_its_bookmark(world: World) {
    world.store.polled(polled("1", Vec::new())).await.unwrap();
    let mut nowhere = news("a", "k1");
    nowhere.items[0].session = tercel_store::SessionRef::Id(tercel_store::Uuid::now_v7());
    assert!(world.store.polled(polled("2", vec![news("b", "k2"), nowhere])).await.is_err());
    assert_eq!((bookmarks(&world).await, world.statuses().await), (vec!["1".to_owned()], Vec::new()));
}

async fn a_gap_that_was_not_fetched_grows(world: World) {
    world.store.open_gap(gap(10, 20)).await.unwrap();
    world.store.open_gap(gap(30, 40)).await.unwrap();
    assert_eq!(world.store.gaps().await.unwrap(), [gap(10, 40)]);
    world.store.close_gap(gap(10, 20)).await.unwrap();
    assert_eq!(world.store.gaps().await.unwrap(), [gap(10, 40)]);
    world.store.close_gap(gap(10, 40)).await.unwrap();
    assert_eq!(world.store.gaps().await.unwrap(), []);
}

async fn the_down_time_lies_between_two_processes(mut world: World) {
    assert_eq!(world.store.down_time(), None);
    let before = tercel_store::now();
    world.restart().await;
    let DownTime { from: since, to: until, .. } = world.store.down_time().unwrap();
    assert!(since <= until && since <= before + 1_000_000 && until >= before, "{since} {until} {before}");
}

async fn places_are_those_of_one_integration(world: World) {
    for client in ["board:b", "board:a", "boards:c", "web:d"] {
        world.accept(ask(client)).await;
    }
    assert_eq!(world.store.places("board", 9).await.unwrap(), ["board:a", "board:b"]);
    assert_eq!(world.store.places("board", 1).await.unwrap(), ["board:a"]);
}
