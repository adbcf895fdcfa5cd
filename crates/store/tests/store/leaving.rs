//! Answers leave in order per target, each part after the one before it.

use crate::world::World;
use tercel_store::{AttemptEnd, Error, OutboxRow, Uuid};

/// Claims what may leave and ends it all in one way; answers the texts.
async fn send(world: &World, end: AttemptEnd) -> Vec<String> {
    let mut texts = Vec::new();
    for row in claim(world).await {
        world.store.end_attempt(&row, end.clone()).await.unwrap();
        texts.push(row.text);
    }
    world.is_consistent().await;
    texts
}

async fn claim(world: &World) -> Vec<OutboxRow> {
    world.store.claim_outbox(99).await.unwrap().rows
}

fn sent() -> AttemptEnd {
    AttemptEnd::Sent("{\"id\":1}".into())
}

fn failed() -> AttemptEnd {
    AttemptEnd::Dead("{\"code\":\"forbidden\"}".into())
}

async fn parts_leave_one_after_the_other_and_targets_beside_each_other(world: World) {
    world.answer("a", 2).await;
    world.answer("a", 1).await;
    world.answer("b", 1).await;
    for expected in [vec!["1/2", "1/1"], vec!["2/2"], vec!["1/1"], vec![]] {
        assert_eq!(send(&world, sent()).await, expected);
    }
    assert_eq!(world.outbox().await, ["1/2:sent", "2/2:sent", "1/1:sent", "1/1:sent"]);
}

async fn what_failed_for_now_is_tried_again_at_its_time_and_holds_its_target_up(world: World) {
    let [row, _] = world.answer("a", 2).await[..] else { panic!() };
    let later = tercel_store::now() + 3_600_000_000;
    let retry = |at, unknown| AttemptEnd::Retry { at, error: "{}".into(), unknown };
    assert_eq!(send(&world, retry(later, false)).await, ["1/2"]);
    let leaving = world.store.claim_outbox(9).await.unwrap();
    assert_eq!((leaving.rows.len(), leaving.next_at), (0, Some(later)));
    let again = world.store.retry_outbox(row, true).await.unwrap();
    assert_eq!((again.state.as_str(), again.unknown), ("pending", false));
    assert_eq!(send(&world, retry(0, true)).await, ["1/2"]);
    assert!(world.store.outbox_row(row).await.unwrap().unwrap().unknown);
    assert_eq!(send(&world, sent()).await, ["1/2"]);
    let attempts = world.store.attempts(row).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|a| a.outcome.as_deref().unwrap()).collect();
    assert_eq!(outcomes, ["not_sent", "unknown", "sent"]);
    assert!(!world.store.outbox_row(row).await.unwrap().unwrap().unknown);
}

async fn the_parts_behind_one_that_failed_are_held_and_follow_when_it_was_sent(world: World) {
    for end in [failed(), AttemptEnd::Held("{}".into()), AttemptEnd::Parked("{}".into()), AttemptEnd::Expired] {
        let world = world.another().await;
        let [first, ..] = world.answer("a", 3).await[..] else { panic!() };
        world.answer("a", 1).await;
        send(&world, end).await;
        assert_eq!(world.outbox().await[1..], ["2/3:held", "3/3:held", "1/1:pending"]);
        world.store.retry_outbox(first, false).await.unwrap();
        for expected in [["1/3"], ["2/3"], ["3/3"], ["1/1"]] {
            assert_eq!(send(&world, sent()).await, expected);
        }
    }
}

async fn what_is_sent_again_waits_for_the_row_on_its_way_and_goes_before_the_one_that_waits(world: World) {
    let [early] = world.answer("a", 1).await[..] else { panic!() };
    let [late] = world.answer("a", 1).await[..] else { panic!() };
    send(&world, failed()).await;
    let on_its_way = claim(&world).await;
    assert_eq!(on_its_way[0].id, late);
    world.store.retry_outbox(early, true).await.unwrap();
    world.is_consistent().await;
    assert!(claim(&world).await.is_empty());
    let later = AttemptEnd::Retry { at: 0, error: "{}".into(), unknown: false };
    world.store.end_attempt(&on_its_way[0], later).await.unwrap();
    world.is_consistent().await;
    assert_eq!(claim(&world).await.iter().map(|row| row.id).collect::<Vec<_>>(), [early]);
}

