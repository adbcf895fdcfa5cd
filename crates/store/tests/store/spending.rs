//! What is spent is counted once, and what a ceiling stops waits as it shall.

use crate::world::{World, ask, ceiling, commit, complete, spent, step};
use futures::future::join_all;
use tercel_store::{Action, Budget, Ceiling, Commit, Counts, End, Error, Held, Release, Spent, Uuid};

fn full(action: Action) -> Vec<Ceiling> {
    vec![Ceiling { runs: Some(0), action, ..ceiling("server", 1) }]
}

fn release(held: &[Held], runs: Option<i64>, hour: i64) -> Vec<Release> {
    let ceilings = vec![Ceiling { runs, ..ceiling("server", hour) }];
    held.iter().map(|held| Release { held: held.clone(), ceilings: ceilings.clone(), by: "test" }).collect()
}

async fn of_two_ceilings_of_a_day_and_an_hour_both_hold(world: World) {
    let asks = (20..30).map(|hour| {
        let day = Ceiling { since: 20, runs: Some(5), ..ceiling("bot:a", hour) };
        let hour = Ceiling { runs: Some(1), ..ceiling("bot:a", hour) };
        (0..3).map(move |n| {
            let mut ask = ask(&format!("{n}"));
            ask.items[0].ceilings = vec![hour.clone(), day.clone()];
            ask
        })
    });
    let placed = join_all(asks.flatten().map(|ask| world.accept(ask))).await;
    assert_eq!(placed.iter().filter(|placed| placed.task_id.is_some()).count(), 5);
    let hours: Vec<i64> =
        world.store.account("bot:", 0, 99, 1, 99).await.unwrap().iter().map(|l| l.counts.runs).collect();
    assert_eq!((hours.iter().sum::<i64>(), hours.iter().max()), (5, Some(&1)));
    assert_eq!(world.store.spent("bot:a", 20).await.unwrap().runs, 5);
}

async fn money_closes_a_ceiling_and_an_account_adds_up(world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let counts = |cost| Counts { runs: 0, calls: 1, prompt_tokens: 3, completion_tokens: 2, cost, ..Counts::default() };
    let spent = |hour, cost| Spent { scope: "model:m".into(), hour, counts: counts(cost) };
    let all = Commit { spent: vec![spent(24, 5), spent(24, 6), spent(49, 7)], ..commit(&task, None) };
    world.store.commit(all).await.unwrap();
    let lines = world.store.account("model:", 0, 99, 24, 9).await.unwrap();
    let lines: Vec<(i64, i64, i64)> = lines.iter().map(|l| (l.hour, l.counts.calls, l.counts.cost)).collect();
    assert_eq!(lines, [(24, 2, 11), (48, 1, 7)]);
    assert!(world.store.account("model:", 25, 49, 1, 9).await.unwrap().is_empty());
    let refused = async |cost| {
        let mut ask = ask("b");
        ask.items[0].ceilings = vec![Ceiling { cost: Some(cost), since: 24, ..ceiling("model:m", 50) }];
        world.accept(ask).await.refused
    };
    assert_eq!(refused(18).await.as_deref(), Some("model:m"));
    assert_eq!(refused(19).await, None);
}

async fn a_step_that_another_worker_took_over_counts_nothing(mut world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let old = world.restart().await;
    let step = Commit { steps: vec![step(1)], spent: vec![spent("server", 1, 9)], ..commit(&task, None) };
    assert!(crate::world::is_out(&old.commit(step.clone()).await));
    let task = world.claim().await;
    world.store.commit(Commit { attempt: task.attempt, ..step }).await.unwrap();
    assert_eq!(world.store.spent("server", 1).await.unwrap().tokens(), 9);
}

