//! What is measured, in this order.

mod answer;
mod folders;
mod memory;
mod messages;
mod million;
mod open_runs;
mod pgbench;
mod queue;
mod records;
mod recovery;
mod soak;
mod start;
mod tasks;
mod traffic;
mod webhooks;

use crate::{Bench, engine::Engine, machine, measure::Row};
use anyhow::{Result, bail};

pub const NAMES: [&str; 14] = [
    "machine",
    "start",
    "memory",
    "webhooks",
    "pgbench",
    "messages",
    "answer",
    "queue",
    "open-runs",
    "recovery",
    "folders",
    "records",
    "million",
    "soak",
];

/// How rows of what stores nothing begin.
const BARE: &str = "bare handler";

/// Concurrent connections that load comes over.
const CONCURRENCY: [usize; 3] = [1, 16, 64];

/// Whether a scenario has something to measure with this engine.
pub fn measures(name: &str, bench: &Bench) -> bool {
    match name {
        "machine" | "folders" => bench.is_first,
        "pgbench" => matches!(bench.engine, Engine::Postgres(_)),
        _ => true,
    }
}

pub async fn run(name: &str, bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = measure(name, bench).await?;
    if !matches!(name, "machine" | "pgbench") {
        rows.iter_mut().filter(|row| !row.name.starts_with(BARE)).for_each(|row| row.name += bench.engine.suffix());
    }
    Ok(rows)
}

async fn measure(name: &str, bench: &Bench) -> Result<Vec<Row>> {
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
        "folders" => folders::measure(bench).await,
        "records" => records::measure(bench).await,
        "pgbench" => pgbench::measure(bench).await,
        "million" => million::measure(bench).await,
        "soak" => soak::measure(bench).await,
        _ => bail!("There is no scenario `{name}`"),
    }
}

/// Requests that are enough for one round at any rate that a server may reach.
fn enough(bench: &Bench, concurrency: usize) -> usize {
    let most_per_second = if concurrency == 1 { 8_000.0 } else { 25_000.0 };
    (most_per_second * bench.plan.round.as_secs_f64()) as usize
}
