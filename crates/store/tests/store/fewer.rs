//! Many events that are alike, and few runs.

use crate::world::{World, ask, ceiling, delivered};
use futures::future::join_all;
use tercel_store::{
    Accept, Accepted, Action, Ceiling, End, Placed, Uuid,
    accept::{Busy, Cooldown, Fewer, Merge},
};

const LONG: i64 = 3_600_000_000;

fn alike(mut accept: Accept, fewer: Fewer) -> Accept {
    accept.items.iter_mut().for_each(|item| item.task.as_mut().unwrap().fewer = fewer.clone());
    accept
}

fn merged(key: &str, wait: i64, most: u32) -> Fewer {
    Fewer { merge: Some(Merge { key: format!("merge/{key}"), wait, most }), cooldown: None }
}

fn cooled(key: &str, pause: i64) -> Fewer {
    Fewer { cooldown: Some(Cooldown { key: format!("cooldown/{key}"), pause }), merge: None }
}

async fn those_that_come_while_the_first_waits_are_one_run(world: World) {
    let all = join_all((0..7).map(|_| world.accept(alike(ask("a"), merged("k", LONG, 5))))).await;
    let mut runs: Vec<Uuid> = all.iter().map(|placed| placed.task_id.unwrap()).collect();
    runs.dedup();
    assert_eq!(runs.len(), 2, "the sixth starts the next");
    assert_eq!(world.rows("SELECT COUNT(*) FROM tasks").await, ["2"]);
    let claimed = world.store.claim_tasks(9).await.unwrap();
    assert!(claimed.tasks.is_empty() && claimed.next_at.is_some(), "they wait, and it is known how long");
    let other = world.accept(alike(ask("b"), merged("other", LONG, 5))).await;
    assert!(!runs.contains(&other.task_id.unwrap()));
    world.is_consistent().await;
}

async fn a_run_sees_all_that_it_answers_and_nothing_of_the_next(world: World) {
    for _ in 0..3 {
        world.accept(alike(ask("a"), merged("k", 1, 2))).await;
    }
    // The first two are one run if they came within a microsecond, which they hardly did: what joined is what counts.
    let task = world.claim().await;
    let own = world
        .rows("SELECT COUNT(*) FROM messages WHERE task_id = (SELECT id FROM tasks WHERE status = 'running')")
        .await;
    let seen = world.store.context(&task, 9).await.unwrap();
    assert_eq!(vec![seen.len().to_string()], own);
    world.is_consistent().await;
}

async fn one_that_has_begun_is_joined_by_nobody(world: World) {
    let first = world.accept(alike(ask("a"), merged("k", 0, 9))).await;
    world.claim().await;
    let second = world.accept(alike(ask("a"), merged("k", LONG, 9))).await;
    assert_ne!(first.task_id, second.task_id);
    let third = world.accept(alike(ask("a"), merged("k", LONG, 9))).await;
    assert_eq!(second.task_id, third.task_id);
    world.store.cancel_task(second.task_id.unwrap()).await.unwrap();
    let fourth = world.accept(alike(ask("a"), merged("k", LONG, 9))).await;
    assert_ne!(fourth.task_id, third.task_id, "nor one that was called off");
    world.is_consistent().await;
}

async fn after_one_others_are_kept_and_not_run(world: World) {
    let first = world.accept(delivered(alike(ask("a"), cooled("k", LONG)), &["1"])).await;
    let again = delivered(alike(ask("a"), cooled("k", LONG)), &["2"]);
    let delivery = again.delivery.clone().unwrap().id;
    let second = world.accept(again).await;
    assert!(first.task_id.is_some() && second.task_id.is_none());
    let kept = world.store.delivery(delivery).await.unwrap().unwrap();
    assert_eq!(kept.outcome.as_deref(), Some("stored"));
    assert!(kept.reason.unwrap().contains("a short while ago"));
    assert_eq!(world.store.messages(first.session_id, None, 9).await.unwrap().len(), 2);
    let other = world.accept(alike(ask("a"), cooled("other", LONG))).await;
    assert!(other.task_id.is_some());
    let over = world.accept(alike(ask("a"), cooled("short", 0))).await;
    let next = world.accept(alike(ask("a"), cooled("short", 0))).await;
    assert!(over.task_id.is_some() && next.task_id.is_some(), "the pause is over");
    world.is_consistent().await;
}

async fn only_runs_that_are_made_count(world: World) {
    let limited = |fewer: Fewer| {
        let mut accept = alike(ask("a"), fewer);
        accept.items[0].ceilings = vec![Ceiling { runs: Some(1), ..ceiling("server", 1) }];
        accept
    };
    let first = world.accept(limited(merged("k", LONG, 9))).await;
    let second = world.accept(limited(merged("k", LONG, 9))).await;
    assert_eq!((first.task_id, second.refused), (second.task_id, None), "what joins is not counted");
    let third = world.accept(limited(cooled("c", LONG))).await;
    assert!(third.task_id.is_none() && third.refused.is_some());
    world.is_consistent().await;
}

