//! Whatever order things come in, no session and no target is left with work and nobody to do it.

use crate::world::{World, ask, commit, complete, leaving, postgres_store, store};
use proptest::prelude::*;
use tercel_store::{AttemptEnd, End, OutboxRow, Task, Uuid, accept::Busy};

#[derive(Debug, Clone)]
enum Move {
    Ask(u8, Busy),
    Claim(i64),
    End(usize, u8),
    Cancel(usize),
    Resume(usize),
    Send(i64),
    Sent(usize, u8),
    Retry(usize, bool),
    Drop(usize),
    Unpark,
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let busy = prop_oneof![Just(Busy::Enqueue), Just(Busy::Reject), Just(Busy::Interrupt)];
    let index = any::<usize>();
    let one = prop_oneof![
        4 => (0..3_u8, busy).prop_map(|(session, busy)| Move::Ask(session, busy)),
        4 => (1..3_i64).prop_map(Move::Claim),
        5 => (index, 0..5_u8).prop_map(|(i, how)| Move::End(i, how)),
        1 => index.prop_map(Move::Cancel),
        1 => index.prop_map(Move::Resume),
        4 => (1..3_i64).prop_map(Move::Send),
        5 => (index, 0..8_u8).prop_map(|(i, how)| Move::Sent(i, how)),
        2 => (index, any::<bool>()).prop_map(|(i, resolve)| Move::Retry(i, resolve)),
        1 => index.prop_map(Move::Drop),
        1 => Just(Move::Unpark),
        1 => Just(Move::Restart),
    ];
    proptest::collection::vec(one, 10..60)
}

async fn play(moves: Vec<Move>, mut world: World) {
    let (mut tasks, mut outbox): (Vec<Uuid>, Vec<Uuid>) = Default::default();
    let (mut running, mut sending): (Vec<Task>, Vec<OutboxRow>) = Default::default();
    let pick = |list: &[Uuid], i: usize| list.get(i % list.len().max(1)).copied();
    for one in moves {
        // Refusals are part of the game: what must hold is checked after each move.
        match one {
            Move::Ask(session, busy) => {
                let mut ask = ask(&session.to_string());
                ask.items[0].busy = busy;
                tasks.extend(ask.items[0].task.as_ref().map(|task| task.id));
                let _ = world.store.accept(ask).await;
            }
            Move::Claim(limit) => running.extend(world.store.claim_tasks(limit).await.unwrap().tasks),
            Move::End(i, how) if !running.is_empty() => {
                let task = running.swap_remove(i % running.len());
                let end = match how {
                    0 => End::Failed("{}".into()),
                    1 => End::Cancelled,
                    2 => End::Waiting("{}".into()),
                    parts => {
                        let target = ["x", "y"][i % 2];
                        let parts = u32::from(parts) - 1;
                        let rows: Vec<_> = (1..=parts).map(|part| leaving(&task, target, part, parts)).collect();
                        outbox.extend(rows.iter().map(|row| row.id));
                        complete(rows)
                    }
                };
                world.store.commit(commit(&task, Some(end))).await.unwrap();
            }
            Move::Cancel(i) => {
                if let Some(task) = pick(&tasks, i) {
                    let _ = world.store.cancel_task(task).await;
                }
            }
            Move::Resume(i) => drop(world.store.resume_tasks(pick(&tasks, i), "test").await.unwrap()),
            Move::Send(limit) => sending.extend(world.store.claim_outbox(limit).await.unwrap().rows),
            Move::Sent(i, how) if !sending.is_empty() => {
                let row = sending.swap_remove(i % sending.len());
                let end = match how {
                    0 => AttemptEnd::Dead("{}".into()),
                    1 => AttemptEnd::Held("{}".into()),
                    2 => AttemptEnd::Parked("{}".into()),
                    3 => AttemptEnd::Expired,
                    4 => AttemptEnd::Retry { at: 0, error: "{}".into(), unknown: true },
                    _ => AttemptEnd::Sent("{}".into()),
                };
                world.store.end_attempt(&row, end).await.unwrap();
            }
            Move::Retry(i, resolve) => {
                if let Some(row) = pick(&outbox, i) {
                    let _ = world.store.retry_outbox(row, resolve).await;
                }
            }
            Move::Drop(i) => {
                if let Some(row) = pick(&outbox, i) {
                    let _ = world.store.drop_outbox(row).await;
                }
            }
            Move::Unpark => drop(world.store.unpark_outbox("example").await.unwrap()),
            Move::Restart => {
                world.restart().await.close().await;
                running.clear();
                sending.clear();
            }
            Move::End(..) | Move::Sent(..) => {}
        }
        world.is_consistent().await;
    }
}

fn run(world: impl Future<Output = World>, moves: Vec<Move>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { play(moves, world.await).await });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_interleaving_leaves_work_without_a_head_on_sqlite(moves in moves()) {
        run(store(), moves);
    }

    #[test]
    fn no_interleaving_leaves_work_without_a_head_on_postgres(moves in moves()) {
        run(postgres_store(), moves);
    }
}
