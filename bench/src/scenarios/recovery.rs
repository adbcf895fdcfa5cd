//! kill -9 in the midst of work: how soon it goes on, and that nothing is lost that was accepted.

use super::tasks;
use crate::{
    Bench,
    http::{Body, Line},
    measure::{Figure, Row, Unit},
    payload::{Fate, Size, Template},
    server::Place,
};
use anyhow::{Context, Result, bail};
use hyper::Request;
use serde_json::Value;
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const WORKERS: usize = 64;
/// Events that are sent, if the server lives long enough.
const EVENTS: usize = 40_000;
/// One event in so many starts a run.
const RUNS: usize = 16;
/// Long enough that runs are open when the server dies.
const LATENCY: Duration = Duration::from_millis(100);
const LIFE: Duration = Duration::from_millis(1_500);

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new(bench)?;
    let server = place.start().await?;
    bench.outside.latency(LATENCY);
    let (stored, runs) = (Template::new(Size::Small, Fate::Stored), Template::new(Size::Small, Fate::Runs));
    let events = (0..EVENTS).map(|n| if n % RUNS == 0 { runs.request() } else { stored.request() });
    let events = Arc::new(Mutex::new(events.collect::<Vec<_>>()));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(post(server.api.address, events.clone()));
    }
    tokio::time::sleep(LIFE).await;
    server.kill()?;
    let mut accepted = HashSet::new();
    while let Some(ids) = workers.join_next().await {
        accepted.extend(ids??);
    }

    let begun = Instant::now();
    let server = place.start().await.context("the server did not start again")?;
    tasks::until_all_complete(&server.api).await.context("after the restart")?;
    let done = begun.elapsed();
    let listed = server.api.list("/api/v1/deliveries?limit=500").await?;
    let listed: HashSet<&str> = listed.iter().filter_map(|delivery| delivery["id"].as_str()).collect();
    let lost = accepted.iter().filter(|id| !listed.contains(id.as_str())).count();
    if lost > 0 {
        bail!("{lost} of {} accepted webhooks are lost", accepted.len());
    }
    let figures = vec![
        Figure::time("ready", server.ready_after).target(1_000.0),
        Figure::time("all runs complete", done),
        Figure::new("accepted", accepted.len() as f64, Unit::Count),
        Figure::new("kept", 1.0, Unit::Ratio).target(1.0),
    ];
    bench.outside.latency(Duration::ZERO);
    Ok(vec![Row::new("recovery after kill -9", figures)])
}

/// Posts until the server is gone; ids of the deliveries that it said yes to.
async fn post(address: SocketAddr, events: Arc<Mutex<Vec<Request<Body>>>>) -> Result<Vec<String>> {
    let mut line = Line::open(address).await?;
    let mut accepted = Vec::new();
    loop {
        let Some(event) = events.lock().expect("no holder of this lock panics").pop() else { return Ok(accepted) };
        let Ok(answer) = line.send(event).await else { return Ok(accepted) };
        let answer: Value = answer.json()?;
        accepted.push(tasks::text(&answer, "delivery_id")?);
    }
}
