//! From a question to its answer, one at a time, with a model that takes no time.

use super::tasks;
use crate::{
    Bench,
    http::Line,
    measure::{Figure, Row, percentile},
    server::Place,
};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Runs before the clock counts: connections to the model, compiled statements.
const WARM_UP: usize = 10;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    bench.outside.latency(Duration::ZERO);
    let place = Place::new(bench)?;
    let server = place.start().await?;
    let api = server.api;
    let sessions = tasks::sessions(&api, bench.plan.answers + WARM_UP).await?;
    let mut line = Line::open(api.address).await?;
    let (mut seen, mut own) = (Vec::new(), Vec::new());
    for (n, session) in sessions.iter().enumerate() {
        let (path, body) = tasks::question(session);
        let asked = Instant::now();
        let task = tasks::text(&line.send(api.post(&path, &body)).await?.json()?, "task_id")?;
        // The stream ends with the run.
        let events = line.send(api.get(&format!("/api/v1/tasks/{task}/events"))).await?;
        let elapsed = asked.elapsed();
        if !events.status.is_success() {
            bail!("the events of a task were answered {}: {}", events.status, events.beginning());
        }
        let task = line.send(api.get(&format!("/api/v1/tasks/{task}"))).await?.json()?;
        if task["status"] != "complete" {
            bail!("the stream of events ended and the task is {}: {}", task["status"], task["error"]);
        }
        if n >= WARM_UP {
            seen.push(elapsed);
            let micros = tasks::time(&task, "completed_at")? - tasks::time(&task, "created_at")?;
            own.push(Duration::from_micros(micros.max(0).unsigned_abs()));
        }
    }
    seen.sort_unstable();
    own.sort_unstable();
    let figures = vec![
        Figure::time("p50", percentile(&seen, 50)).target(10.0),
        Figure::time("p99", percentile(&seen, 99)),
        Figure::time("p50 by its own clock", percentile(&own, 50)),
    ];
    Ok(vec![Row::new("accept → complete, one at a time", figures)])
}
