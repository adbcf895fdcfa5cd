//! Memory of a server that has nothing to do, before and after it had much to do.

use super::tasks;
use crate::{
    Bench, load,
    measure::{Figure, Row, Unit},
    payload::{Fate, Size, Template},
    process,
    server::Place,
};
use anyhow::Result;
use std::time::Duration;

const WEBHOOKS: usize = 5_000;
const RUNS: usize = 500;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    bench.outside.latency(Duration::ZERO);
    let place = Place::new(bench)?;
    let server = place.start().await?;
    tokio::time::sleep(bench.plan.rest).await;
    let idle = process::memory(server.pid())?;

    let requests = Template::new(Size::Real, Fate::Stored).requests(WEBHOOKS);
    load::run(server.api.address, requests, 64, Duration::from_secs(20)).await?;
    let sessions = tasks::sessions(&server.api, RUNS).await?;
    tasks::ask_all(&server.api, &sessions).await?;
    tasks::until_all_complete(&server.api).await?;
    tokio::time::sleep(bench.plan.rest).await;
    let figures = vec![
        Figure::new("idle", idle, Unit::Mebibytes).target(25.0),
        Figure::new("after load", process::memory(server.pid())?, Unit::Mebibytes),
        Figure::new("peak", process::peak_memory(server.pid())?, Unit::Mebibytes),
    ];
    Ok(vec![Row::new("memory, 5,000 webhooks and 500 runs", figures)])
}
