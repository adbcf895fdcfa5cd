//! One run per session, in order, whatever happens to the runs.

use crate::world::{World, ask, commit, complete, leaving, spent, step};
use futures::{FutureExt, future::join_all};
use tercel_store::{Commit, Counts, End, Uuid};

async fn a_run_goes_from_its_claim_to_its_answer_and_the_next_one_follows(world: World) {
    let first = world.accept(ask("a")).await;
    let second = world.accept(ask("a")).await;
    let task = world.claim().await;
    assert_eq!((Some(task.id), task.attempt, task.context_seq), (first.task_id, 1, Some(2)));
    let mut model = Commit {
        steps: vec![step(1), step(2)],
        used: Counts { prompt_tokens: 4, completion_tokens: 3, cost: 5, ..Counts::default() },
        ..commit(&task, None)
    };
    model.spent = vec![spent("server", 3, 7)];
    world.store.commit(model).await.unwrap();
    let row = leaving(&task, "t", 1, 1);
    world.end(&task, complete(vec![row.clone()])).await;
    let ended = world.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((ended.status.as_str(), ended.result.as_deref(), ended.tokens), ("complete", Some("answer"), 7));
    assert_eq!((ended.completion_tokens, ended.cost), (3, 5));
    let counts = world.store.spent("server", 3).await.unwrap();
    assert_eq!((counts.runs, counts.calls, counts.tokens()), (0, 1, 7));
    let steps = world.store.steps(task.id, 0).await.unwrap();
    assert_eq!(steps.iter().map(|s| (s.n, s.body.as_str())).collect::<Vec<_>>(), [(1, "{\"n\":1}"), (2, "{\"n\":2}")]);
    assert_eq!(world.store.claim_outbox(9).await.unwrap().rows[0].id, row.id);
    let next = world.claim().await;
    assert_eq!(Some(next.id), second.task_id);
    let seen = world.store.context(&next, 9).await.unwrap();
    assert_eq!(
        seen.iter().map(|m| (m.seq, m.role.as_str())).collect::<Vec<_>>(),
        [(1, "user"), (2, "user"), (3, "assistant")]
    );
    world.is_consistent().await;
}

async fn a_run_does_not_see_the_questions_that_came_after_its_own(world: World) {
    join_all((0..3).map(|_| world.accept(ask("a")))).await;
    let task = world.claim().await;
    let seen = world.store.context(&task, 9).await.unwrap();
    assert_eq!(seen.iter().map(|m| m.seq).collect::<Vec<_>>(), [1]);
}

async fn a_run_sees_its_own_question_however_many_answers_came_before_its_turn(world: World) {
    join_all((0..4).map(|_| world.accept(ask("a")))).await;
    for _ in 0..3 {
        let task = world.claim().await;
        world.end(&task, complete(vec![])).await;
    }
    let task = world.claim().await;
    let seen = world.store.context(&task, 2).await.unwrap();
    assert_eq!(seen.iter().map(|m| m.seq).collect::<Vec<_>>(), [4, 6, 7], "the newest two, and its own");
}

async fn a_session_has_one_run_at_a_time_in_order(world: World) {
    let asked = join_all((0..6).map(|i| world.accept(ask(["a", "b"][i % 2])))).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let claimed = world.store.claim_tasks(99).await.unwrap();
        assert_eq!((claimed.tasks.len(), claimed.next_at), (2, None));
        for task in claimed.tasks {
            seen.push((task.session_id, Some(task.id)));
            world.end(&task, complete(vec![])).await;
        }
        world.is_consistent().await;
    }
    for session in [asked[0].session_id, asked[1].session_id] {
        let of =
            |all: &[(Uuid, Option<Uuid>)]| all.iter().filter(|(s, _)| *s == session).map(|x| x.1).collect::<Vec<_>>();
        assert_eq!(of(&seen), of(&asked.iter().map(|p| (p.session_id, p.task_id)).collect::<Vec<_>>()));
    }
}

async fn a_waiting_run_gives_the_session_up_and_goes_on_when_it_is_sent_on(world: World) {
    join_all((0..2).map(|_| world.accept(ask("a")))).await;
    let first = world.claim().await;
    world.end(&first, End::Waiting("{}".into())).await;
    let second = world.claim().await;
    assert_ne!(first.id, second.id);
    assert_eq!(world.store.resume_tasks(Some(first.id), "admin").await.unwrap(), [first.id]);
    assert!(world.store.claim_tasks(9).await.unwrap().tasks.is_empty());
    world.is_consistent().await;
    world.end(&second, complete(vec![])).await;
    let again = world.claim().await;
    assert_eq!((again.id, again.attempt, again.error), (first.id, 2, None));
    assert_eq!(world.store.steps(first.id, 0).await.unwrap()[0].kind, "resumed");
    world.is_consistent().await;
}

async fn a_waiting_run_of_an_idle_session_is_ready_at_once_and_all_can_be_sent_on(world: World) {
    for client in ["a", "b"] {
        world.accept(ask(client)).await;
        let task = world.claim().await;
        world.end(&task, End::Waiting("{}".into())).await;
    }
    assert_eq!(world.store.resume_tasks(None, "settings").await.unwrap().len(), 2);
    assert_eq!(world.store.claim_tasks(9).await.unwrap().tasks.len(), 2);
    world.is_consistent().await;
}

