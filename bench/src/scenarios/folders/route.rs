//! A route of a Python folder through the server, beside the same router under uvicorn alone. Python has a core of its
//! own both times; the server shares the other one with the load.

use super::{boot::PATIENCE, source};
use crate::{
    Bench,
    http::{Api, Line},
    measure::{self, Figure, Round, Row, Unit},
    process::{self, Core},
    server::{Place, Server},
};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const CONCURRENCY: usize = 16;
const PATH: &str = "/integrations/bench_route/ingest";

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new(bench)?;
    source::python_route(&place.folders(), "bench_route")?;
    let server = place.start().await?;
    until_answered(&server.api).await?;
    let worker = the_worker(&server)?;
    let alone = Uvicorn::start(&interpreter(worker)?, &place.folders().join("bench_route"))?;
    until_answered(&alone.api).await?;

    process::pin(std::process::id(), Core::First)?;
    process::pin(server.pid(), Core::First)?;
    process::pin(worker, Core::Second)?;
    process::pin(alone.process.id(), Core::Second)?;
    let mut rounds = (Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        rounds.0.push(round(bench, &server.api, worker).await?);
        rounds.1.push(round(bench, &alone.api, alone.process.id()).await?);
    }
    process::pin(std::process::id(), Core::Any)?;
    drop(alone);
    server.stop().await?;

    let (through, plain) = (Round::median(&rounds.0), Round::median(&rounds.1));
    let mut figures = through.figures();
    figures.push(Figure::new("of uvicorn alone", through.rate / plain.rate, Unit::Ratio).target(0.8));
    let row = |name: &str, figures| Row::new(format!("{name}, c={CONCURRENCY}"), figures);
    Ok(vec![row("route in Python", figures), row("uvicorn alone", plain.figures())])
}

async fn round(bench: &Bench, api: &Api, pid: u32) -> Result<Round> {
    let body = json!({"items": [{"id": 1, "title": "One"}, {"id": 2, "title": "Two"}]});
    let requests = (0..super::super::enough(bench, CONCURRENCY)).map(|_| api.post(PATH, &body)).collect();
    measure::round(api.address, pid, requests, CONCURRENCY, bench.plan.round).await
}

async fn until_answered(api: &Api) -> Result<()> {
    let begun = Instant::now();
    loop {
        let request = api.post(PATH, &json!({"items": []}));
        let answer = async { Line::open(api.address).await?.send(request).await };
        match answer.await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) if begun.elapsed() > PATIENCE => bail!("{}: {}", answer.status, answer.beginning()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The one Python process below the server.
fn the_worker(server: &Server) -> Result<u32> {
    let is_worker = |pid: &u32| process::command_line(*pid).is_ok_and(|line| line.contains("tercel_worker"));
    process::descendants(server.pid())?.into_iter().find(is_worker).context("no worker runs")
}

fn interpreter(worker: u32) -> Result<std::path::PathBuf> {
    // Not the file behind the link: the environment lies around the link.
    let line = process::command_line(worker)?;
    line.split('\0').find(|word| word.contains("python")).map(Into::into).context("the worker is no Python")
}

/// The router without a server around it.
struct Uvicorn {
    api: Api,
    process: Child,
}

impl Uvicorn {
    fn start(python: &Path, folder: &Path) -> Result<Self> {
        let program = folder.with_file_name("plain.py");
        fs::write(
            &program,
            "from fastapi import FastAPI\nfrom router import router\n\napp = FastAPI()\napp.include_router(router, prefix=\"/integrations/bench_route\")\n",
        )?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new(python)
            .args(["-m", "uvicorn", "plain:app", "--log-level", "error", "--no-access-log", "--port"])
            .arg(port.to_string())
            .env("PYTHONPATH", format!("{}:{}", folder.display(), folder.with_file_name("").display()))
            .stdin(Stdio::null())
            .spawn()
            .context("uvicorn cannot be started")?;
        Ok(Self { api: Api { address: SocketAddr::from(([127, 0, 0, 1], port)) }, process })
    }
}

impl Drop for Uvicorn {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
