//! The same tool, called by the API: in this program, in a Python worker, in a Node worker.

use super::source;
use crate::{
    Bench,
    measure::{self, Round, Row},
    server::{Place, Server},
};
use anyhow::Result;
use serde_json::json;

/// Of the one that is written in Rust; `native.rs` has it.
pub const NATIVE: &str = "bench_echo";

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new(bench)?.with_native_tool()?;
    source::python_tool(&place.folders(), "bench_python")?;
    source::node_tool(&place.folders(), "bench_node")?;
    let server = place.start().await?;
    let mut rows = Vec::new();
    for concurrency in [1, 16] {
        for (language, tool) in [("Rust", NATIVE), ("Python", "bench_python_echo"), ("Node", "bench_node_echo")] {
            // The first call starts the worker.
            call_once(&server, tool).await?;
            let mut rounds = Vec::new();
            for _ in 0..bench.plan.rounds {
                rounds.push(round(bench, &server, tool, concurrency).await?);
            }
            let mut figures = Round::median(&rounds).figures();
            if (language, concurrency) == ("Python", 1) {
                let p50 = figures.iter_mut().find(|figure| figure.what == "p50").expect("a round has a median");
                p50.target = Some(1.5);
            }
            rows.push(Row::new(format!("tool in {language}, c={concurrency}"), figures));
        }
    }
    server.stop().await?;
    Ok(rows)
}

async fn round(bench: &Bench, server: &Server, tool: &str, concurrency: usize) -> Result<Round> {
    let path = format!("/api/v1/tools/{tool}/call");
    let requests = (0..super::super::enough(bench, concurrency))
        .map(|n| server.api.post(&path, &json!({"arguments": {"text": format!("hello {n}")}})))
        .collect();
    measure::round(server.api.address, server.pid(), requests, concurrency, bench.plan.round).await
}

/// Calls a tool until it answers: its folder may be loading.
pub async fn call_once(server: &Server, tool: &str) -> Result<serde_json::Value> {
    let path = format!("/api/v1/tools/{tool}/call");
    let begun = std::time::Instant::now();
    loop {
        let answer = server.api.call(server.api.post(&path, &json!({"arguments": {"text": "hello"}}))).await;
        match answer {
            Ok(answer) if answer["ok"] == true => return Ok(answer["result"].clone()),
            Ok(answer) if begun.elapsed() > super::boot::PATIENCE => anyhow::bail!("`{tool}` answers {answer}"),
            Err(error) if begun.elapsed() > super::boot::PATIENCE => return Err(error),
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}
