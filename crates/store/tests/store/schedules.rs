//! A time that comes starts one run, whatever happens around it.

use crate::world::{World, ceiling, complete, fire, schedule};
use tercel_store::{Fire, Fired, Schedule, Uuid};

on_both_engines!(
    a_time_that_came_starts_one_run_and_the_next_one_is_set,
    the_same_time_starts_nothing_a_second_time,
    while_the_last_run_is_open_nothing_is_started_and_it_is_counted,
    what_was_changed_paused_or_deleted_meanwhile_does_not_fire,
    a_time_that_came_before_the_clock_was_put_back_is_not_repeated,
    a_run_that_is_asked_for_leaves_the_next_time_alone,
    a_ceiling_keeps_the_message_and_the_history_says_so,
    only_what_is_due_and_not_paused_is_found_and_the_next_time_is_told,
    a_time_that_passed_in_silence_is_counted_and_starts_nothing,
    a_history_keeps_its_newest_rows,
    a_deleted_schedule_leaves_nothing,
);

async fn made(world: &World, next_at: Option<i64>) -> Schedule {
    let schedule = schedule(next_at);
    assert!(world.store.create_schedule(schedule.clone()).await.unwrap());
    schedule
}

async fn happen(world: &World, fire: Fire) -> Fired {
    world.store.fire(fire).await.unwrap()
}

/// Next time, runs, missed, skipped.
async fn counts(world: &World, id: Uuid) -> (Option<i64>, i64, i64, i64) {
    let row = world.store.schedule(id).await.unwrap().unwrap();
    (row.next_at, row.runs, row.missed, row.skipped)
}

async fn history(world: &World, id: Uuid) -> Vec<(i64, Option<i64>, String, i64, bool)> {
    let rows = world.store.fires(id, None, 500).await.unwrap();
    rows.into_iter().map(|row| (row.n, row.due_at, row.outcome, row.missed, row.task_id.is_some())).collect()
}

async fn end_run(world: &World) {
    let task = world.claim().await;
    world.end(&task, complete(Vec::new())).await;
}

async fn a_time_that_came_starts_one_run_and_the_next_one_is_set(world: World) {
    let schedule = made(&world, Some(10)).await;
    let fired = happen(&world, Fire { missed: 3, ..fire(&schedule, Some(10), Some(20)) }).await;
    let Fired::Run(placed) = fired else { panic!("{fired:?}") };
    let row = world.store.schedule(schedule.id).await.unwrap().unwrap();
    assert_eq!((row.last_task, row.fires), (placed.task_id, 1));
    assert_eq!(counts(&world, schedule.id).await, (Some(20), 1, 3, 0));
    assert_eq!(history(&world, schedule.id).await, [(1, Some(10), "run".into(), 3, true)]);
    assert_eq!(world.statuses().await, ["pending"]);
    world.is_consistent().await;
}

async fn the_same_time_starts_nothing_a_second_time(world: World) {
    let schedule = made(&world, Some(10)).await;
    let both = tokio::join!(
        world.store.fire(fire(&schedule, Some(10), Some(20))),
        world.store.fire(fire(&schedule, Some(10), Some(20)))
    );
    assert!(matches!(both, (Ok(Fired::Run(_)), Ok(Fired::Gone))), "{both:?}");
    assert_eq!(world.statuses().await, ["pending"]);
}

async fn while_the_last_run_is_open_nothing_is_started_and_it_is_counted(world: World) {
    let schedule = made(&world, Some(10)).await;
    let Fired::Run(first) = happen(&world, fire(&schedule, Some(10), Some(20))).await else { panic!() };
    let open = first.task_id.unwrap();
    assert_eq!(happen(&world, fire(&schedule, Some(20), Some(30))).await, Fired::Open(open));
    assert_eq!(happen(&world, fire(&schedule, None, None)).await, Fired::Open(open));
    assert_eq!(counts(&world, schedule.id).await, (Some(30), 1, 0, 1));
    end_run(&world).await;
    assert!(matches!(happen(&world, fire(&schedule, Some(30), Some(40))).await, Fired::Run(_)));
    let outcomes = history(&world, schedule.id).await.into_iter().map(|row| row.2).collect::<Vec<_>>();
    assert_eq!(outcomes, ["run", "skipped", "run"]);
    assert_eq!(world.statuses().await, ["complete", "pending"]);
    world.is_consistent().await;
}

async fn what_was_changed_paused_or_deleted_meanwhile_does_not_fire(world: World) {
    let old = made(&world, Some(10)).await;
    let changed = Schedule { updated_at: 2, ..old.clone() };
    world.store.put_schedule(changed.clone()).await.unwrap();
    assert_eq!(happen(&world, fire(&old, Some(10), Some(20))).await, Fired::Gone);
    world.store.put_schedule(Schedule { active: false, ..changed.clone() }).await.unwrap();
    assert_eq!(happen(&world, fire(&changed, Some(10), Some(20))).await, Fired::Gone);
    world.store.delete_schedule(old.id).await.unwrap();
    assert_eq!(happen(&world, fire(&changed, Some(10), Some(20))).await, Fired::Gone);
    assert_eq!(world.statuses().await, Vec::<String>::new());
}

