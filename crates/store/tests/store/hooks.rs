//! What happens in runs is noted with their steps, and each hook has its own place among it.

use crate::world::{World, ask, commit, step};
use tercel_store::{Commit, Error, Hook, HookAttempt, HookEvent, Old, Progress, Told, Uuid, now};

on_both_engines!(
    an_event_is_committed_with_the_steps_that_it_belongs_to_or_not_at_all,
    a_hook_moves_only_from_where_it_stands,
    of_the_attempts_the_newest_are_kept,
    what_a_hook_was_not_told_stays_and_no_number_is_given_twice,
    a_hook_goes_on_where_it_is_sent,
);

fn event(name: &str) -> HookEvent {
    HookEvent {
        seq: 0,
        id: Uuid::now_v7(),
        event: name.into(),
        origin: Some("forge".into()),
        bot_id: Some("default".into()),
        channel_id: None,
        body: format!("{{\"event\":\"{name}\"}}"),
        created_at: now(),
    }
}

fn hook() -> Hook {
    Hook {
        id: Uuid::now_v7(),
        url: "https://example.com".into(),
        granted: false,
        wants: "{}".into(),
        description: String::new(),
        sealed_secret: "sealed:1:a:b".into(),
        sealed_old_secret: None,
        old_until: None,
        enabled: true,
        stopped: None,
        progress: Progress::default(),
        created_at: 0,
        updated_at: 0,
    }
}

async fn made(world: &World) -> Hook {
    let hook = hook();
    assert!(world.store.create_hook(hook.clone()).await.unwrap());
    assert!(!world.store.create_hook(hook.clone()).await.unwrap(), "its id is taken");
    world.store.hook(hook.id).await.unwrap().unwrap()
}

fn attempt(seq: i64) -> HookAttempt {
    HookAttempt {
        n: 0,
        seq: Some(seq),
        event_id: Uuid::nil(),
        event: "after_response".into(),
        outcome: "failed".into(),
        status: Some(500),
        error: Some("no".into()),
        duration_ms: 1,
        at: now(),
    }
}

async fn names(world: &World, after: i64) -> Vec<String> {
    world.store.hook_events(after, 99).await.unwrap().into_iter().map(|event| event.event).collect()
}

async fn an_event_is_committed_with_the_steps_that_it_belongs_to_or_not_at_all(world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let told = vec![event("one"), event("two")];
    let first = Commit { steps: vec![step(1)], events: told.clone(), ..commit(&task, None) };
    world.store.commit(first).await.unwrap();
    let late =
        Commit { attempt: task.attempt + 1, steps: vec![step(2)], events: vec![event("late")], ..commit(&task, None) };
    assert!(matches!(world.store.commit(late).await, Err(Error::Fenced)));
    world.store.note_hook_events(vec![event("alone")]).await.unwrap();
    assert_eq!(names(&world, 0).await, ["one", "two", "alone"]);
    let stored = world.store.hook_events(0, 1).await.unwrap().remove(0);
    assert_eq!(HookEvent { seq: 0, ..stored }, told[0]);
}

async fn a_hook_moves_only_from_where_it_stands(world: World) {
    let made = made(&world).await;
    let at = |reached| Progress { reached, attempts: 2, failing_since: Some(5), next_at: 9 };
    let moves = |from: i64, to| Told { hook: made.id, attempt: None, moved: Some((from, at(to))), stopped: None };
    assert!(world.store.told(moves(0, 7)).await.unwrap());
    assert!(!world.store.told(moves(0, 8)).await.unwrap(), "it stands elsewhere");
    let stopped = Told { stopped: Some("gone".into()), ..moves(7, 7) };
    assert!(world.store.told(stopped.clone()).await.unwrap());
    let shown = world.store.hook(made.id).await.unwrap().unwrap();
    assert_eq!((shown.enabled, shown.stopped.as_deref(), shown.progress), (false, Some("gone"), at(7)));
    assert!(!world.store.told(stopped).await.unwrap(), "one that is disabled does not move");
    let again = Hook { enabled: true, url: "https://example.com/new".into(), stopped: None, ..shown.clone() };
    assert!(world.store.put_hook(again).await.unwrap());
    let shown = world.store.hook(made.id).await.unwrap().unwrap();
    assert_eq!(shown.progress, Progress { next_at: 0, ..at(7) }, "its place is its own");
    assert!(world.store.delete_hook(made.id).await.unwrap() && !world.store.delete_hook(made.id).await.unwrap());
    assert!(!world.store.told(moves(7, 8)).await.unwrap());
}

async fn of_the_attempts_the_newest_are_kept(world: World) {
    let made = made(&world).await;
    for n in 1..=203 {
        let told = Told { hook: made.id, attempt: Some(attempt(n)), moved: None, stopped: None };
        world.store.told(told).await.unwrap();
    }
    let all = world.store.hook_attempts(made.id, None, 999).await.unwrap();
    assert_eq!((all.len(), all[0].n, all[199].n), (200, 203, 4));
    assert_eq!(HookAttempt { n: 0, at: 0, ..all[0].clone() }, HookAttempt { at: 0, ..attempt(203) });
    assert_eq!(world.store.hook_attempts(made.id, Some(4), 9).await.unwrap(), []);
    world.store.delete_hook(made.id).await.unwrap();
    assert_eq!(world.rows("SELECT COUNT(*) FROM hook_attempts").await, ["0"]);
}

async fn what_a_hook_was_not_told_stays_and_no_number_is_given_twice(world: World) {
    let made = made(&world).await;
    world.store.note_hook_events(vec![event("one"), event("two"), event("three")]).await.unwrap();
    let all = world.store.hook_events(0, 9).await.unwrap();
    let moved = Some((0, Progress { reached: all[0].seq, ..Progress::default() }));
    world.store.told(Told { hook: made.id, attempt: None, moved, stopped: None }).await.unwrap();
    let prune = || world.store.prune(Old::HookEvents, 0, i64::MAX);
    assert_eq!(prune().await.unwrap().rows, 1);
    assert_eq!(names(&world, 0).await, ["two", "three"]);
    world.store.put_hook(Hook { enabled: false, ..made }).await.unwrap();
    assert_eq!(prune().await.unwrap().rows, 2, "one that is disabled is told of what happens from then on");
    world.store.note_hook_events(vec![event("four")]).await.unwrap();
    let last = all.last().unwrap().seq;
    assert_eq!(names(&world, last).await, ["four"]);
}

async fn a_hook_goes_on_where_it_is_sent(world: World) {
    let early = HookEvent { created_at: 1_000, ..event("early") };
    let late = HookEvent { created_at: 3_000, ..event("late") };
    world.store.note_hook_events(vec![early, late]).await.unwrap();
    let seqs: Vec<i64> = world.store.hook_events(0, 9).await.unwrap().iter().map(|event| event.seq).collect();
    let before = async |time| world.store.hook_events_before(time).await.unwrap();
    assert_eq!((before(500).await, before(2_000).await, before(9_000).await), (seqs[0] - 1, seqs[0], seqs[1]));
    let made = made(&world).await;
    assert_eq!(made.progress.reached, seqs[1], "of what happened before it was made it is not told");
    assert!(world.store.move_hook(made.id, seqs[0]).await.unwrap());
    assert_eq!(world.store.hooks().await.unwrap()[0].progress.reached, seqs[0]);
    assert!(!world.store.move_hook(Uuid::nil(), 0).await.unwrap());
}
