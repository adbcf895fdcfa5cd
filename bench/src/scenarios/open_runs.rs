//! 2,000 runs that are open at once, because their model takes 2 s.

use super::tasks;
use crate::{
    Bench,
    measure::{Figure, Row, Unit},
    process,
    server::Place,
};
use anyhow::Result;
use std::time::{Duration, Instant};

const RUNS: usize = 2_000;
const LATENCY: Duration = Duration::from_secs(2);

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new(bench)?;
    let server = place.start().await?;
    let sessions = tasks::sessions(&server.api, RUNS).await?;
    let before = process::memory(server.pid())?;
    bench.outside.latency(LATENCY);
    let begun = Instant::now();
    tasks::ask_all(&server.api, &sessions).await?;
    let asked = begun.elapsed();
    while bench.outside.answered() < RUNS && begun.elapsed() < 10 * LATENCY {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tasks::until_all_complete(&server.api).await?;
    let done = begun.elapsed();
    let peak = process::peak_memory(server.pid())?;
    let figures = vec![
        Figure::time("all complete", done),
        Figure::time("all accepted", asked),
        Figure::new("open at once", bench.outside.most_open() as f64, Unit::Count).target(RUNS as f64),
        Figure::new("peak memory", peak, Unit::Mebibytes),
        Figure::new("memory before", before, Unit::Mebibytes),
    ];
    bench.outside.latency(Duration::ZERO);
    Ok(vec![Row::new("2,000 open runs, model 2 s", figures)])
}
