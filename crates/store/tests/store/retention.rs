//! What is old goes in pieces; what is not over stays.

use crate::world::{World, ask, complete, delivered, leaving, placed};
use std::collections::BTreeSet;
use tercel_store::{AttemptEnd, NewNotice, Old};

on_both_engines!(
    what_is_old_goes_and_what_is_not_over_stays,
    only_what_lies_between_the_two_times_goes,
    pieces_are_small_and_come_to_an_end,
    what_may_have_left_is_looked_for,
);

async fn counts(world: &World) -> BTreeSet<String> {
    world
        .rows(
            "SELECT 'bodies ' || COUNT(body) FROM deliveries UNION ALL SELECT 'steps ' || COUNT(*) FROM steps UNION ALL \
             SELECT 'outbox ' || COUNT(*) FROM outbox UNION ALL SELECT 'attempts ' || COUNT(*) FROM attempts UNION ALL \
             SELECT 'dedupe ' || COUNT(*) FROM dedupe UNION ALL SELECT 'notices ' || COUNT(*) FROM notices",
        )
        .await
        .into_iter()
        .collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

async fn prune_all(world: &World) {
    for old in Old::ALL {
        let pruned = world.store.prune(old, 0, i64::MAX).await.unwrap();
        assert!(!pruned.more, "{old:?}");
    }
}

/// A delivery, its run with a step, and an answer that ends so.
async fn story(world: &World, key: &str, end: AttemptEnd) {
    let mut accept = delivered(ask(key), &[key]);
    accept.dedupe.push((format!("kept {key}"), i64::MAX));
    placed(world.store.accept(accept).await);
    let task = world.claim().await;
    let mut step = crate::world::commit(&task, None);
    step.steps = vec![crate::world::step(1)];
    world.store.commit(step).await.unwrap();
    world.end(&task, complete(vec![leaving(&task, key, 1, 1)])).await;
    let row = world.store.claim_outbox(1).await.unwrap().rows.remove(0);
    world.store.end_attempt(&row, end).await.unwrap();
}

async fn what_is_old_goes_and_what_is_not_over_stays(world: World) {
    story(&world, "sent", AttemptEnd::Sent("{}".into())).await;
    story(&world, "dead", AttemptEnd::Dead("{}".into())).await;
    let waiting = world.accept(ask("waiting")).await;
    let notice = |key: &str| NewNotice {
        key: key.into(),
        severity: "warning",
        title: "t".into(),
        detail: "d".into(),
        repair: None,
    };
    world.store.raise(notice("open")).await.unwrap();
    world.store.raise(notice("closed")).await.unwrap();
    world.store.close_notice("closed").await.unwrap();
    let before = counts(&world).await;
    assert!(before.is_superset(&set(&["bodies 2", "outbox 2", "attempts 2", "steps 2", "notices 2"])), "{before:?}");
    prune_all(&world).await;
    // The dead letter keeps its trace, the open notice and what counts for ever are there.
    let after = counts(&world).await;
    assert!(after.is_superset(&set(&["bodies 0", "outbox 1", "attempts 1", "steps 1", "notices 1"])), "{after:?}");
    assert_eq!(world.claim().await.id, waiting.task_id.unwrap());
    world.is_consistent().await;
}

async fn only_what_lies_between_the_two_times_goes(world: World) {
    story(&world, "a", AttemptEnd::Sent("{}".into())).await;
    let before = counts(&world).await;
    let now = tercel_store::now();
    for old in [Old::Bodies, Old::Steps, Old::Answers] {
        let pruned = world.store.prune(old, 0, now - 60_000_000).await.unwrap();
        assert_eq!((pruned.rows, pruned.more, pruned.upto), (0, false, now - 60_000_001), "{old:?}");
        assert_eq!(world.store.prune(old, now + 60_000_000, i64::MAX).await.unwrap().rows, 0);
    }
    assert_eq!(counts(&world).await, before);
}

async fn pieces_are_small_and_come_to_an_end(world: World) {
    for at in 1..=450 {
        assert!(world.store.note_egress(tercel_store::Egress {
            at,
            integration: None,
            connection: None,
            task_id: None,
            method: "GET".into(),
            host: "h".into(),
            path: "/".into(),
            status: None,
            error: None,
            sent_bytes: 0,
            received_bytes: 0,
            duration_ms: 0,
        }));
    }
    // Behind them in the writer's queue.
    world.store.close_notice("none").await.unwrap();
    let (mut after, mut pieces) = (0, Vec::new());
    loop {
        let pruned = world.store.prune(Old::Egress, after, 400).await.unwrap();
        pieces.push(pruned.rows);
        after = pruned.upto;
        if !pruned.more {
            break;
        }
    }
    assert_eq!((pieces, after), (vec![200, 199], 399));
}

async fn what_may_have_left_is_looked_for(world: World) {
    let ids = world.answer("t", 2).await;
    assert_eq!(world.store.doubt_outbox("nobody").await.unwrap(), 0);
    let kind = world.store.outbox_row(ids[0]).await.unwrap().unwrap().dispatch_type;
    assert_eq!(world.store.doubt_outbox(&kind).await.unwrap(), 2);
    assert!(world.store.claim_outbox(1).await.unwrap().rows[0].unknown);
}
