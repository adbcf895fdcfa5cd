//! Whether memory stays flat over what a busy server does in an hour, done in less.

use super::tasks;
use crate::{
    Bench,
    http::{Api, Body, Line},
    in_process::MESSAGE,
    measure::{Figure, Row, Unit, median},
    payload::{Fate, Size, Template},
    process,
    server::Place,
};
use anyhow::{Result, bail};
use hyper::Request;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// How much faster than life.
const FASTER: u64 = 24;
const SAMPLE: Duration = Duration::from_secs(1);
/// Caches, pools and compiled statements fill first.
const WARM_UP: Duration = Duration::from_secs(5);
const LATENCY: Duration = Duration::from_millis(60);
/// Who hangs up does so while the model is thinking.
const MOMENT: Duration = Duration::from_millis(30);
/// One call of the model in so many fails.
const FAILING: usize = 20;
/// Conversations by the API.
const SESSIONS: usize = 256;
/// Percent that the last third may lie above the middle one.
const FLAT: f64 = 5.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A webhook of the size that GitHub's have.
    Stored,
    /// One that starts a run, whose answer is posted.
    Runs,
    Message,
    Chat,
    /// A chat whose client goes while the model is thinking.
    HungUp,
    Read,
    /// What the server must refuse.
    Wrong,
}

/// What a busy server is asked in an hour.
const HOUR: [(Kind, u64); 7] = [
    (Kind::Stored, 15_000),
    (Kind::Runs, 1_200),
    (Kind::Message, 2_400),
    (Kind::Chat, 1_800),
    (Kind::HungUp, 1_200),
    (Kind::Read, 18_000),
    (Kind::Wrong, 600),
];
/// Clients of each kind, which take turns.
const CLIENTS: u64 = 4;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    bench.outside.latency(LATENCY);
    bench.outside.fail_one_in(FAILING);
    let place = Place::new(bench)?;
    let server = place.start().await?;
    let world = Arc::new(World {
        api: server.api,
        sessions: tasks::sessions(&server.api, SESSIONS).await?,
        stored: Template::new(Size::Real, Fate::Stored),
        runs: Template::new(Size::Small, Fate::Runs),
        made: AtomicU64::new(0),
    });
    let end = Instant::now() + WARM_UP + bench.plan.soak;
    let mut clients = JoinSet::new();
    for (kind, an_hour) in HOUR {
        let pace = Duration::from_secs(3600 * CLIENTS) / (an_hour * FASTER) as u32;
        for n in 0..CLIENTS {
            let world = world.clone();
            clients.spawn(async move {
                tokio::time::sleep(pace * n as u32 / CLIENTS as u32).await;
                world.work(kind, pace, end).await
            });
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let (begun, made) = (Instant::now(), world.made.load(Ordering::Relaxed));
    let mut samples = Vec::new();
    let mut clock = interval(SAMPLE);
    while Instant::now() < end {
        clock.tick().await;
        samples.push((begun.elapsed().as_secs_f64(), process::memory(server.pid())?));
    }
    let calls = world.made.load(Ordering::Relaxed) - made;
    let lasted = begun.elapsed();
    while let Some(done) = clients.join_next().await {
        done??;
    }
    server.stop().await?;
    let thirds: Vec<f64> = samples
        .chunks(samples.len().div_ceil(3).max(1))
        .map(|third| median(third.iter().map(|sample| sample.1).collect()))
        .collect();
    let [_, middle, last] = thirds[..] else { bail!("{} samples are too few", samples.len()) };
    let all: u64 = HOUR.iter().map(|(_, an_hour)| an_hour).sum();
    let wanted = all as f64 * lasted.as_secs_f64() * FASTER as f64 / 3600.0;
    let name = format!("mixed load of {} min", crate::report::grouped(minutes(lasted)));
    let figures = vec![
        Figure::new("growth", (last / middle - 1.0) * 100.0, Unit::Percent).target(FLAT),
        Figure::new("begin", samples[0].1, Unit::Mebibytes),
        Figure::new("middle", middle, Unit::Mebibytes),
        Figure::new("end", last, Unit::Mebibytes),
        // Of life: what an hour of such a load adds.
        Figure::new("an hour adds", slope(&samples) * 3600.0 / FASTER as f64, Unit::Mebibytes),
        Figure::new("calls", calls as f64, Unit::Count),
        Figure::new("of the pace", calls as f64 / wanted, Unit::Ratio),
        Figure::new("model calls", bench.outside.answered() as f64, Unit::Count),
        Figure::new("posted", bench.outside.posted() as f64, Unit::Count),
    ];
    bench.outside.fail_one_in(0);
    bench.outside.latency(Duration::ZERO);
    Ok(vec![Row::new(name, figures)])
}

/// Of life, that the load of so much time stands for.
fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() * FASTER as f64 / 60.0
}

/// MiB a second by least squares, without the first third.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let settled = &samples[samples.len() / 3..];
    let count = settled.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| settled.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| settled.iter().map(|(t, m)| of(t - time, m - memory)).sum::<f64>();
    sum(&|t, m| t * m) / sum(&|t, _| t * t)
}

struct World {
    api: Api,
    sessions: Vec<String>,
    stored: Template,
    runs: Template,
    made: AtomicU64,
}

impl World {
    async fn work(&self, kind: Kind, pace: Duration, end: Instant) -> Result<()> {
        let mut clock = interval(pace);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line = Line::open(self.api.address).await?;
        while Instant::now() < end {
            clock.tick().await;
            let n = self.made.fetch_add(1, Ordering::Relaxed) as usize;
            let request = self.request(kind, n);
            if kind == Kind::HungUp {
                Line::open(self.api.address).await?.hang_up(request, MOMENT).await?;
                continue;
            }
            let answer = line.send(request).await?;
            if answer.status.is_success() == (kind == Kind::Wrong) {
                bail!("{kind:?} was answered {}: {}", answer.status, answer.beginning());
            }
        }
        Ok(())
    }

    fn request(&self, kind: Kind, n: usize) -> Request<Body> {
        let session = &self.sessions[n % self.sessions.len()];
        let path = format!("/api/v1/sessions/{session}/messages");
        match kind {
            Kind::Stored => self.stored.request(),
            Kind::Runs => self.runs.request(),
            Kind::Message => self.api.post(&path, &json!({"content": MESSAGE, "source": "bench", "run_agent": true})),
            Kind::Chat | Kind::HungUp => {
                let client = format!("bench:chat-{}", n % SESSIONS);
                self.api.post("/chat/stream", &json!({"message": MESSAGE, "client_id": client}))
            }
            Kind::Read => {
                let lists = ["sessions", "tasks", "deliveries", "outbox", "notices", "usage"];
                match n % (lists.len() + 2) {
                    0 => self.api.get(&path),
                    1 => self.api.get("/metrics"),
                    list => self.api.get(&format!("/api/v1/{}", lists[list - 2])),
                }
            }
            Kind::Wrong => self.api.post(&path, &json!({"content": 7, "nonsense": n})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_settled_part() {
        let grows: Vec<(f64, f64)> = (0..90).map(|t| (f64::from(t), 40.0 + 0.25 * f64::from(t))).collect();
        assert!((slope(&grows) - 0.25).abs() < 1e-9);
        let settles: Vec<(f64, f64)> = (0..90).map(|t| (f64::from(t), f64::from(t.min(30)))).collect();
        assert!(slope(&settles).abs() < 1e-9);
    }
}
