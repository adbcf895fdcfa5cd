//! From saving a file to the first answer of the new code.

use super::{source, tools::call_once};
use crate::{
    Bench,
    measure::{Figure, Row, Unit, median, milliseconds},
    server::Place,
};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new(bench)?;
    source::python_tool(&place.folders(), "bench_saved")?;
    let server = place.start().await?;
    call_once(&server, "bench_saved_echo").await?;
    let mut times = Vec::new();
    for n in 0..bench.plan.starts {
        let word = format!("word {n}");
        source::python_tool_that_says(&place.folders(), "bench_saved", &word)?;
        let saved = Instant::now();
        while call_once(&server, "bench_saved_echo").await?["word"] != word.as_str() {
            if saved.elapsed() > super::boot::PATIENCE {
                bail!("what was saved was not taken up");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(milliseconds(saved.elapsed()));
    }
    server.stop().await?;
    let worst = times.iter().copied().fold(0.0, f64::max);
    let figures = vec![
        Figure::new("median", median(times), Unit::Milliseconds).target(1_000.0),
        Figure::new("worst", worst, Unit::Milliseconds),
    ];
    Ok(vec![Row::new("saved to live, Python", figures)])
}
