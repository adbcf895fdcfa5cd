//! Signed webhooks that are stored before they are acknowledged. Those that run make a task, which stays in the queue.

use super::{BARE, CONCURRENCY, enough};
use crate::{
    Bench,
    bare::Bare,
    in_process::InProcess,
    measure::{self, Figure, Round, Row, Unit, median},
    payload::{Fate, Size, Template},
    server::Place,
};
use anyhow::{Context, Result};

const SIZES: [Size; 2] = [Size::Small, Size::Real];

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let (mut rows, mut limits) = (Vec::new(), Vec::new());
    for (size, bare) in SIZES.into_iter().zip(bare_handlers(bench).await.context("the bare handler")?) {
        for fate in [Fate::Stored, Fate::Runs] {
            rows.extend(one_kind(bench, size, fate, bare).await?);
        }
        limits.extend(CONCURRENCY.iter().zip(bare).filter(|_| bench.is_first).map(|(concurrency, round)| {
            Row::new(format!("{BARE}, {}, c={concurrency}", size.name()), round.figures())
        }));
    }
    rows.extend(limits);
    Ok(rows)
}

async fn one_kind(bench: &Bench, size: Size, fate: Fate, bare: &[Round]) -> Result<Vec<Row>> {
    let template = Template::new(size, fate);
    let place = Place::new(bench)?;
    let server = place.start_without_runs().await?;
    let mut rounds = Vec::new();
    for concurrency in CONCURRENCY {
        let mut all = Vec::new();
        let before = server.commits().await?.unwrap_or_default();
        for _ in 0..bench.plan.rounds {
            let requests = template.requests(enough(bench, concurrency));
            all.push(measure::round(server.api.address, server.pid(), requests, concurrency, bench.plan.round).await?);
        }
        let after = server.commits().await?.context("/metrics does not say what was committed")?;
        rounds.push((Round::median(&all), after.since(&before)));
    }
    drop(server);
    drop(place);

    let store = InProcess::open(bench).await?;
    let mut rows = Vec::new();
    for ((concurrency, (round, (group, commit))), bare) in CONCURRENCY.into_iter().zip(rounds).zip(bare) {
        let mut limits = Vec::new();
        for _ in 0..bench.plan.rounds {
            limits.push(store.webhooks(size, fate, concurrency, bench.plan.round).await?);
        }
        let limit = median(limits);
        let mut figures = round.figures();
        figures.push(Figure::new("group", group, Unit::Count));
        figures.push(Figure::new("commit", commit, Unit::Milliseconds));
        figures.push(Figure::new("in process", limit, Unit::PerSecond));
        figures.push(Figure::new("of in process", round.rate / limit, Unit::Ratio));
        figures.push(Figure::new("of bare", round.rate / bare.rate, Unit::Ratio));
        if concurrency == 64 {
            for (what, target) in [("rate", 5_000.0), ("p99", 50.0), ("of in process", 0.5)] {
                let figure = figures.iter_mut().find(|figure| figure.what == what);
                figure.context("a figure with a target is missing")?.target = Some(target);
            }
        }
        rows.push(Row::new(format!("webhooks {}, {}, c={concurrency}", fate.name(), size.name()), figures));
    }
    store.close().await;
    Ok(rows)
}

/// By sizes and connections. What stores is all the same to them: they are measured once.
async fn bare_handlers(bench: &Bench) -> Result<&Vec<Vec<Round>>> {
    if let Some(measured) = bench.bare.get() {
        return Ok(measured);
    }
    let mut all = Vec::new();
    for size in SIZES {
        let mut rounds = Vec::new();
        for concurrency in CONCURRENCY {
            rounds.push(without_a_server(bench, size, concurrency).await?);
        }
        all.push(rounds);
    }
    Ok(bench.bare.get_or_init(|| all))
}

async fn without_a_server(bench: &Bench, size: Size, concurrency: usize) -> Result<Round> {
    let template = Template::new(size, Fate::Stored);
    let bare = Bare::start()?;
    let mut rounds = Vec::new();
    for _ in 0..bench.plan.rounds {
        let requests = template.requests(enough(bench, concurrency));
        rounds.push(measure::round(bare.address, bare.pid(), requests, concurrency, bench.plan.round).await?);
    }
    Ok(Round::median(&rounds))
}
