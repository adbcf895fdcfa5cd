//! A queue of 1,000 tasks in 1,000 conversations that was waiting when the server started.

use super::tasks;
use crate::{
    Bench,
    in_process::InProcess,
    measure::{Figure, Row, Unit, median},
    process,
    server::Place,
};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const TASKS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let (mut rates, mut limits, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        let (rate, cost) = one_round(bench).await?;
        rates.push(rate);
        costs.push(cost);
        let store = InProcess::open(bench).await?;
        limits.push(store.tasks(TASKS).await?);
        store.close().await;
    }
    let (rate, limit) = (median(rates), median(limits));
    let figures = vec![
        Figure::new("rate", rate, Unit::PerSecond).target(1_000.0),
        Figure::new("server CPU", median(costs), Unit::Microseconds),
        Figure::new("in process", limit, Unit::PerSecond),
        Figure::new("of in process", rate / limit, Unit::Ratio),
    ];
    Ok(vec![Row::new("tasks, 1,000 queued", figures)])
}

/// Tasks a second, and microseconds on the cores that each took.
async fn one_round(bench: &Bench) -> Result<(f64, f64)> {
    let place = Place::new(bench)?;
    let server = place.start_without_runs().await?;
    let sessions = tasks::sessions(&server.api, TASKS).await?;
    tasks::ask_all(&server.api, &sessions).await?;
    if tasks::has_any(&server.api, "running").await? || tasks::has_any(&server.api, "complete").await? {
        bail!("with TERCEL_OPEN_RUNS=0 nothing may run, but tasks did");
    }
    server.stop().await?;

    bench.outside.latency(Duration::ZERO);
    let server = place.start().await?;
    // The server is not asked while it works.
    let begun = Instant::now();
    while bench.outside.answered() < TASKS {
        if begun.elapsed() > PATIENCE {
            bail!("the model was asked only {} times in {PATIENCE:?}", bench.outside.answered());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tasks::until_all_complete(&server.api).await?;
    let cost = process::cpu(server.pid())?.as_secs_f64() * 1e6 / TASKS as f64;
    let done = server.api.list("/api/v1/tasks?status=complete&limit=500").await?;
    if done.len() != TASKS {
        bail!("{} of {TASKS} tasks are complete", done.len());
    }
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for task in &done {
        first = first.min(tasks::time(task, "started_at")?);
        last = last.max(tasks::time(task, "completed_at")?);
    }
    let seconds = (last - first) as f64 / 1e6;
    server.stop().await?;
    Ok((TASKS as f64 / seconds, cost))
}
