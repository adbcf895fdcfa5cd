//! Accepted means stored, numbered and counted.

use crate::world::{World, ask, ceiling, delivered, item, placed, spent};
use futures::future::join_all;
use tercel_store::{Accept, Accepted, Ceiling, Error, NewOutbox, SessionRef, Uuid, accept::Busy};

async fn a_delivery_becomes_a_message_and_a_task_in_one_commit(world: World) {
    let accept = delivered(ask("a"), &["id:1"]);
    let delivery = accept.delivery.clone().unwrap();
    let placed = world.accept(accept).await;
    let task = world.store.task(placed.task_id.unwrap()).await.unwrap().unwrap();
    let kept = world.store.delivery(delivery.id).await.unwrap().unwrap();
    assert_eq!((task.status.as_str(), task.delivery_id, task.seq), ("pending", Some(delivery.id), 1));
    assert_eq!(
        (kept.state.as_str(), kept.outcome.as_deref(), kept.body),
        ("processed", Some("run"), Some(delivery.body))
    );
    let messages = world.store.messages(placed.session_id, None, 9).await.unwrap();
    assert_eq!(messages.iter().map(|m| (m.id, m.task_id)).collect::<Vec<_>>(), [(placed.message_id, placed.task_id)]);
    world.is_consistent().await;
}

async fn sixty_four_at_once_into_one_session_are_numbered_without_a_hole(world: World) {
    let all = join_all((0..64).map(|_| world.accept(ask("same")))).await;
    assert!(all.iter().all(|placed| placed.session_id == all[0].session_id));
    let seqs = world.rows("SELECT seq FROM messages ORDER BY seq").await;
    assert_eq!(seqs, (1..=64).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(world.rows("SELECT seq FROM tasks WHERE ready").await, ["1"]);
    world.is_consistent().await;
}

async fn sixty_four_at_once_into_as_many_sessions_are_all_ready(world: World) {
    join_all((0..64).map(|i| world.accept(ask(&i.to_string())))).await;
    assert_eq!(world.rows("SELECT COUNT(*), COUNT(*) FILTER (WHERE ready), MAX(seq) FROM tasks").await, ["64 64 1"]);
    world.is_consistent().await;
}

async fn a_session_named_by_its_id_and_by_its_key_in_one_group_is_one_session(world: World) {
    let (session, _) = world.store.open_session("a", "default", "", None, None).await.unwrap();
    let by_id = || Accept { items: vec![item(SessionRef::Id(session.id))], ..Accept::default() };
    let asks = (0..20).map(|i| world.accept(if i % 2 == 0 { by_id() } else { ask("a") }));
    assert!(join_all(asks).await.iter().all(|placed| placed.session_id == session.id));
    world.is_consistent().await;
}

async fn one_that_names_no_session_fails_alone(world: World) {
    let nowhere = Accept { items: vec![item(SessionRef::Id(Uuid::nil()))], ..Accept::default() };
    let asks = (0..20).map(|i| if i == 7 { delivered(nowhere.clone(), &["lost"]) } else { ask(&i.to_string()) });
    let answers = join_all(asks.map(|ask| world.store.accept(ask))).await;
    for (i, answer) in answers.into_iter().enumerate() {
        match (i, answer) {
            (7, Err(Error::NotFound(message))) => assert_eq!(message, format!("There is no session {}", Uuid::nil())),
            (7, other) => panic!("{other:?}"),
            (_, answer) => drop(placed(answer)),
        }
    }
    let left = "SELECT (SELECT COUNT(*) FROM deliveries), (SELECT COUNT(*) FROM dedupe), (SELECT COUNT(*) FROM tasks)";
    assert_eq!(world.rows(left).await, ["0 0 19"]);
    world.is_consistent().await;
}

async fn a_ceiling_of_ten_lets_exactly_ten_of_a_hundred_through(world: World) {
    let limited = Ceiling { runs: Some(10), ..ceiling("integration:example", 7) };
    let asks = (0..100).map(|i| {
        let mut ask = delivered(ask(&format!("{}", i % 30)), &[]);
        ask.items[0].ceilings = vec![ceiling("server", 7), limited.clone()];
        world.accept(ask)
    });
    let all = join_all(asks).await;
    let refused: Vec<_> = all.iter().filter(|placed| placed.task_id.is_none()).map(|p| p.refused.clone()).collect();
    assert_eq!(refused, vec![Some("integration:example".to_owned()); 90]);
    for scope in ["integration:example", "server"] {
        assert_eq!(world.store.spent(scope, 7).await.unwrap().runs, 10);
    }
    let outcomes = "SELECT outcome, reason, COUNT(*) FROM deliveries GROUP BY 1, 2 ORDER BY 1";
    let reached = "stored The ceiling of `integration:example` was reached 90";
    assert_eq!(world.rows(outcomes).await, ["run - 10", reached]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM messages").await, ["100"]);
    world.is_consistent().await;
}

async fn spent_tokens_close_a_ceiling_of_tokens(world: World) {
    let mut ask = ask("a");
    ask.items[0].ceilings = vec![Ceiling { tokens: Some(50), ..ceiling("bot:default", 1) }];
    let again = |busy| {
        let mut again = ask.clone();
        (again.items[0].message.id, again.items[0].busy) = (Uuid::now_v7(), busy);
        again.items[0].task.as_mut().unwrap().id = Uuid::now_v7();
        again
    };
    world.accept(ask.clone()).await;
    let task = world.claim().await;
    let mut commit = crate::world::commit(&task, None);
    (commit.used.prompt_tokens, commit.spent) = (50, vec![spent("bot:default", 1, 50)]);
    world.store.commit(commit).await.unwrap();
    assert_eq!(world.accept(again(Busy::Enqueue)).await.refused.as_deref(), Some("bot:default"));
    // A run that is refused does not stop the one that goes on.
    assert!(world.accept(again(Busy::Interrupt)).await.interrupted.is_empty());
    assert!(!world.store.task(task.id).await.unwrap().unwrap().cancelled);
    let counts = world.store.spent("bot:default", 1).await.unwrap();
    assert_eq!((counts.runs, counts.tokens()), (1, 50));
}

async fn of_many_at_once_that_want_an_idle_session_one_gets_it(world: World) {
    let asks = (0..20).map(|i| {
        let mut ask = delivered(ask("a"), &[&i.to_string()]);
        ask.items[0].busy = Busy::Reject;
        ask.items[0].ceilings = vec![ceiling("server", 1)];
        world.store.accept(ask)
    });
    let answers = join_all(asks).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Accepted::New(_)))).count(), 1);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Err(Error::Conflict(_)))).count(), 19);
    let left = "SELECT (SELECT COUNT(*) FROM deliveries), (SELECT COUNT(*) FROM dedupe), (SELECT runs FROM usage)";
    assert_eq!(world.rows(left).await, ["1 1 1"]);
    world.is_consistent().await;
}