async fn one_that_was_told_to_stop_is_joined_by_nobody_and_keeps_nobody_waiting(world: World) {
    let first = world.accept(alike(ask("a"), merged("k", LONG, 9))).await.task_id.unwrap();
    let mut interrupting = ask("a");
    interrupting.items[0].busy = Busy::Interrupt;
    let interrupting = world.accept(interrupting).await;
    assert_eq!(interrupting.interrupted, [first]);
    let next = world.accept(alike(ask("a"), merged("k", LONG, 9))).await;
    assert_ne!(next.task_id, Some(first));
    let stopped = world.claim().await;
    assert_eq!((stopped.id, stopped.cancelled), (first, true), "it is in the way: it does not wait for others");
    world.end(&stopped, End::Cancelled).await;
    assert_eq!(Some(world.claim().await.id), interrupting.task_id);
    world.is_consistent().await;
}

async fn after_a_reset_nobody_joins_a_run_of_the_conversation_before(world: World) {
    let first = world.accept(alike(ask("a"), merged("k", LONG, 9))).await;
    world.store.reset_session(first.session_id).await.unwrap();
    let second = world.accept(alike(ask("a"), merged("k", LONG, 9))).await;
    assert!(second.session_id != first.session_id && second.task_id != first.task_id);
    let third = world.accept(alike(ask("a"), merged("k", LONG, 9))).await;
    assert_eq!(third.task_id, second.task_id);
    world.is_consistent().await;
}

/// Two that are alike, in one delivery, with a ceiling of so many runs.
fn two(fewer: &Fewer, runs: Option<i64>, action: Action) -> Accept {
    let mut both = delivered(ask("a"), &[]);
    both.items.extend(ask("a").items);
    both.items.iter_mut().for_each(|item| item.ceilings = vec![Ceiling { runs, action, ..ceiling("server", 1) }]);
    alike(both, fewer.clone())
}

async fn accept_both(world: &World, both: Accept) -> [Placed; 2] {
    match world.store.accept(both).await.unwrap() {
        Accepted::New(placed) => placed.try_into().unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn whom_a_refused_run_would_have_answered_is_refused_as_it_is(world: World) {
    let both = [merged("k", LONG, 9), cooled("k", LONG)];
    for (fewer, action) in both.iter().flat_map(|fewer| [(fewer, Action::Store), (fewer, Action::Digest)]) {
        let accept = two(fewer, Some(0), action);
        let delivery = accept.delivery.clone().unwrap().id;
        let placed = accept_both(&world, accept).await;
        let is_refused = placed.iter().all(|row| row.task_id.is_none() && row.refused.as_deref() == Some("server"));
        assert!(is_refused, "{placed:?}");
        let kept = world.store.delivery(delivery).await.unwrap().unwrap();
        assert_eq!(kept.outcome.as_deref(), Some("stored"));
    }
    let waiting: Vec<i64> = world.store.digests(None, 9).await.unwrap().iter().map(|held| held.messages).collect();
    assert_eq!(waiting, [4], "a digest has all of them");
    assert_eq!(world.rows("SELECT COUNT(*) FROM messages WHERE task_id IS NOT NULL").await, ["0"]);
    for (fewer, are_one) in both.iter().zip([true, false]) {
        let [first, second] = accept_both(&world, two(fewer, None, Action::Store)).await.map(|row| row.task_id);
        assert!(first.is_some(), "what was refused is not run a short while ago");
        assert_eq!(second, first.filter(|_| are_one));
    }
    world.is_consistent().await;
}

async fn one_that_waits_for_a_ceiling_is_joined(world: World) {
    let both = two(&merged("k", LONG, 9), Some(0), Action::Park);
    let [first, second] = accept_both(&world, both).await.map(|row| row.task_id);
    let third = world.accept(alike(ask("a"), merged("k", LONG, 9))).await.task_id;
    assert!(first.is_some() && [second, third] == [first; 2]);
    assert_eq!(world.statuses().await, ["waiting"]);
    world.is_consistent().await;
}

on_both_engines!(
    those_that_come_while_the_first_waits_are_one_run,
    a_run_sees_all_that_it_answers_and_nothing_of_the_next,
    one_that_has_begun_is_joined_by_nobody,
    after_one_others_are_kept_and_not_run,
    only_runs_that_are_made_count,
    one_that_was_told_to_stop_is_joined_by_nobody_and_keeps_nobody_waiting,
    after_a_reset_nobody_joins_a_run_of_the_conversation_before,
    whom_a_refused_run_would_have_answered_is_refused_as_it_is,
    one_that_waits_for_a_ceiling_is_joined,
);
