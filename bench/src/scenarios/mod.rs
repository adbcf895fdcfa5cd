//! What is measured, in this order.

mod answer;
mod memory;
mod messages;
mod open_runs;
mod queue;
mod recovery;
mod start;
mod tasks;
mod webhooks;

use crate::{Bench, machine, measure::Row};
use anyhow::{Result, bail};

pub const NAMES: [&str; 9] =
    ["machine", "start", "memory", "webhooks", "messages", "answer", "queue", "open-runs", "recovery"];

/// Concurrent connections that load comes over.
const CONCURRENCY: [usize; 3] = [1, 16, 64];

pub async fn run(name: &str, bench: &Bench) -> Result<Vec<Row>> {
    match name {
        "machine" => Ok(vec![machine::fsync(bench.plan.round)?]),
        "start" => start::measure(bench).await,
        "memory" => memory::measure(bench).await,
        "webhooks" => webhooks::measure(bench).await,
        "messages" => messages::measure(bench).await,
        "answer" => answer::measure(bench).await,
        "queue" => queue::measure(bench).await,
        "open-runs" => open_runs::measure(bench).await,
        "recovery" => recovery::measure(bench).await,
        _ => bail!("There is no scenario `{name}`"),
    }
}

/// Requests that are enough for one round at any rate that a server may reach.
fn enough(bench: &Bench, concurrency: usize) -> usize {
    let most_per_second = if concurrency == 1 { 8_000.0 } else { 25_000.0 };
    (most_per_second * bench.plan.round.as_secs_f64()) as usize
}