async fn who_cancels_a_run_does_not_find_it_waiting(world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    assert_eq!(world.store.cancel_task(task.id).await.unwrap().status, "running");
    world.end(&task, End::Waiting("{}".into())).await;
    let ended = world.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((ended.status.as_str(), ended.completed_at.is_some()), ("cancelled", true));
}

async fn cancelling_ends_what_does_not_run_and_lets_the_next_one_in(world: World) {
    let asked = join_all((0..3).map(|_| world.accept(ask("a")))).await;
    assert_eq!(world.store.cancel_task(asked[0].task_id.unwrap()).await.unwrap().status, "cancelled");
    assert_eq!(world.store.cancel_task(asked[2].task_id.unwrap()).await.unwrap().status, "cancelled");
    world.is_consistent().await;
    let task = world.claim().await;
    assert_eq!(Some(task.id), asked[1].task_id);
    world.end(&task, End::Waiting("{}".into())).await;
    assert_eq!(world.store.cancel_task(task.id).await.unwrap().status, "cancelled");
    assert_eq!(world.store.cancel_task(task.id).await.unwrap().status, "cancelled");
    assert!(world.store.cancel_task(Uuid::nil()).await.is_err());
    assert_eq!(world.statuses().await, ["cancelled"; 3]);
    world.is_consistent().await;
}

async fn a_run_that_failed_lets_the_next_one_in(world: World) {
    join_all((0..2).map(|_| world.accept(ask("a")))).await;
    let task = world.claim().await;
    world.end(&task, End::Failed("{}".into())).await;
    assert_ne!(world.claim().await.id, task.id);
    assert_eq!(world.statuses().await, ["failed", "running"]);
    world.is_consistent().await;
}

async fn tasks_are_listed_by_status_and_by_session_newest_first(world: World) {
    let asked = join_all(["a", "b", "a"].map(|client| world.accept(ask(client)))).await;
    let newest = |ids: &[usize]| {
        let mut ids: Vec<_> = ids.iter().map(|i| asked[*i].task_id.unwrap()).collect();
        ids.sort_by(|a, b| b.cmp(a));
        ids
    };
    let list = async |status, session, after| {
        let tasks = world.store.tasks(status, session, after, 9).await.unwrap();
        tasks.into_iter().map(|task| task.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, None).await, newest(&[0, 1, 2]));
    assert_eq!(list(Some("pending"), Some(asked[0].session_id), None).await, newest(&[0, 2]));
    assert_eq!(list(None, None, Some(newest(&[0, 1, 2])[0])).await, newest(&[0, 1, 2])[1..]);
    world.store.claim_tasks(1).await.unwrap();
    assert_eq!(list(Some("running"), None, None).await.len(), 1);
    assert!(list(Some("waiting"), None, None).await.is_empty());
    let (counts, oldest) = world.store.queue().await.unwrap();
    assert_eq!(counts, [("pending".to_owned(), 2), ("running".into(), 1), ("waiting".into(), 0)]);
    assert!(oldest.is_some());
}

async fn who_waits_for_work_is_woken_by_the_commit_that_made_it(world: World) {
    let wake = world.store.wake();
    world.accept(ask("a")).await;
    assert!(wake.tasks.notified().now_or_never().is_some());
    assert!(wake.tasks.notified().now_or_never().is_none());
    let task = world.claim().await;
    assert!(wake.tasks.notified().now_or_never().is_none());
    let mut following = wake.steps.subscribe();
    assert!(following.try_recv().is_err());
    world.end(&task, complete(vec![leaving(&task, "t", 1, 1)])).await;
    assert_eq!(following.try_recv().unwrap(), task.id);
    assert!(wake.outbox.notified().now_or_never().is_some());
    world.store.commit(commit(&task, None)).await.unwrap_err();
    assert!(wake.outbox.notified().now_or_never().is_none());
}

on_both_engines!(
    what_waits_for_a_time_far_ahead_is_made_due_when_the_clock_was_put_back,
    a_run_goes_from_its_claim_to_its_answer_and_the_next_one_follows,
    a_run_does_not_see_the_questions_that_came_after_its_own,
    a_run_sees_its_own_question_however_many_answers_came_before_its_turn,
    a_session_has_one_run_at_a_time_in_order,
    a_waiting_run_gives_the_session_up_and_goes_on_when_it_is_sent_on,
    a_waiting_run_of_an_idle_session_is_ready_at_once_and_all_can_be_sent_on,
    who_cancels_a_run_does_not_find_it_waiting,
    cancelling_ends_what_does_not_run_and_lets_the_next_one_in,
    a_run_that_failed_lets_the_next_one_in,
    tasks_are_listed_by_status_and_by_session_newest_first,
    who_waits_for_work_is_woken_by_the_commit_that_made_it,
);

async fn what_waits_for_a_time_far_ahead_is_made_due_when_the_clock_was_put_back(world: World) {
    world.accept(ask("a")).await;
    assert_eq!(world.store.pull_back().await.unwrap(), 0);
    world.rows("UPDATE tasks SET run_at = run_at + 86400000000 RETURNING status").await;
    assert!(world.store.claim_tasks(1).await.unwrap().tasks.is_empty());
    assert_eq!(world.store.pull_back().await.unwrap(), 1);
    world.claim().await;
}
