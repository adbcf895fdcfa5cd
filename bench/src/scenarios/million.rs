//! A large database: how long an update takes, what clients see of a backup, how soon it is back.

mod fill;

use super::traffic::Traffic;
use crate::{
    Bench,
    measure::{Figure, Row, Unit},
    process,
    server::Place,
};
use anyhow::{Result, ensure};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long clients are watched before the backup.
const BEFORE: Duration = Duration::from_secs(4);
const PASSPHRASE: (&str, &str) = ("TERCEL_BACKUP_PASSPHRASE", "correct horse battery staple");

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    bench.outside.latency(Duration::ZERO);
    let messages = bench.plan.messages;
    let name = format!("{} messages", crate::report::grouped(messages as f64));
    let place = Place::new(bench)?;
    fill::fill(&place, messages)?;
    let update = update(&place).await?;
    let archive = place.data().with_file_name("backup");
    let backup = backup(&place, &archive).await?;
    let restore = restore(bench, &archive).await?;
    Ok(vec![
        Row::new(format!("{name}, start with an update"), update),
        Row::new(format!("{name}, backup under load"), backup),
        Row::new(format!("{name}, restore"), restore),
    ])
}

async fn update(place: &Place) -> Result<Vec<Figure>> {
    let size = size(place)?;
    let server = place.start().await?;
    let (ready, memory) = (server.ready_after, process::peak_memory(server.pid())?);
    server.stop().await?;
    let server = place.start().await?;
    let figures = vec![
        Figure::time("ready", ready),
        Figure::time("ready without", server.ready_after),
        Figure::new("peak memory", memory, Unit::Mebibytes),
        Figure::new("memory without", process::peak_memory(server.pid())?, Unit::Mebibytes),
        Figure::new("database", size, Unit::Mebibytes),
    ];
    server.stop().await?;
    Ok(figures)
}

async fn backup(place: &Place, archive: &Path) -> Result<Vec<Figure>> {
    let server = place.start().await?;
    let traffic = Traffic::start(server.api).await?;
    let begun = Instant::now();
    tokio::time::sleep(BEFORE).await;
    let memory = process::peak_memory(server.pid())?;
    let asked = Instant::now();
    let mut command = place.command();
    command.arg("backup").arg(archive);
    run(command).await?;
    let done = Instant::now();
    let peak = process::peak_memory(server.pid())?;
    let calls = traffic.stop().await?;
    let (before, during) = (calls.between(begun, asked)?, calls.between(asked, done)?);
    server.stop().await?;
    Ok(vec![
        Figure::time("time", done - asked),
        Figure::new("longest pause", during.longest, Unit::Milliseconds).target(1_000.0),
        Figure::new("longest before", before.longest, Unit::Milliseconds),
        Figure::new("p99", during.p99, Unit::Milliseconds),
        Figure::new("p99 before", before.p99, Unit::Milliseconds),
        Figure::new("peak memory", peak, Unit::Mebibytes),
        Figure::new("peak before", memory, Unit::Mebibytes),
        Figure::new("file", mebibytes(fs::metadata(archive)?.len()), Unit::Mebibytes),
    ])
}

async fn restore(bench: &Bench, archive: &Path) -> Result<Vec<Figure>> {
    let place = Place::new(bench)?;
    let begun = Instant::now();
    let mut command = place.command();
    command.arg("restore").arg(archive);
    run(command).await?;
    let restored = begun.elapsed();
    let server = place.start().await?;
    let tasks = server.api.list("/api/v1/tasks?limit=500&status=complete").await?.len() as u64;
    ensure!(tasks == bench.plan.messages / 10, "{tasks} of {} runs were restored", bench.plan.messages / 10);
    let figures = vec![Figure::time("time", restored), Figure::time("ready", server.ready_after)];
    server.stop().await?;
    Ok(figures)
}

/// Runs a command to its good end, while clients go on.
async fn run(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.env(PASSPHRASE.0, PASSPHRASE.1).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(
        output.status.success(),
        "{name} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn size(place: &Place) -> Result<f64> {
    Ok(mebibytes(match &place.database {
        None => fs::metadata(place.data().join("tercel.db"))?.len(),
        Some(database) => database.ask("SELECT pg_database_size(current_database())")?.parse()?,
    }))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
