//! Messages that come by the API and start no run, spread over 64 conversations.

use super::{CONCURRENCY, enough, tasks};
use crate::{
    Bench,
    in_process::{InProcess, MESSAGE},
    measure::{self, Figure, Round, Row, Unit, median},
    server::Place,
};
use anyhow::Result;
use serde_json::json;

const SESSIONS: usize = 64;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new(bench)?;
    let server = place.start_without_runs().await?;
    let sessions = tasks::sessions(&server.api, SESSIONS).await?;
    let mut rounds = Vec::new();
    for concurrency in CONCURRENCY {
        let mut all = Vec::new();
        for round in 0..bench.plan.rounds {
            let requests = (0..enough(bench, concurrency)).map(|n| {
                let content = format!("{MESSAGE} ({concurrency}/{round}/{n})");
                let path = format!("/api/v1/sessions/{}/messages", sessions[n % SESSIONS]);
                server.api.post(&path, &json!({"content": content, "source": "bench", "run_agent": false}))
            });
            let requests = requests.collect();
            all.push(measure::round(server.api.address, server.pid(), requests, concurrency, bench.plan.round).await?);
        }
        rounds.push(Round::median(&all));
    }
    drop(server);

    let store = InProcess::open(bench).await?;
    let mut rows = Vec::new();
    for (concurrency, round) in CONCURRENCY.into_iter().zip(rounds) {
        let mut limits = Vec::new();
        for _ in 0..bench.plan.rounds {
            limits.push(store.messages(SESSIONS, concurrency, bench.plan.round).await?);
        }
        let limit = median(limits);
        let mut figures = round.figures();
        figures.push(Figure::new("in process", limit, Unit::PerSecond));
        figures.push(Figure::new("of in process", round.rate / limit, Unit::Ratio));
        rows.push(Row::new(format!("messages, c={concurrency}"), figures));
    }
    store.close().await;
    Ok(rows)
}
