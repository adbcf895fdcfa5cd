//! The load generator: so many connections, each of which sends its next request when the last one is answered.

use crate::http::{Body, Line};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::Request;
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

#[derive(Default)]
pub struct Load {
    /// Of each request, ascending.
    pub latencies: Vec<Duration>,
    pub elapsed: Duration,
    answers: Vec<Bytes>,
}

/// Sends requests until there are none left or the time is over. Every answer must say yes.
pub async fn run(
    address: SocketAddr,
    requests: Vec<Request<Body>>,
    concurrency: usize,
    time: Duration,
) -> Result<Load> {
    drive(address, requests, concurrency, time, |_| None).await
}

/// Sends all requests and answers the JSON of the answers, in any order.
pub async fn gather(address: SocketAddr, requests: Vec<Request<Body>>, concurrency: usize) -> Result<Vec<Value>> {
    let count = requests.len();
    let long = Duration::from_secs(60);
    // Copied, because a body is a part of the buffer that it was read into.
    let load = drive(address, requests, concurrency, long, |body| Some(Bytes::copy_from_slice(&body))).await?;
    if load.answers.len() < count {
        bail!("only {} of {count} requests were answered in {long:?}", load.answers.len());
    }
    load.answers.iter().map(|body| serde_json::from_slice(body).context("an answer is no JSON")).collect()
}

async fn drive(
    address: SocketAddr,
    requests: Vec<Request<Body>>,
    concurrency: usize,
    time: Duration,
    keep: fn(Bytes) -> Option<Bytes>,
) -> Result<Load> {
    let mut lines = Vec::with_capacity(concurrency);
    for _ in 0..concurrency {
        lines.push(Line::open(address).await.context("a connection for the load was refused")?);
    }
    let requests = Arc::new(Mutex::new(requests));
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for line in lines {
        workers.spawn(work(line, requests.clone(), start + time, keep));
    }
    let mut all = Load::default();
    while let Some(done) = workers.join_next().await {
        let done = done??;
        all.latencies.extend(done.latencies);
        all.answers.extend(done.answers);
    }
    all.elapsed = start.elapsed();
    all.latencies.sort_unstable();
    if all.latencies.is_empty() {
        bail!("not one request was answered");
    }
    Ok(all)
}

async fn work(
    mut line: Line,
    requests: Arc<Mutex<Vec<Request<Body>>>>,
    end: Instant,
    keep: fn(Bytes) -> Option<Bytes>,
) -> Result<Load> {
    let mut done = Load::default();
    while Instant::now() < end {
        let Some(request) = requests.lock().expect("no holder of this lock panics").pop() else { break };
        let sent = Instant::now();
        let answer = line.send(request).await?;
        done.latencies.push(sent.elapsed());
        if !answer.status.is_success() {
            bail!("a request was answered {}: {}", answer.status, answer.beginning());
        }
        done.answers.extend(keep(answer.body));
    }
    Ok(done)
}
