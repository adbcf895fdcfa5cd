//! What workers take: one of each language, and twenty folders that watch while somebody talks to a bot.

use super::{source, tools::call_once};
use crate::{
    Bench,
    measure::{Figure, Row, Unit},
    process,
    server::{Place, Server},
};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Duration;

const WATCHERS: usize = 20;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    bench.outside.latency(Duration::ZERO);
    let place = Place::new(bench)?;
    source::python_tool(&place.folders(), "bench_python")?;
    source::node_tool(&place.folders(), "bench_node")?;
    for n in 0..WATCHERS {
        source::python_hook(&place.folders(), &format!("bench_watcher_{n}"))?;
    }
    let server = place.start().await?;
    call_once(&server, "bench_python_echo").await?;
    call_once(&server, "bench_node_echo").await?;
    tokio::time::sleep(bench.plan.rest).await;
    let mut rows = Vec::new();
    for (language, program) in [("Python", "tercel_worker"), ("Node", "worker.mjs")] {
        let pid = worker(&server, program)?;
        let figures = vec![
            Figure::new("resident", process::memory(pid)?, Unit::Mebibytes),
            Figure::new("its own", process::own_memory(pid)?, Unit::Mebibytes),
        ];
        rows.push(Row::new(format!("worker in {language}, at rest"), figures));
    }
    server.stop().await?;

    // Described by now: nothing of them runs.
    let server = place.start().await?;
    server.api.call(server.api.post("/chat", &json!({"message": "hello", "client_id": "bench:chat"}))).await?;
    tokio::time::sleep(bench.plan.rest).await;
    let workers = process::descendants(server.pid())?;
    let mut all = process::memory(server.pid())?;
    for pid in &workers {
        all += process::own_memory(*pid)?;
    }
    let figures = vec![
        Figure::new("server", process::memory(server.pid())?, Unit::Mebibytes),
        Figure::new("server and workers", all, Unit::Mebibytes),
        Figure::new("workers", workers.len() as f64, Unit::Count),
    ];
    rows.push(Row::new(format!("{WATCHERS} folders with hooks, one chat"), figures));
    server.stop().await?;
    Ok(rows)
}

fn worker(server: &Server, program: &str) -> Result<u32> {
    let is_it = |pid: &u32| process::command_line(*pid).is_ok_and(|line| line.contains(program));
    process::descendants(server.pid())?.into_iter().rfind(is_it).with_context(|| format!("no {program} runs"))
}