async fn a_time_that_came_before_the_clock_was_put_back_is_not_repeated(world: World) {
    let schedule = made(&world, Some(10)).await;
    happen(&world, fire(&schedule, Some(10), Some(20))).await;
    end_run(&world).await;
    assert!(world.store.move_schedule(schedule.id, Some(20), Some(10)).await.unwrap());
    assert!(!world.store.move_schedule(schedule.id, Some(20), Some(5)).await.unwrap());
    assert!(matches!(happen(&world, fire(&schedule, Some(10), Some(20))).await, Fired::Repeated(_)));
    assert_eq!(counts(&world, schedule.id).await, (Some(20), 1, 0, 0));
    assert_eq!(world.statuses().await, ["complete"]);
}

async fn a_run_that_is_asked_for_leaves_the_next_time_alone(world: World) {
    let schedule = made(&world, Some(10)).await;
    let paused = Schedule { active: false, ..schedule.clone() };
    world.store.put_schedule(paused).await.unwrap();
    assert!(matches!(happen(&world, fire(&schedule, None, None)).await, Fired::Run(_)));
    assert_eq!(counts(&world, schedule.id).await, (Some(10), 1, 0, 0));
    assert_eq!(history(&world, schedule.id).await, [(1, None, "run".into(), 0, true)]);
}

async fn a_ceiling_keeps_the_message_and_the_history_says_so(world: World) {
    let schedule = made(&world, Some(10)).await;
    let mut full = fire(&schedule, Some(10), Some(20));
    let ceiling = tercel_store::Ceiling { runs: Some(0), ..ceiling("server", 1) };
    full.accept.as_mut().unwrap().items[0].ceilings = vec![ceiling];
    let Fired::Run(placed) = happen(&world, full).await else { panic!() };
    assert_eq!(placed.task_id, None);
    assert_eq!(counts(&world, schedule.id).await, (Some(20), 0, 0, 0));
    assert_eq!(history(&world, schedule.id).await, [(1, Some(10), "refused".into(), 0, false)]);
}

async fn a_time_that_passed_in_silence_is_counted_and_starts_nothing(world: World) {
    let schedule = made(&world, Some(10)).await;
    let silent = Fire { accept: None, missed: 2, ..fire(&schedule, Some(10), Some(20)) };
    assert_eq!(happen(&world, silent).await, Fired::Silent);
    assert_eq!(counts(&world, schedule.id).await, (Some(20), 0, 2, 0));
    assert_eq!(history(&world, schedule.id).await, [(1, Some(10), "missed".into(), 2, false)]);
    assert_eq!(world.statuses().await, Vec::<String>::new());
}

async fn only_what_is_due_and_not_paused_is_found_and_the_next_time_is_told(world: World) {
    let (second, first) = (made(&world, Some(20)).await, made(&world, Some(10)).await);
    made(&world, Some(40)).await;
    made(&world, None).await;
    let paused = made(&world, Some(5)).await;
    world.store.put_schedule(Schedule { active: false, ..paused }).await.unwrap();
    let (due, next) = world.store.due_schedules(20, 9).await.unwrap();
    assert_eq!(due.iter().map(|row| row.id).collect::<Vec<_>>(), [first.id, second.id]);
    assert_eq!(next, Some(40));
    assert_eq!(world.store.due_schedules(4, 9).await.unwrap().1, Some(10));
    let all = world.store.schedules(None, 3).await.unwrap();
    assert_eq!(world.store.schedules(Some(all[2].id), 9).await.unwrap().len(), 2);
}

async fn a_history_keeps_its_newest_rows(world: World) {
    let schedule = made(&world, Some(0)).await;
    happen(&world, fire(&schedule, Some(0), Some(1))).await;
    for due in 1..=205 {
        happen(&world, fire(&schedule, Some(due), Some(due + 1))).await;
    }
    let rows = world.store.fires(schedule.id, None, 500).await.unwrap();
    assert_eq!((rows.len(), rows[0].n, rows[199].n), (200, 206, 7));
    assert_eq!(world.store.fires(schedule.id, Some(9), 500).await.unwrap().len(), 2);
}

async fn a_deleted_schedule_leaves_nothing(world: World) {
    let schedule = made(&world, Some(10)).await;
    happen(&world, fire(&schedule, Some(10), None)).await;
    assert!(!world.store.create_schedule(schedule.clone()).await.unwrap());
    assert!(world.store.delete_schedule(schedule.id).await.unwrap());
    assert!(!world.store.delete_schedule(schedule.id).await.unwrap());
    assert_eq!(history(&world, schedule.id).await, []);
}
