//! Answers that are shown while they are written begin with a row of their own.

use crate::world::{World, ask, commit, complete, leaving};
use tercel_store::{AttemptEnd, BROKEN_OFF, End, Error, NewOutbox, Task, Uuid};

fn beginning(task: &Task) -> NewOutbox {
    NewOutbox { text: "The door …".into(), ..leaving(task, "t", 0, 0) }
}

/// A task that has shown the beginning of its answer, and the row of that.
async fn begun(world: &World) -> (Task, Uuid) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let id = world.store.begin_answer(task.attempt, beginning(&task)).await.unwrap();
    (task, id)
}

/// Sends what is first for its target; its text.
async fn send(world: &World) -> Option<String> {
    let row = world.store.claim_outbox(1).await.unwrap().rows.pop()?;
    world.store.end_attempt(&row, AttemptEnd::Sent("{\"id\":\"1\"}".into())).await.unwrap();
    world.is_consistent().await;
    Some(row.text)
}

async fn an_answer_begins_once_and_goes_on_behind_its_beginning(mut world: World) {
    let (task, id) = begun(&world).await;
    assert_eq!(world.store.begin_answer(task.attempt, beginning(&task)).await.unwrap(), id);
    world.restart().await;
    let again = world.claim().await;
    assert!(matches!(world.store.begin_answer(task.attempt, beginning(&task)).await, Err(Error::Fenced)));
    assert_eq!(world.store.begin_answer(again.attempt, beginning(&again)).await.unwrap(), id);
    let part = leaving(&again, "t", 1, 1);
    world.end(&again, complete(vec![part.clone()])).await;
    assert_eq!(send(&world).await.as_deref(), Some("The door …"));
    let row = world.store.outbox_row(part.id).await.unwrap().unwrap();
    assert_eq!(world.store.beginning_of(&row).await.unwrap().map(|row| row.id), Some(id));
    assert_eq!(send(&world).await, Some(part.text));
    assert_eq!(send(&world).await, None);
    assert!(matches!(world.store.begin_answer(again.attempt, beginning(&again)).await, Err(Error::Fenced)));
}

async fn a_beginning_without_an_answer_is_taken_back(world: World) {
    for end in [End::Failed("{}".into()), End::Cancelled, complete(Vec::new())] {
        let world = world.another().await;
        let (task, _) = begun(&world).await;
        assert_eq!(send(&world).await.as_deref(), Some("The door …"));
        world.end(&task, end).await;
        assert_eq!(send(&world).await.as_deref(), Some(BROKEN_OFF));
    }
    // Nothing was shown of one that was dropped.
    let (task, _) = begun(&world).await;
    let row = world.store.claim_outbox(1).await.unwrap().rows.remove(0);
    world.store.end_attempt(&row, AttemptEnd::Dropped { error: "{}".into(), unknown: false }).await.unwrap();
    world.store.commit(commit(&task, Some(End::Cancelled))).await.unwrap();
    assert_eq!(send(&world).await, None);
}

async fn what_waits_keeps_its_beginning_until_it_is_cancelled(world: World) {
    let (task, _) = begun(&world).await;
    world.end(&task, End::Waiting("{}".into())).await;
    assert_eq!(send(&world).await.as_deref(), Some("The door …"));
    assert_eq!(send(&world).await, None);
    world.store.cancel_task(task.id).await.unwrap();
    assert_eq!(send(&world).await.as_deref(), Some(BROKEN_OFF));
}

on_both_engines!(
    an_answer_begins_once_and_goes_on_behind_its_beginning,
    a_beginning_without_an_answer_is_taken_back,
    what_waits_keeps_its_beginning_until_it_is_cancelled,
);