async fn parked_runs_go_on_as_far_as_the_next_window_lets_them_the_oldest_first(world: World) {
    let mut made = Vec::new();
    for n in 0..5 {
        let mut ask = ask(&format!("{n}"));
        ask.items[0].ceilings = full(Action::Park);
        let placed = world.accept(ask).await;
        assert_eq!((placed.refused, placed.full.is_some()), (None, true));
        made.push(placed.task_id.unwrap());
    }
    assert_eq!(world.statuses().await, ["waiting"; 5]);
    assert_eq!(world.store.spent("server", 0).await.unwrap().runs, 0);
    assert_eq!(
        world.store.resume_tasks(None, "a model that answers").await.unwrap(),
        Vec::<Uuid>::new(),
        "it is not what they wait for"
    );
    world.is_consistent().await;

    let held = world.store.parked(None, 9).await.unwrap();
    assert_eq!(held.iter().map(|held| held.id).collect::<Vec<_>>(), made);
    assert_eq!(world.store.parked(Some(&held[3]), 9).await.unwrap().len(), 1);
    world.store.cancel_task(made[1]).await.unwrap();
    let both =
        join_all([release(&held, Some(2), 2), release(&held, Some(2), 2)].map(|all| world.store.release(all))).await;
    let released: Vec<Uuid> = both.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(released, [made[0], made[2]]);
    assert_eq!(world.store.spent("server", 2).await.unwrap().runs, 2);
    assert_eq!(world.store.parked(None, 9).await.unwrap().len(), 2, "a cancelled one waits for nothing");
    let task = world.store.claim_tasks(1).await.unwrap().tasks.remove(0);
    assert_eq!((task.attempt, world.store.steps(task.id, 0).await.unwrap().len()), (1, 0));
    world.end(&task, complete(vec![])).await;
    world.is_consistent().await;
}

async fn a_run_that_has_begun_waits_for_tokens_and_is_not_counted_again(world: World) {
    world.accept(ask("a")).await;
    let task = world.claim().await;
    let end = Some(End::Waiting("{}".into()));
    world.store.commit(Commit { parked: Some("server".into()), ..commit(&task, end) }).await.unwrap();
    let held = world.store.parked(None, 9).await.unwrap();
    assert_eq!(world.store.release(release(&held, Some(0), 1)).await.unwrap(), [task.id], "its run is counted");
    assert_eq!(world.store.spent("server", 1).await.unwrap().runs, 0);
    assert_eq!(world.store.steps(task.id, 0).await.unwrap()[0].kind, "resumed");
    world.is_consistent().await;
}

async fn messages_that_wait_for_each_other_are_answered_by_one_run_of_each_session(world: World) {
    let asks = (0..6).map(|n| {
        let mut ask = ask(if n < 4 { "a" } else { "b" });
        ask.items[0].ceilings = full(Action::Digest);
        ask
    });
    for ask in asks {
        let placed = world.accept(ask).await;
        assert_eq!((placed.task_id, placed.refused.as_deref()), (None, Some("server")));
    }
    assert_eq!(world.statuses().await, [""; 0]);
    let held = world.store.digests(None, 9).await.unwrap();
    assert_eq!(
        held.iter().map(|held| (held.client_id.as_str(), held.messages)).collect::<Vec<_>>(),
        [("a", 4), ("b", 2)]
    );
    assert_eq!(world.store.release(release(&held, Some(1), 2)).await.unwrap().len(), 1, "there is room for one");
    let task = world.claim().await;
    assert_eq!((task.seq, task.context_seq), (4, Some(4)), "it is asked the newest and sees the others");
    world.is_consistent().await;
    let held = world.store.digests(None, 9).await.unwrap();
    assert_eq!(held.len(), 1);
    let both = join_all([0, 0].map(|_| world.store.release(release(&held, None, 3)))).await;
    assert_eq!(both.into_iter().flat_map(Result::unwrap).count(), 1, "once");
    world.is_consistent().await;
}

async fn a_message_that_came_after_the_look_is_not_answered_as_the_one_before_it(world: World) {
    let digested = async |config: &str| {
        let mut ask = ask("a");
        ask.items[0].ceilings = full(Action::Digest);
        ask.items[0].task.as_mut().unwrap().execution_config = Some(config.into());
        world.accept(ask).await
    };
    digested("1").await;
    let before = world.store.digests(None, 9).await.unwrap();
    digested("2").await;
    assert_eq!(world.store.release(release(&before, None, 2)).await.unwrap(), [] as [Uuid; 0]);
    let now = world.store.digests(None, 9).await.unwrap();
    assert_eq!((now[0].messages, now[0].execution_config.as_deref()), (2, Some("2")));
    assert_eq!(world.store.release(release(&now, None, 2)).await.unwrap().len(), 1);
    assert_eq!(world.claim().await.execution_config.as_deref(), Some("2"));
    world.is_consistent().await;
}