async fn what_is_parked_goes_on_when_the_connection_was_mended(world: World) {
    world.answer("a", 2).await;
    world.answer("a", 1).await;
    send(&world, AttemptEnd::Parked("{}".into())).await;
    send(&world, AttemptEnd::Parked("{}".into())).await;
    assert_eq!(world.outbox().await, ["1/2:parked", "2/2:held", "1/1:parked"]);
    assert_eq!(world.store.unpark_outbox("another").await.unwrap(), 0);
    assert_eq!(world.store.unpark_outbox("example").await.unwrap(), 2);
    for expected in [["1/2"], ["2/2"], ["1/1"]] {
        assert_eq!(send(&world, sent()).await, expected);
    }
}

async fn an_outcome_that_is_unknown_stays_so_until_it_is_resolved(world: World) {
    for end in [failed(), AttemptEnd::Parked("{}".into()), AttemptEnd::Expired] {
        let mut world = world.another().await;
        let [row] = world.answer("a", 1).await[..] else { panic!() };
        claim(&world).await;
        world.restart().await;
        send(&world, end).await;
        assert!(world.store.outbox_row(row).await.unwrap().unwrap().unknown);
        assert!(world.store.retry_outbox(row, true).await.unwrap().unknown);
        assert!(!world.store.retry_outbox(row, false).await.unwrap().unknown);
    }
}

async fn what_is_dropped_never_leaves_nor_do_the_parts_behind_it(world: World) {
    let [first, second] = world.answer("a", 2).await[..] else { panic!() };
    world.answer("a", 1).await;
    assert_eq!(world.store.drop_outbox(first).await.unwrap().state, "dropped");
    assert_eq!(world.outbox().await, ["1/2:dropped", "2/2:held", "1/1:pending"]);
    assert!(matches!(world.store.retry_outbox(first, false).await, Err(Error::Conflict(_))));
    world.store.drop_outbox(second).await.unwrap();
    assert_eq!(send(&world, sent()).await, ["1/1"]);
}

async fn what_was_delivered_or_is_on_its_way_is_neither_sent_again_nor_dropped(world: World) {
    let [row] = world.answer("a", 1).await[..] else { panic!() };
    let refused = async || {
        assert!(matches!(world.store.retry_outbox(row, false).await, Err(Error::Conflict(_))));
        assert!(matches!(world.store.drop_outbox(row).await, Err(Error::Conflict(_))));
    };
    let on_its_way = claim(&world).await;
    refused().await;
    let end = || world.store.end_attempt(&on_its_way[0], sent());
    let (one, two) = tokio::join!(end(), end());
    assert!(matches!((one, two), (Ok(()), Err(Error::Fenced))));
    refused().await;
    assert!(matches!(world.store.drop_outbox(Uuid::nil()).await, Err(Error::Conflict(_))));
}

async fn a_rehearsal_is_withheld_and_rows_are_counted_and_listed_by_state(world: World) {
    let [withheld] = world.answer("a", 1).await[..] else { panic!() };
    send(&world, AttemptEnd::Withheld).await;
    let [dead] = world.answer("b", 1).await[..] else { panic!() };
    send(&world, failed()).await;
    let [waits] = world.answer("c", 1).await[..] else { panic!() };
    for (state, id) in [("withheld", withheld), ("dead", dead), ("pending", waits)] {
        let rows = world.store.outbox(Some(state), None, 9).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [id], "{state}");
    }
    assert_eq!(world.store.outbox(None, Some(waits), 9).await.unwrap().len(), 2);
    let (counts, oldest) = world.store.outbox_backlog().await.unwrap();
    assert_eq!((counts, oldest.is_some()), (vec![("pending".into(), 1), ("dead".into(), 1)], true));
}

on_both_engines!(
    the_parts_behind_one_that_failed_are_held_and_follow_when_it_was_sent,
    an_outcome_that_is_unknown_stays_so_until_it_is_resolved,
    parts_leave_one_after_the_other_and_targets_beside_each_other,
    what_failed_for_now_is_tried_again_at_its_time_and_holds_its_target_up,
    what_is_sent_again_waits_for_the_row_on_its_way_and_goes_before_the_one_that_waits,
    what_is_parked_goes_on_when_the_connection_was_mended,
    what_is_dropped_never_leaves_nor_do_the_parts_behind_it,
    what_was_delivered_or_is_on_its_way_is_neither_sent_again_nor_dropped,
    a_rehearsal_is_withheld_and_rows_are_counted_and_listed_by_state,
);
