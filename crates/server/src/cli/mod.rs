//! The commands. Those that change something go through the running server's socket, if there is one.

mod backup;
mod call;
mod check;
mod client;
mod doctor;
mod integrations;
mod keys;
mod logs;
mod new;
mod places;
mod record;
mod rehearse;
mod resume;
mod terminal;

use crate::config::{Config, Environment};
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// A self-hosted agent server.
#[derive(Parser)]
#[command(name = "tercel", version, about)]
struct Arguments {
    /// Where everything is kept [TERCEL_DATA_DIR, default ./data]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server
    Serve {
        /// Address to listen on [TERCEL_LISTEN, default 127.0.0.1:8000]
        #[arg(long)]
        listen: Option<String>,
    },
    /// Make a new integration to begin with
    New(new::Arguments),
    /// Say what is wrong with a folder, without running it
    Check(check::Arguments),
    /// Show what an event would do: signed, verified, run, and nothing sent
    Rehearse(rehearse::Arguments),
    /// Call a part of a manifest for real, and keep what was said for `check` and rehearsals
    Record(record::Arguments),
    /// Call a tool
    Call(call::Arguments),
    /// What is connected, and switching it on and off
    #[command(subcommand)]
    Integrations(integrations::Command),
    /// API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Write everything into one file, while the server runs or not
    Backup(backup::Make),
    /// Make a data directory out of a backup; the server then starts held
    Restore(backup::Restore),
    /// Show what a server that is held would send, and let it go on
    Resume(resume::Arguments),
    /// Look for what is wrong with this installation
    Doctor,
    /// What an integration did lately, and what its code printed
    Logs(logs::Arguments),
}

pub fn main() -> ExitCode {
    if let Some(code) = sandbox_exec() {
        return code;
    }
    let arguments = Arguments::parse();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(arguments));
    // A look-up of a name cannot be broken off, and would be waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How the program starts others, and looks after what they leave. It is not for people, and looks at nothing else: it
/// runs before each of them.
pub fn sandbox_exec() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        tercel_hosts::sandbox::SUBCOMMAND => {}
        tercel_hosts::guard::SUBCOMMAND => return Some(tercel_hosts::guard::watch(arguments)),
        _ => return None,
    }
    let descriptor = arguments.next().unwrap_or_default();
    let error = tercel_hosts::sandbox::exec(&descriptor.to_string_lossy());
    eprintln!("error: {error:#}");
    Some(tercel_hosts::sandbox::FAILED.into())
}

/// How long a thread that may wait for the disk stays without work. A start needs some, a server at rest two.
const IDLE: Duration = Duration::from_secs(2);

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(1 << 20)
        .thread_keep_alive(IDLE)
        .build()?)
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut environment = Environment::read()?;
    if let Some(directory) = &arguments.data_dir {
        environment.set("TERCEL_DATA_DIR", directory.to_string_lossy());
    }
    if let Command::Serve { listen: Some(listen) } = &arguments.command {
        environment.set("TERCEL_LISTEN", listen);
    }
    match arguments.command {
        Command::Serve { .. } => {
            let native = tercel_integrations::all();
            crate::serve::serve(Config::from(environment)?, native).await.map(|()| ExitCode::SUCCESS)
        }
        Command::New(arguments) => new::run(arguments),
        Command::Check(arguments) => check::run(Config::from(environment)?, arguments).await,
        Command::Rehearse(arguments) => rehearse::run(environment, arguments).await,
        Command::Record(arguments) => record::run(environment, arguments).await,
        Command::Call(arguments) => call::run(Config::from(environment)?, arguments).await,
        Command::Integrations(command) => integrations::run(Config::from(environment)?, command).await,
        Command::Keys(command) => keys::run(Config::from(environment)?, command).await,
        Command::Backup(arguments) => backup::make(Config::from(environment)?, arguments).await,
        Command::Restore(arguments) => backup::restore(Config::from(environment)?, arguments).await,
        Command::Resume(arguments) => resume::run(Config::from(environment)?, arguments).await,
        Command::Doctor => doctor::run(environment).await,
        Command::Logs(arguments) => logs::run(Config::from(environment)?, arguments).await,
    }
}
