//! Clients that write and read at a steady pace, and how long each of their calls took.

use super::tasks;
use crate::{
    http::{Api, Line},
    measure::{milliseconds, percentile},
    payload::{Fate, Size, Template},
};
use anyhow::{Context, Result, bail};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// Half of them write, half of them read.
const CLIENTS: usize = 8;
const PACE: Duration = Duration::from_millis(25);

pub struct Traffic {
    clients: JoinSet<Result<Vec<Call>>>,
    over: Arc<AtomicBool>,
}

struct Call {
    sent: Instant,
    took: Duration,
}

/// What clients saw, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub p99: f64,
    pub longest: f64,
}

pub struct Calls(Vec<Call>);

impl Traffic {
    pub async fn start(api: Api) -> Result<Self> {
        let sessions = api.list("/api/v1/sessions?limit=64").await?;
        let sessions: Vec<String> = sessions.iter().map(|it| tasks::text(it, "id")).collect::<Result<_>>()?;
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            let (over, session) = (over.clone(), sessions[n % sessions.len()].clone());
            clients.spawn(async move { call_and_call(api, n, &session, &over).await });
        }
        Ok(Self { clients, over })
    }

    pub async fn stop(mut self) -> Result<Calls> {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(calls) = self.clients.join_next().await {
            all.extend(calls??);
        }
        Ok(Calls(all))
    }
}

impl Calls {
    /// Of calls that were under way between two moments.
    pub fn between(&self, from: Instant, to: Instant) -> Result<Seen> {
        let within = self.0.iter().filter(|call| call.sent < to && call.sent + call.took > from);
        let mut times: Vec<Duration> = within.map(|call| call.took).collect();
        times.sort_unstable();
        let longest = times.last().context("no client called meanwhile")?;
        Ok(Seen { p99: milliseconds(percentile(&times, 99)), longest: milliseconds(*longest) })
    }
}

async fn call_and_call(api: Api, n: usize, session: &str, over: &AtomicBool) -> Result<Vec<Call>> {
    let mut line = Line::open(api.address).await?;
    let template = Template::new(Size::Small, Fate::Stored);
    let reads = [
        format!("/api/v1/sessions/{session}/messages"),
        "/api/v1/tasks".into(),
        "/api/v1/deliveries".into(),
        "/ready".into(),
    ];
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = Vec::new();
    while !over.load(Ordering::Relaxed) {
        pace.tick().await;
        let request = match n % 2 {
            0 => template.request(),
            _ => api.get(&reads[calls.len() % reads.len()]),
        };
        let sent = Instant::now();
        let answer = line.send(request).await?;
        calls.push(Call { sent, took: sent.elapsed() });
        if !answer.status.is_success() {
            bail!("a client was answered {}: {}", answer.status, answer.beginning());
        }
    }
    Ok(calls)
}
