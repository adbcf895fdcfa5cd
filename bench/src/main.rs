//! What Tercel is measured by: one command, from outside over HTTP, beside the limits of the machine.

mod bare;
mod engine;
mod http;
mod in_process;
mod load;
mod machine;
mod measure;
mod native;
mod outside;
mod payload;
#[path = "../../tests/harness/postgres.rs"]
mod postgres;
mod process;
mod report;
mod scenarios;
mod server;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use engine::Engine;
use outside::Outside;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::OnceLock,
    time::{Duration, Instant},
};

#[derive(Parser)]
#[command(about = "Measures the tercel program that lies beside this one")]
struct Arguments {
    /// Only scenarios whose names begin so, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Shorter and rougher: one round of everything.
    #[arg(long)]
    quick: bool,
    /// What the server stores in.
    #[arg(long, value_enum, default_value = "both")]
    engine: Engines,
    /// Where results are kept, and where the last one is looked for.
    #[arg(long, default_value = "bench/results")]
    out: PathBuf,
    /// Becomes the handler without a server around it that webhooks are compared with.
    #[arg(long, hide = true)]
    bare_handler: bool,
    /// Becomes the server, with a tool of the bench in it.
    #[arg(long, hide = true)]
    native_tool: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engines {
    Sqlite,
    Postgres,
    Both,
}

/// How long and how often things are measured.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    pub round: Duration,
    pub starts: usize,
    pub answers: usize,
    /// Rest before memory is read.
    pub rest: Duration,
    /// Messages in the database that is updated, copied and restored.
    pub messages: u64,
    /// How long an hour of mixed load takes.
    pub soak: Duration,
}

impl Plan {
    const FULL: Self = Self {
        rounds: 3,
        round: Duration::from_millis(1_000),
        starts: 10,
        answers: 300,
        rest: Duration::from_secs(5),
        messages: 1_000_000,
        soak: Duration::from_secs(150),
    };
    const QUICK: Self = Self {
        rounds: 1,
        round: Duration::from_millis(500),
        starts: 3,
        answers: 60,
        rest: Duration::from_secs(2),
        messages: 20_000,
        soak: Duration::from_secs(15),
    };
}

/// What scenarios work in.
pub struct Bench {
    pub plan: Plan,
    pub outside: Outside,
    pub engine: Engine,
    /// Whether what no engine makes different is measured now.
    pub is_first: bool,
    /// What the bare handler did, by sizes and connections.
    bare: OnceLock<Vec<Vec<measure::Round>>>,
}

fn main() -> Result<ExitCode> {
    // The server starts processes by the program that it is, which is this one where it has the tool of the bench.
    if let Some(code) = tercel::cli::sandbox_exec() {
        return Ok(code);
    }
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nobody installed a provider before the first lines of main");
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run())
}

async fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.bare_handler {
        return bare::serve().await.map(|()| ExitCode::SUCCESS);
    }
    if arguments.native_tool {
        return native::serve().await.map(|()| ExitCode::SUCCESS);
    }
    process::raise_file_limit();
    let names: Vec<&str> = scenarios::NAMES
        .into_iter()
        .filter(|name| arguments.only.is_empty() || arguments.only.iter().any(|only| name.starts_with(only.as_str())))
        .collect();
    if names.is_empty() {
        bail!("No scenario begins with `{}`; there are {}", arguments.only.join(","), scenarios::NAMES.join(", "));
    }
    let program = server::program()?;
    let last = report::last(&arguments.out).context("The last result cannot be compared with")?;
    let machine = machine::facts(&program);
    println!("{machine}");

    let plan = if arguments.quick { Plan::QUICK } else { Plan::FULL };
    let mut engines = Vec::new();
    if arguments.engine != Engines::Postgres {
        engines.push(Engine::Sqlite);
    }
    if arguments.engine != Engines::Sqlite {
        engines.push(Engine::postgres()?);
    }
    let begun = Instant::now();
    let outside = Outside::start().await?;
    let mut bench = Bench { plan, outside, engine: Engine::Sqlite, is_first: true, bare: OnceLock::new() };
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        let mut measured = Vec::new();
        for (i, engine) in engines.iter().enumerate() {
            (bench.engine, bench.is_first) = (engine.clone(), i == 0);
            if !scenarios::measures(name, &bench) {
                continue;
            }
            let at = begun.elapsed().as_secs();
            eprintln!("{:02}:{:02} measuring {name}{} …", at / 60, at % 60, engine.suffix());
            match scenarios::run(name, &bench).await {
                Ok(rows) => measured.push(rows),
                Err(error) => {
                    let failure = format!("{name}{}: {error:#}", engine.suffix());
                    eprintln!("{failure}");
                    failures.push(failure);
                }
            }
        }
        let measured = report::beside(measured);
        report::print(&measured, last.as_ref());
        rows.extend(measured);
    }
    for failure in &failures {
        eprintln!("not measured: {failure}");
    }
    if rows.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let is_whole =
        !arguments.quick && arguments.only.is_empty() && arguments.engine == Engines::Both && failures.is_empty();
    let file = report::keep(&arguments.out, machine, arguments.quick, rows, is_whole)?;
    println!("\nkept in {}", file.display());
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
