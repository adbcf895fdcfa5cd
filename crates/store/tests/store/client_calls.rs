//! Calls of a client's tools: they last, are answered once, and send their run on.

use crate::world::{World, ask, commit, complete, step};
use tercel_store::{ClientCall, ClientCalls, Commit, End, Task, Uuid, now};

on_both_engines!(
    a_run_goes_on_when_the_last_of_its_calls_is_answered,
    an_answer_that_comes_while_the_run_is_at_work_is_not_lost,
    what_waits_too_long_goes_on_and_what_has_ended_is_forgotten,
);

fn call(task: &Task, id: &str, expires_at: i64) -> ClientCall {
    let (name, arguments) = ("locate".into(), "{\"precise\":true}".into());
    ClientCall {
        session_id: task.session_id,
        call_id: id.into(),
        name,
        arguments,
        answer: None,
        asked_at: 5,
        expires_at,
    }
}

fn waiting(task: &Task, asked: Vec<ClientCall>) -> Commit {
    let end = Some(End::Waiting("{\"code\":\"error\",\"message\":\"waits\"}".into()));
    Commit { client: ClientCalls { asked, done: Vec::new() }, ..commit(task, end) }
}

async fn status(world: &World, task: Uuid) -> String {
    world.store.task(task).await.unwrap().unwrap().status
}

async fn answer(world: &World, task: Uuid, call: &str, answer: &str) -> bool {
    world.store.answer_client_call(task, call.into(), answer.into()).await.unwrap()
}

async fn a_run_goes_on_when_the_last_of_its_calls_is_answered(mut world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    world.store.commit(waiting(&task, vec![call(&task, "1", i64::MAX), call(&task, "2", i64::MAX)])).await.unwrap();
    assert_eq!(
        world.store.client_calls(task.id).await.unwrap(),
        [call(&task, "1", i64::MAX), call(&task, "2", i64::MAX)]
    );
    let session = task.session_id;
    assert_eq!(world.store.task_of_client(session, Some("2")).await.unwrap(), Some(task.id));
    assert_eq!(world.store.task_of_client(session, Some("3")).await.unwrap(), None);
    world.accept(ask("a")).await;
    let next = world.claim().await;
    assert_eq!((next.session_id == session, next.id == task.id), (true, false), "the session is free meanwhile");

    world.restart().await;
    assert!(world.store.resume_tasks(None, "the start").await.unwrap().is_empty(), "nobody else sends it on");
    assert!(answer(&world, task.id, "1", "{\"Ok\":1}").await);
    assert!(answer(&world, task.id, "1", "{\"Ok\":2}").await, "known, and the first one counts");
    assert!(!answer(&world, task.id, "3", "{}").await);
    assert_eq!(status(&world, task.id).await, "waiting");
    assert!(answer(&world, task.id, "2", "{\"Ok\":3}").await);
    assert_eq!(status(&world, task.id).await, "pending");

    let next = world.claim().await;
    world.store.commit(commit(&next, Some(complete(vec![])))).await.unwrap();
    let again = world.claim().await;
    assert_eq!((again.id, again.attempt), (task.id, 2));
    let calls = world.store.client_calls(task.id).await.unwrap();
    assert_eq!(calls[0].answer.as_deref(), Some("{\"Ok\":1}"));
    let client = ClientCalls { asked: Vec::new(), done: vec!["1".into(), "2".into()] };
    world.store.commit(Commit { steps: vec![step(9)], client, ..commit(&again, None) }).await.unwrap();
    assert!(world.store.client_calls(task.id).await.unwrap().is_empty());
    assert!(!answer(&world, task.id, "1", "{}").await);
    world.is_consistent().await;
}

async fn an_answer_that_comes_while_the_run_is_at_work_is_not_lost(world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    world.store.commit(waiting(&task, vec![call(&task, "1", i64::MAX)])).await.unwrap();
    world.store.resume_tasks(Some(task.id), "operator").await.unwrap();
    let again = world.claim().await;
    assert!(answer(&world, task.id, "1", "{}").await);
    // It had looked before, and waits again for what is there by now.
    world.store.commit(waiting(&again, vec![call(&task, "1", i64::MAX)])).await.unwrap();
    assert_eq!(status(&world, task.id).await, "pending");
    world.is_consistent().await;
}

async fn what_waits_too_long_goes_on_and_what_has_ended_is_forgotten(world: World) {
    let (hour, mut tasks) = (3_600_000_000, Vec::new());
    for (place, expires_at) in [("a", now() - 1), ("b", now() - 1), ("c", now() + hour)] {
        world.accept(ask(place)).await;
        let task = world.claim().await;
        world.store.commit(waiting(&task, vec![call(&task, "1", expires_at)])).await.unwrap();
        tasks.push(task.id);
    }
    world.store.cancel_task(tasks[1]).await.unwrap();
    assert!(!answer(&world, tasks[1], "1", "{}").await, "it was cancelled");
    let next = world.store.expire_client_calls().await.unwrap().unwrap();
    assert!(next > now());
    let mut statuses = Vec::new();
    for task in &tasks {
        statuses.push((status(&world, *task).await, world.store.client_calls(*task).await.unwrap().len()));
    }
    assert_eq!(statuses, [("pending".into(), 1), ("cancelled".into(), 0), ("waiting".into(), 1)]);
    world.is_consistent().await;
}
