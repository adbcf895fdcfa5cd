//! From the start of the process to the first good answer of `/ready`.

use crate::{
    Bench, load,
    measure::{Figure, Row, Unit, median, milliseconds},
    payload::{Fate, Size, Template},
    server::Place,
};
use anyhow::Result;
use std::time::Duration;

/// Deliveries that lie in the directory that is not empty.
const DELIVERIES: usize = 2_000;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut empty = Vec::new();
    for _ in 0..bench.plan.starts {
        let place = Place::new(bench)?;
        let server = place.start().await?;
        empty.push(milliseconds(server.ready_after));
        server.stop().await?;
    }
    let place = Place::new(bench)?;
    let server = place.start().await?;
    let requests = Template::new(Size::Small, Fate::Stored).requests(DELIVERIES);
    load::run(server.api.address, requests, 16, Duration::from_secs(20)).await?;
    server.stop().await?;
    let mut existing = Vec::new();
    for _ in 0..bench.plan.starts {
        let server = place.start().await?;
        existing.push(milliseconds(server.ready_after));
        server.stop().await?;
    }
    let row = |name: &str, times: Vec<f64>| {
        let worst = times.iter().copied().fold(0.0, f64::max);
        let figures = vec![
            Figure::new("median", median(times), Unit::Milliseconds).target(50.0),
            Figure::new("worst", worst, Unit::Milliseconds),
        ];
        Row::new(name, figures)
    };
    Ok(vec![row("cold start, empty directory", empty), row("cold start, 2,000 deliveries", existing)])
}
