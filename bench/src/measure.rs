//! Figures: what was measured, in which unit, against which target.

use crate::{
    http::Body,
    load::{self, Load},
    process,
};
use anyhow::Result;
use hyper::Request;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub figures: Vec<Figure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: Unit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "µs")]
    Microseconds,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "ratio")]
    Ratio,
    #[serde(rename = "count")]
    Count,
    #[serde(rename = "%")]
    Percent,
}

impl Row {
    pub fn new(name: impl Into<String>, figures: Vec<Figure>) -> Self {
        Self { name: name.into(), figures }
    }
}

impl Figure {
    pub fn new(what: &str, value: f64, unit: Unit) -> Self {
        Self { what: what.into(), value, unit, target: None }
    }

    pub fn time(what: &str, time: Duration) -> Self {
        Self::new(what, milliseconds(time), Unit::Milliseconds)
    }

    /// What is to be reached: at least or at most, as the unit has it.
    pub fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    pub fn is_met(&self) -> Option<bool> {
        let target = self.target?;
        Some(if self.unit.more_is_better() { self.value >= target } else { self.value <= target })
    }
}

impl Unit {
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::Ratio | Self::Count)
    }
}

/// What one round of load showed.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    /// Time on the cores that one request took, in microseconds.
    pub server_cpu: f64,
    pub generator_cpu: f64,
}

/// Sends requests to the process `pid` and reads what that took.
pub async fn round(
    address: SocketAddr,
    pid: u32,
    requests: Vec<Request<Body>>,
    concurrency: usize,
    time: Duration,
) -> Result<Round> {
    let own = std::process::id();
    let before = (process::cpu(pid)?, process::cpu(own)?);
    let load = load::run(address, requests, concurrency, time).await?;
    let spent = (process::cpu(pid)? - before.0, process::cpu(own)? - before.1);
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / load.latencies.len() as f64;
    Ok(Round {
        rate: rate(&load),
        p50: milliseconds(percentile(&load.latencies, 50)),
        p99: milliseconds(percentile(&load.latencies, 99)),
        server_cpu: each(spent.0),
        generator_cpu: each(spent.1),
    })
}

impl Round {
    /// The median of each figure.
    pub fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            rate: of(|round| round.rate),
            p50: of(|round| round.p50),
            p99: of(|round| round.p99),
            server_cpu: of(|round| round.server_cpu),
            generator_cpu: of(|round| round.generator_cpu),
        }
    }

    pub fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::new("rate", self.rate, Unit::PerSecond),
            Figure::new("p50", self.p50, Unit::Milliseconds),
            Figure::new("p99", self.p99, Unit::Milliseconds),
            Figure::new("server CPU", self.server_cpu, Unit::Microseconds),
            Figure::new("generator CPU", self.generator_cpu, Unit::Microseconds),
        ]
    }
}

fn rate(load: &Load) -> f64 {
    load.latencies.len() as f64 / load.elapsed.as_secs_f64()
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// By the nearest rank; of an ascending list that is not empty.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// Of a list that is not empty.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&times[..3], 50), Duration::from_millis(2));
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_target_is_a_floor_for_rates_and_a_ceiling_for_times() {
        let met = |unit, value| Figure::new("x", value, unit).target(10.0).is_met();
        assert_eq!((met(Unit::PerSecond, 11.0), met(Unit::PerSecond, 9.0)), (Some(true), Some(false)));
        assert_eq!((met(Unit::Milliseconds, 11.0), met(Unit::Milliseconds, 9.0)), (Some(false), Some(true)));
        assert_eq!(Figure::new("x", 1.0, Unit::Count).is_met(), None);
    }
}
