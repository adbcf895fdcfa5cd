//! Logs and figures of the process.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{io::IsTerminal, sync::OnceLock, time::Duration};
use tracing_subscriber::EnvFilter;

/// Starts logging to the standard error and counting. Once in a process; later calls change nothing.
///
/// # Errors
/// When TERCEL_LOG is not a filter.
pub fn install(config: &Config) -> Result<()> {
    let filter = filter(&config.log)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails when somebody logs already, which is what was wanted.
    let _ = match config.log_json {
        true => logs.json().flatten_event(true).try_init(),
        false => logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    recorder();
    Ok(())
}

/// Levels by module. A word that is no level would be taken for a module of which everything is wanted.
///
/// # Errors
/// Says which piece is wrong, and how it is written.
pub fn filter(text: &str) -> Result<EnvFilter> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let pieces: Vec<&str> = text.split(',').map(str::trim).collect();
    for piece in pieces.iter().filter(|piece| !piece.is_empty() && !piece.contains(['[', '{'])) {
        let level = piece.split_once('=').map_or(*piece, |(_, level)| level.trim());
        if !is_level(level) {
            let likeness = |known: &&str| strsim::jaro_winkler(known, &level.to_ascii_lowercase());
            let nearest = LEVELS.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or("info");
            bail!(
                "`{piece}` has no level; is `{nearest}` meant? It is a level such as info, or a list such as \
                 info,tercel::outbox=debug; the levels are {}",
                LEVELS.join(", ")
            );
        }
    }
    // The pool tells of each connection that breaks, of which the store has its own word.
    EnvFilter::try_new(format!("sqlx_core::pool=off,{}", pieces.join(",")))
        .context("It is a level such as info, or a list such as info,tercel::outbox=debug")
}

/// What was counted in this process.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        // Somebody else counts already: then our figures stay empty, and nothing else is lost.
        if metrics::set_global_recorder(recorder).is_ok() {
            tend(handle.clone());
        }
        handle
    })
}

fn builder() -> PrometheusBuilder {
    const SECONDS: &[f64] =
        &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
    const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".into()), SIZES))
        .expect("the buckets are not empty")
}

/// Samples of histograms pile up until somebody adds them up, and perhaps nobody ever scrapes.
fn tend(handle: PrometheusHandle) {
    let run = move || {
        loop {
            std::thread::park_timeout(Duration::from_secs(5));
            handle.run_upkeep();
        }
    };
    if let Err(error) = std::thread::Builder::new().name("metrics".into()).stack_size(64 * 1024).spawn(run) {
        tracing::warn!("Figures are added up only when they are read: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        for good in ["info", "WARN", "info,tercel=debug", "warn, tercel::outbox=trace", "off", "", "tercel[run]=debug"]
        {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (bad, meant) in
            [("inof", "info"), ("info,tercel=debg", "debug"), ("tercel", "off, error"), ("tercel=", "off, error")]
        {
            let said = format!("{:#}", filter(bad).unwrap_err());
            assert!(said.contains(meant) && said.contains(bad.split(',').next_back().unwrap()), "{said}");
        }
    }
}