async fn a_scope_has_one_budget_for_each_period(world: World) {
    let budget = |scope: &str| Budget {
        id: Uuid::now_v7(),
        scope: scope.into(),
        period: "day".into(),
        runs: Some(1),
        tokens: None,
        cost: None,
        action: "park".into(),
        created_at: 1,
    };
    let (first, second) = (budget("bot:a"), budget("bot:b"));
    world.store.create_budget(first.clone()).await.unwrap();
    assert!(matches!(world.store.create_budget(budget("bot:a")).await, Err(Error::Conflict(_))));
    world.store.create_budget(second.clone()).await.unwrap();
    let moved = Budget { scope: "bot:a".into(), ..second.clone() };
    assert!(matches!(world.store.update_budget(moved).await, Err(Error::Conflict(_))));
    let raised = Budget { runs: None, cost: Some(5), ..first };
    world.store.update_budget(raised.clone()).await.unwrap();
    world.store.delete_budget(second.id).await.unwrap();
    assert!(matches!(world.store.delete_budget(second.id).await, Err(Error::NotFound(_))));
    assert_eq!(world.store.budgets().await.unwrap(), [raised]);
}

on_both_engines!(
    of_two_ceilings_of_a_day_and_an_hour_both_hold,
    money_closes_a_ceiling_and_an_account_adds_up,
    a_step_that_another_worker_took_over_counts_nothing,
    parked_runs_go_on_as_far_as_the_next_window_lets_them_the_oldest_first,
    a_run_that_has_begun_waits_for_tokens_and_is_not_counted_again,
    messages_that_wait_for_each_other_are_answered_by_one_run_of_each_session,
    a_message_that_came_after_the_look_is_not_answered_as_the_one_before_it,
    a_scope_has_one_budget_for_each_period,
    old_hours_become_days_and_old_days_end,
);

async fn old_hours_become_days_and_old_days_end(world: World) {
    // More than one piece: three scopes over ten days, each hour one call.
    let counts = Counts { runs: 1, calls: 1, prompt_tokens: 3, completion_tokens: 2, cost: 5, ..Counts::default() };
    let scopes = ["bot:a", "channel:b", "server"];
    let hours = scopes.iter().flat_map(|scope| (0..240).map(|hour| (scope.to_string(), hour)));
    world.store.spend(hours.map(|(scope, hour)| Spent { scope, hour, counts }).collect()).await.unwrap();
    let account = async |step| world.store.account("", 0, 999, step, 9999).await.unwrap();
    let by_day = account(24).await;
    let mut pieces = 0;
    while world.store.fold_usage(5 * 24).await.unwrap().more {
        pieces += 1;
    }
    assert!(pieces > 0);
    assert_eq!(account(24).await, by_day, "no day has changed");
    let lines = account(1).await;
    assert_eq!(lines.len(), 3 * (5 + 5 * 24), "five days, and the hours of the others");
    assert_eq!((lines[0].hour, lines[0].counts.calls, lines[0].counts.cost), (0, 24, 120));
    assert_eq!(world.store.fold_usage(5 * 24).await.unwrap().rows, 0);
    // A day may be added to once more.
    world.store.spend(vec![Spent { scope: "server".into(), hour: 25, counts }]).await.unwrap();
    assert_eq!(world.store.fold_usage(5 * 24).await.unwrap().rows, 1);
    assert_eq!(world.store.account("server", 24, 48, 1, 9).await.unwrap()[0].counts.calls, 25);
    let mut gone = 0;
    loop {
        let closed = world.store.drop_usage(7 * 24).await.unwrap();
        gone += closed.rows;
        if !closed.more {
            break;
        }
    }
    assert_eq!(gone, 3 * (5 + 2 * 24));
    assert_eq!(account(24).await, by_day.into_iter().filter(|line| line.hour >= 7 * 24).collect::<Vec<_>>());
}
