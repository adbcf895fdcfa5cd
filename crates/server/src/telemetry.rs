//! Logs and figures of the process.

mod recorder;

use crate::config::Config;
use anyhow::{Context, Result, bail};
use recorder::Recorder;
use std::{
    io::IsTerminal,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};
use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt, registry, reload, util::SubscriberInitExt};

/// The parts of the server, as filters name them.
pub const MODULES: &[&str] = &[
    "announce",
    "api",
    "app",
    "attachments",
    "backup",
    "bot",
    "budgets",
    "catalog",
    "ceilings",
    "channel",
    "cli",
    "clock",
    "config",
    "connection",
    "consent",
    "disk",
    "emission",
    "folders",
    "gaps",
    "hold",
    "hooks",
    "inject",
    "live",
    "mirror",
    "ollama",
    "outbound",
    "outbox",
    "part",
    "pause",
    "places",
    "polls",
    "processes",
    "providers",
    "queue",
    "receiving",
    "redact",
    "registering",
    "retention",
    "runner",
    "schedules",
    "sealing",
    "serve",
    "speech",
    "succession",
    "sync",
    "telemetry",
    "tier",
    "tokens",
    "trace",
    "unpriced",
    "watchman",
    "webhook",
];
/// The other crates of ours.
const CRATES: [&str; 7] =
    ["tercel", "tercel_agent", "tercel_hosts", "tercel_integrations", "tercel_models", "tercel_sdk", "tercel_store"];

/// What is logged right now, and the way to change it.
struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    filter: Mutex<String>,
}

static LEVELS: OnceLock<Levels> = OnceLock::new();

/// Starts logging to the standard error and counting. Once in a process; later calls change nothing.
///
/// # Errors
/// When TERCEL_LOG is not a filter.
pub fn install(config: &Config) -> Result<()> {
    let (filter, handle) = reload::Layer::new(filter(&config.log)?);
    let logs = registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // Fails when somebody logs already, which is what was wanted.
    let begun = match config.log_json {
        true => logs.with(lines.json().flatten_event(true)).try_init(),
        false => logs.with(lines.with_target(false).with_ansi(std::io::stderr().is_terminal())).try_init(),
    };
    if begun.is_ok() {
        let _ = LEVELS.set(Levels { handle, filter: Mutex::new(config.log.clone()) });
    }
    // Somebody else counts already: then our figures stay empty, and nothing else is lost.
    let _ = metrics::set_global_recorder(recorder());
    Ok(())
}

/// What is logged right now; nothing when somebody else logs.
pub fn logged() -> Option<String> {
    Some(LEVELS.get()?.filter.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Logs by another filter from now on, until the process ends.
///
/// # Errors
/// When it is no filter, or somebody else logs.
pub fn log_by(text: &str) -> Result<()> {
    let new = filter(text)?;
    let Some(levels) = LEVELS.get() else { bail!("This process does not log by itself") };
    let mut filter = levels.filter.lock().unwrap_or_else(PoisonError::into_inner);
    levels.handle.reload(new).context("The filter cannot be changed")?;
    *filter = text.to_owned();
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
        if let Some((target, _)) = piece.split_once('=') {
            known(target.trim())?;
        }
    }
    // The pool tells of each connection that breaks, of which the store has its own word.
    EnvFilter::try_new(format!("sqlx_core::pool=off,{}", pieces.join(",")))
        .context("It is a level such as info, or a list such as info,tercel::outbox=debug")
}

/// A part of ours that does not exist would be a filter that silently does nothing. Those of others are not known.
fn known(target: &str) -> Result<()> {
    let (first, rest) = target.split_once("::").unwrap_or((target, ""));
    let unlike = || bail!("there is no `{target}`; is `{}` meant?", near(first, &CRATES));
    match first {
        "tercel" if !rest.is_empty() => {
            let module = rest.split("::").next().unwrap_or_default();
            match MODULES.contains(&module) {
                true => Ok(()),
                false => bail!("there is no `{target}`; is `tercel::{}` meant?", near(module, MODULES)),
            }
        }
        first if CRATES.contains(&first) => Ok(()),
        first if first.starts_with("tercel") => unlike(),
        first if CRATES.iter().any(|known| strsim::jaro_winkler(known, first) > 0.9) => unlike(),
        first if MODULES.contains(&first) => bail!("there is no `{target}`; is `tercel::{target}` meant?"),
        _ => Ok(()),
    }
}

fn near<'n>(name: &str, known: &[&'n str]) -> &'n str {
    let likeness = |known: &&&str| strsim::jaro_winkler(known, name);
    known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).copied().unwrap_or("tercel")
}

/// What was counted in this process.
pub fn recorder() -> &'static Recorder {
    static RECORDER: LazyLock<Recorder> = LazyLock::new(Recorder::default);
    &RECORDER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_server_can_be_named() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let names = std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.map(|name| name.trim_end_matches(".rs").to_owned()).collect();
        names.retain(|name| !["lib", "main"].contains(&name.as_str()));
        names.sort();
        names.dedup();
        assert_eq!(names, MODULES);
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        for good in ["info", "WARN", "info,tercel=debug", "warn, tercel::outbox=trace", "off", "", "tercel[run]=debug"]
        {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (bad, meant) in [
            ("tercel::outbx=debug", "`tercel::outbox`"),
            ("info,terzel=debug", "`tercel`"),
            ("tercel_stroe=debug", "`tercel_store`"),
            ("outbox=debug", "`tercel::outbox`"),
        ] {
            let said = format!("{:#}", filter(bad).unwrap_err());
            assert!(said.contains(&format!("is {meant} meant?")), "{said}");
        }
        assert!(filter("hyper=debug,tercel::api::outer=trace,tercel_store::writer=debug").is_ok());
        for (bad, meant) in
            [("inof", "info"), ("info,tercel=debg", "debug"), ("tercel", "off, error"), ("tercel=", "off, error")]
        {
            let said = format!("{:#}", filter(bad).unwrap_err());
            assert!(said.contains(meant) && said.contains(bad.split(',').next_back().unwrap()), "{said}");
        }
    }
}
