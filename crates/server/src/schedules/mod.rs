//! Runs that begin by the clock: sleep until the next time comes, start what is due, never look without need.

mod cron;
mod definition;
mod quiet;
#[cfg(test)]
mod tests;
mod when;
mod zone;

pub use definition::Definition;
pub use quiet::QuietHours;
pub use when::{MOST, Timing, When, count, is_silent, next_fire};

use crate::{
    app::App,
    ceilings,
    clock::{Clock, Wall},
    disk, succession,
};
use futures::future::join_all;
use std::sync::Arc;
use tercel_store::{Error, Fire, Fired, NewNotice, Result, Schedule, now};

/// Schedules taken at once.
const GROUP: i64 = 256;

/// Starts what is due, until the server stops.
pub async fn run_all(app: Arc<App>) {
    run_by(app, Arc::new(now)).await;
}

/// The same by a given clock.
pub async fn run_by(app: Arc<App>, wall: Wall) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    let mut clock = Clock::of(wall);
    let mut was_set_back = true;
    loop {
        succession::is_ours(&app).await;
        let done = async {
            if was_set_back {
                realign(&app, &clock).await?;
            }
            start_due(&app, &clock).await
        };
        let next = match done.await {
            Ok(next) => next,
            Err(Error::Stopping) => return,
            Err(error) => {
                tracing::error!("Schedules cannot be read or started and are tried again: {error}");
                Some(clock.now() + 1_000_000)
            }
        };
        was_set_back = tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.schedules.notified() => clock.was_set_back(),
            set_back = clock.sleep_until(next) => set_back,
        };
    }
}

/// Starts what is due; answers when the next time comes.
async fn start_due(app: &Arc<App>, clock: &Clock) -> Result<Option<i64>> {
    loop {
        let time = clock.now();
        let (due, next) = app.store.due_schedules(time, GROUP).await?;
        if due.is_empty() {
            return Ok(next);
        }
        if disk::is_full(app) || app.runs.is_backed_up(app).await {
            return Ok(Some(time + 5_000_000));
        }
        for started in join_all(due.iter().map(|schedule| start(app, schedule, time))).await {
            started?;
        }
    }
}

async fn start(app: &Arc<App>, schedule: &Schedule, time: i64) -> Result<()> {
    let Some(due_at) = schedule.next_at else { return Ok(()) };
    let read = Definition::read(schedule).and_then(|definition| Ok((definition.when.parse()?, definition)));
    let (timing, definition) = match read {
        Ok(read) => read,
        Err(problem) => {
            app.store.move_schedule(schedule.id, Some(due_at), None).await?;
            app.raise(unreadable(schedule, problem)).await;
            return Ok(());
        }
    };
    let late = count(&timing, definition.anchor, due_at, time);
    let silent = late > 0 && is_silent(&timing, time);
    let fire = Fire {
        schedule: schedule.id,
        updated_at: schedule.updated_at,
        due_at: Some(due_at),
        next_at: next_fire(&timing, definition.anchor, time.max(due_at)),
        missed: late + i64::from(silent),
        accept: (!silent).then(|| definition.accept(app, schedule, Some(due_at))),
    };
    let missed = fire.missed;
    let fired = app.store.fire(fire).await?;
    report(app, schedule, &fired).await;
    if missed > 0 && fired != Fired::Gone {
        tracing::info!(schedule = %schedule.id, "`{}` missed {missed} of its times", schedule.name);
        if definition.notify_missed {
            app.raise(missed_notice(schedule, missed, due_at)).await;
        }
    }
    Ok(())
}

/// Starts a run although no time has come.
pub async fn run_now(app: &Arc<App>, schedule: &Schedule, dedupe: Option<(String, i64)>) -> anyhow::Result<Fired> {
    let definition = Definition::read(schedule).map_err(anyhow::Error::msg)?;
    let mut accept = definition.accept(app, schedule, None);
    accept.dedupe = dedupe.into_iter().collect();
    let fire = Fire {
        schedule: schedule.id,
        updated_at: schedule.updated_at,
        due_at: None,
        next_at: None,
        missed: 0,
        accept: Some(accept),
    };
    let fired = app.store.fire(fire).await?;
    report(app, schedule, &fired).await;
    Ok(fired)
}

async fn report(app: &Arc<App>, schedule: &Schedule, fired: &Fired) {
    let outcome = match fired {
        Fired::Run(placed) => {
            if let Some(ceiling) = &placed.full {
                ceilings::report(app, ceiling).await;
            }
            if placed.refused.is_some() { "refused" } else { "run" }
        }
        Fired::Open(task) => {
            tracing::info!(schedule = %schedule.id, "`{}` was skipped: its last run, {task}, is still open", schedule.name);
            "skipped"
        }
        Fired::Repeated(_) => "repeated",
        Fired::Silent => "missed",
        Fired::Gone => return,
    };
    metrics::counter!("tercel_schedules_fired_total", "outcome" => outcome).increment(1);
}

/// Brings back next times that lie too far ahead, because the clock was put back or a time zone has new rules.
async fn realign(app: &Arc<App>, clock: &Clock) -> Result<()> {
    let time = clock.now();
    for schedule in app.store.schedules(None, i64::MAX).await?.iter().filter(|schedule| schedule.active) {
        let Some(definition) = Definition::read(schedule).ok() else { continue };
        let Ok(timing @ (Timing::Cron(..) | Timing::Every(..))) = definition.when.parse() else { continue };
        let next = next_fire(&timing, definition.anchor, time);
        if schedule.next_at.is_some() && next.is_some() && next < schedule.next_at {
            app.store.move_schedule(schedule.id, schedule.next_at, next).await?;
        }
    }
    Ok(())
}

/// What notices of a schedule are known by.
pub fn notice(schedule: &Schedule) -> String {
    format!("schedule:{}", schedule.id)
}

fn missed_notice(schedule: &Schedule, missed: i64, since: i64) -> NewNotice {
    let many = if missed >= MOST { "more than " } else { "" };
    NewNotice {
        key: notice(schedule),
        severity: "warning",
        title: format!("The schedule `{}` missed {many}{missed} of its times", schedule.name),
        detail: format!(
            "Nobody was there from {} on, or too much waited. They are not made up for",
            crate::api::time::rfc3339(since)
        ),
        repair: Some(format!("POST /api/v1/schedules/{}/run starts a run now; dismiss this notice", schedule.id)),
    }
}

fn unreadable(schedule: &Schedule, problem: String) -> NewNotice {
    NewNotice {
        key: notice(schedule),
        severity: "error",
        title: format!("The schedule `{}` does not fire any more", schedule.name),
        detail: problem,
        repair: Some(format!("PUT /api/v1/schedules/{} writes it anew", schedule.id)),
    }
}
