//! Starting with fifty folders: the first time, when each is described by its own code, and every time after.

use super::source;
use crate::{
    Bench,
    measure::{Figure, Row, Unit, median, milliseconds},
    process,
    server::{Place, Server},
};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const FOLDERS: usize = 50;
/// The first folder waits until there is an environment.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new(bench)?;
    // The environment is not what is measured.
    source::python_tool(&place.folders(), "bench_first")?;
    let server = place.start().await?;
    super::tools::call_once(&server, "bench_first_echo").await?;
    server.stop().await?;
    for n in 0..FOLDERS {
        source::python_tool(&place.folders(), &format!("bench_{n}"))?;
    }
    let server = place.start().await?;
    let cold = milliseconds(server.ready_after);
    let described = until_described(&server).await?;
    server.stop().await?;
    let mut cached = Vec::new();
    for _ in 0..bench.plan.starts {
        let server = place.start().await?;
        cached.push(milliseconds(server.ready_after));
        if tools(&server).await? < FOLDERS {
            bail!("a server that is ready has to know its folders");
        }
        if !process::descendants(server.pid())?.is_empty() {
            bail!("a start with known folders has to start no worker");
        }
        server.stop().await?;
    }
    let figures = vec![
        Figure::new("known", median(cached), Unit::Milliseconds).target(100.0),
        Figure::new("first time", cold, Unit::Milliseconds),
        Figure::time("all described", described),
    ];
    Ok(vec![Row::new(format!("start with {FOLDERS} folders"), figures)])
}

async fn until_described(server: &Server) -> Result<Duration> {
    let begun = Instant::now();
    while tools(server).await? < FOLDERS {
        if begun.elapsed() > PATIENCE {
            bail!("the folders were not described within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed() + server.ready_after)
}

async fn tools(server: &Server) -> Result<usize> {
    let tools = server.api.list("/api/v1/tools?limit=200").await?;
    Ok(tools.iter().filter(|tool| tool["name"].as_str().is_some_and(|name| name.starts_with("bench_"))).count())
}