async fn of_many_at_once_that_interrupt_only_the_last_is_not_told_to_stop(world: World) {
    world.accept(ask("a")).await;
    world.claim().await;
    let asks = (0..10).map(|_| {
        let mut ask = ask("a");
        ask.items[0].busy = Busy::Interrupt;
        world.accept(ask)
    });
    let interrupted: usize = join_all(asks).await.iter().map(|placed| placed.interrupted.len()).sum();
    assert_eq!(interrupted, 10);
    let stopped = "SELECT status, cancelled, COUNT(*) FROM tasks GROUP BY 1, 2 ORDER BY 1, 2";
    assert_eq!(world.rows(stopped).await, ["pending 0 1", "pending 1 9", "running 1 1"]);
    assert_eq!(world.rows("SELECT seq FROM tasks WHERE NOT cancelled").await, ["11"]);
    world.is_consistent().await;
}

async fn a_message_without_a_run_is_only_kept(world: World) {
    let mut quiet = ask("a");
    quiet.items[0].task = None;
    assert_eq!(world.accept(quiet).await.task_id, None);
    assert!(world.store.claim_tasks(9).await.unwrap().tasks.is_empty());
    world.is_consistent().await;
}

async fn a_message_that_is_shown_leaves_for_its_target_in_the_same_commit(world: World) {
    world.answer("a", 1).await;
    let mut shown = ask("b");
    let like = world.store.outbox(None, None, 1).await.unwrap().remove(0);
    let row = NewOutbox {
        id: Uuid::now_v7(),
        target: like.target,
        task_id: None,
        session_id: None,
        bot_id: like.bot_id,
        dispatch_type: like.dispatch_type,
        sealed_target: like.sealed_target,
        text: "[test] hello".into(),
        part: 1,
        parts: 1,
        hops: 0,
        rehearse: false,
        expires_at: None,
    };
    shown.items[0].shown = vec![row.clone()];
    let placed = world.accept(shown).await;
    assert_eq!(world.store.outbox_row(row.id).await.unwrap().unwrap().session_id, Some(placed.session_id));
    assert_eq!(world.outbox().await, ["1/1:pending", "[test] hello:pending"]);
    world.is_consistent().await;
}

async fn a_body_of_any_kind_comes_back_as_it_was_and_a_large_text_is_small_on_disk(world: World) {
    let text: Vec<u8> = b"{\"url\": \"https://example.com/\"}".iter().copied().cycle().take(50_000).collect();
    let noise: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    for body in [Vec::new(), vec![0], vec![1; 4096], text[..4095].to_vec(), text, noise] {
        let mut accept = delivered(ask("a"), &[]);
        let delivery = accept.delivery.as_mut().unwrap();
        delivery.body.clone_from(&body);
        let id = delivery.id;
        world.accept(accept).await;
        assert!(world.store.delivery(id).await.unwrap().unwrap().body == Some(body));
    }
    let sizes = "SELECT LENGTH(body) < 2000 FROM deliveries ORDER BY id";
    assert_eq!(world.rows(sizes).await, ["1", "1", "1", "0", "1", "0"]);
}

on_both_engines!(
    a_delivery_becomes_a_message_and_a_task_in_one_commit,
    sixty_four_at_once_into_one_session_are_numbered_without_a_hole,
    sixty_four_at_once_into_as_many_sessions_are_all_ready,
    a_session_named_by_its_id_and_by_its_key_in_one_group_is_one_session,
    one_that_names_no_session_fails_alone,
    a_ceiling_of_ten_lets_exactly_ten_of_a_hundred_through,
    spent_tokens_close_a_ceiling_of_tokens,
    of_many_at_once_that_want_an_idle_session_one_gets_it,
    of_many_at_once_that_interrupt_only_the_last_is_not_told_to_stop,
    a_message_without_a_run_is_only_kept,
    a_message_that_is_shown_leaves_for_its_target_in_the_same_commit,
    a_body_of_any_kind_comes_back_as_it_was_and_a_large_text_is_small_on_disk,
);
