//! What no longer holds a thing changes nothing about it.

use crate::world::{World, ask, commit, complete, is_out, leaving, spent, step};
use tercel_store::{AttemptEnd, Commit, Counts, Error};

async fn a_commit_of_an_attempt_that_is_over_changes_nothing(mut world: World) {
    world.accept(ask("a")).await;
    let stale = world.claim().await;
    let old = world.restart().await;
    let fresh = world.claim().await;
    assert_eq!((stale.id, stale.attempt, fresh.attempt), (fresh.id, 1, 2));
    let write = |task| Commit {
        steps: vec![step(1)],
        used: Counts { prompt_tokens: 9, ..Counts::default() },
        spent: vec![spent("server", 1, 5)],
        ..commit(task, Some(complete(vec![leaving(task, "t", 1, 1)])))
    };
    // By the old process, and by this one for the old attempt or with the old process's number of it.
    assert!(is_out(&old.commit(write(&stale)).await));
    assert!(is_out(&old.commit(write(&fresh)).await));
    assert!(matches!(world.store.commit(write(&stale)).await, Err(Error::Fenced)));
    let untouched = "SELECT status, tokens, (SELECT COUNT(*) FROM steps), (SELECT COUNT(*) FROM usage), \
                     (SELECT COUNT(*) FROM outbox), (SELECT COUNT(*) FROM messages) FROM tasks";
    assert_eq!(world.rows(untouched).await, ["running 0 0 0 0 1"]);
    // In one group with the commit that counts, too.
    let (late, right) = tokio::join!(world.store.commit(write(&stale)), world.store.commit(write(&fresh)));
    assert!(matches!((late, right), (Err(Error::Fenced), Ok(()))));
    assert_eq!(world.rows(untouched).await, ["complete 9 1 1 1 2"]);
    assert!(matches!(world.store.commit(write(&fresh)).await, Err(Error::Fenced)));
    world.is_consistent().await;
}

async fn a_commit_without_steps_or_end_is_fenced_too(world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let tokens = || Commit { used: Counts { prompt_tokens: 5, ..Counts::default() }, ..commit(&task, None) };
    let (one, two) = tokio::join!(world.store.commit(tokens()), world.store.commit(tokens()));
    assert!(one.is_ok() && two.is_ok());
    world.end(&task, complete(vec![])).await;
    assert!(matches!(world.store.commit(tokens()).await, Err(Error::Fenced)));
    assert_eq!(world.store.task(task.id).await.unwrap().unwrap().tokens, 10);
}

async fn a_run_ends_once_even_when_two_ends_are_committed_together(world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let end = || world.store.commit(commit(&task, Some(complete(vec![]))));
    let (one, two) = tokio::join!(end(), end());
    assert!(matches!((one, two), (Ok(()), Err(Error::Fenced))));
    world.is_consistent().await;
}

async fn a_restart_frees_runs_and_remembers_that_a_post_was_on_its_way(mut world: World) {
    let [row] = world.answer("t", 1).await[..] else { panic!() };
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let sending = world.store.claim_outbox(9).await.unwrap().rows.remove(0);
    let old = world.restart().await;
    assert!(world.store.worker() > old.worker());
    world.is_consistent().await;
    assert!(is_out(&old.end_attempt(&sending, AttemptEnd::Sent("{}".into())).await));
    assert_eq!(world.store.attempts(row).await.unwrap()[0].outcome, None);
    assert_eq!(world.claim().await.id, task.id);
    let again = world.store.claim_outbox(9).await.unwrap().rows.remove(0);
    assert_eq!((again.id, again.unknown, again.attempts), (row, true, 2));
    assert!(matches!(world.store.end_attempt(&sending, AttemptEnd::Sent("{}".into())).await, Err(Error::Fenced)));
    world.store.end_attempt(&again, AttemptEnd::Sent("{}".into())).await.unwrap();
    let attempts = world.store.attempts(row).await.unwrap();
    assert_eq!(attempts.iter().map(|a| a.outcome.as_deref()).collect::<Vec<_>>(), [None, Some("sent")]);
    world.is_consistent().await;
}

on_both_engines!(
    a_commit_of_an_attempt_that_is_over_changes_nothing,
    a_commit_without_steps_or_end_is_fenced_too,
    a_run_ends_once_even_when_two_ends_are_committed_together,
    a_restart_frees_runs_and_remembers_that_a_post_was_on_its_way,
);
