//! What is the same is taken once.

use crate::world::{World, ask, delivered, placed};
use futures::future::join_all;
use tercel_store::{Accept, Accepted, Uuid};

/// Which earlier delivery each accept repeats, by its place in the list.
async fn repeats(world: &World, accepts: Vec<Accept>) -> Vec<Option<usize>> {
    let ids: Vec<Uuid> = accepts.iter().map(|accept| accept.delivery.as_ref().unwrap().id).collect();
    let answers = join_all(accepts.into_iter().map(|accept| world.store.accept(accept))).await;
    answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            Accepted::New(_) => None,
            Accepted::Duplicate(original) => ids.iter().position(|id| *id == original),
        })
        .collect()
}

fn keyed(keys: &[&str]) -> Accept {
    delivered(ask("a"), keys)
}

async fn the_same_key_in_one_group_is_taken_once(world: World) {
    let answers = repeats(&world, vec![keyed(&["1"]), keyed(&["1"]), keyed(&["2"]), keyed(&["1"])]).await;
    assert_eq!(answers, [None, Some(0), None, Some(0)]);
    let listed = "SELECT outcome, body IS NULL, COUNT(*) FROM deliveries GROUP BY 1, 2 ORDER BY 1";
    assert_eq!(world.rows(listed).await, ["duplicate 1 2", "run 0 2"]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM tasks").await, ["2"]);
    world.is_consistent().await;
}

async fn a_repetition_under_a_new_id_is_known_by_its_body_and_then_by_the_new_id(world: World) {
    let first = keyed(&["id:1", "body:x"]);
    let id = first.delivery.as_ref().unwrap().id;
    placed(world.store.accept(first).await);
    for keys in [["id:1", "body:x"], ["id:2", "body:x"], ["id:2", "body:y"], ["id:3", "body:y"]] {
        assert_eq!(world.store.accept(keyed(&keys)).await.unwrap(), Accepted::Duplicate(id), "{keys:?}");
    }
    placed(world.store.accept(keyed(&["id:4", "body:z"])).await);
}

async fn what_repeats_a_repetition_of_the_same_group_leads_to_the_original(world: World) {
    let first = keyed(&["a"]);
    let original = first.delivery.as_ref().unwrap().id;
    placed(world.store.accept(first).await);
    let group = [keyed(&["a", "b"]), keyed(&["b", "c"]), keyed(&["c"]), keyed(&["d"])];
    let answers = join_all(group.map(|accept| world.store.accept(accept))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers[..3], vec![Accepted::Duplicate(original); 3]);
    assert!(matches!(answers[3], Accepted::New(_)));
    assert_eq!(world.store.accept(keyed(&["c"])).await.unwrap(), Accepted::Duplicate(original));
}

async fn one_that_is_new_by_its_only_key_stays_new_beside_one_that_repeats_it_and_another(world: World) {
    placed(world.store.accept(keyed(&["old"])).await);
    let answers = repeats(&world, vec![keyed(&["new"]), keyed(&["new", "old"])]).await;
    assert_eq!(answers, [None, Some(0)]);
}

async fn a_key_whose_time_is_over_is_free(world: World) {
    let mut first = keyed(&["1"]);
    first.dedupe[0].1 = tercel_store::now();
    placed(world.store.accept(first).await);
    let second = keyed(&["1"]);
    let id = second.delivery.as_ref().unwrap().id;
    placed(world.store.accept(second).await);
    assert_eq!(world.store.accept(keyed(&["1"])).await.unwrap(), Accepted::Duplicate(id));
}

async fn a_message_of_the_api_with_a_known_key_answers_the_first_message(world: World) {
    let mut accept = ask("a");
    accept.dedupe = vec![("key:1".into(), i64::MAX)];
    let first = world.accept(accept.clone()).await;
    accept.items[0].message.id = Uuid::now_v7();
    assert_eq!(world.store.accept(accept).await.unwrap(), Accepted::Duplicate(first.message_id));
}

async fn a_replay_raises_the_generation(world: World) {
    let accept = keyed(&[]);
    let id = accept.delivery.as_ref().unwrap().id;
    world.accept(accept).await;
    assert_eq!(world.store.replay(id).await.unwrap(), 2);
    assert_eq!(world.store.replay(id).await.unwrap(), 3);
    assert!(world.store.replay(Uuid::nil()).await.is_err());
}

on_both_engines!(
    the_same_key_in_one_group_is_taken_once,
    a_repetition_under_a_new_id_is_known_by_its_body_and_then_by_the_new_id,
    what_repeats_a_repetition_of_the_same_group_leads_to_the_original,
    one_that_is_new_by_its_only_key_stays_new_beside_one_that_repeats_it_and_another,
    a_key_whose_time_is_over_is_free,
    a_message_of_the_api_with_a_known_key_answers_the_first_message,
    a_replay_raises_the_generation,
);
