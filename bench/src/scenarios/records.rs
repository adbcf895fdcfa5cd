//! Records that are pushed to a service, and looked at again when nothing has changed.

use crate::{
    Bench,
    http::Api,
    measure::{Figure, Row, Unit, milliseconds},
    process,
    server::{Place, Server},
};
use anyhow::{Context, Result, bail};
use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const RECORDS: usize = 10_000;
/// Those that are pushed before anything is measured; what ten times as many add is not to be seen.
const SOME: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(600);

const HEAD: &str = r#"
schema: 1
name: register
fields: [{key: url, type: url, required: true}]
http: {base: "{{ fields.url }}"}
test: {depth: auth, get: /ping}
sync:
  collection: jobs
  row:
    {title: "{{ record.title }}", company: "{{ record.company }}", url: "{{ record.url }}",
     status: "{{ record.status or 'pending' }}", external_id: "{{ key }}"}
"#;
const TOGETHER: &str = "  upsert: {batch: 100, post: /batch, json: {rows: \"{{ items }}\"}, ids: response.json.ids}\n";
const ALONE: &str =
    "  create: {post: /records, json: \"{{ row }}\", id: response.json.id, idempotency: Idempotency-Key}\n";

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, way) in [("10,000 records, 100 at once", TOGETHER), ("10,000 records, one by one", ALONE)] {
        rows.push(pushed(bench, name, way).await?);
    }
    Ok(rows)
}

async fn pushed(bench: &Bench, name: &str, way: &str) -> Result<Row> {
    let (url, taken) = register().await?;
    let place = Place::new(bench)?;
    let folder = place.folders().join("register");
    fs::create_dir(&folder)?;
    fs::write(folder.join("integration.yaml"), format!("{HEAD}{way}"))?;
    let server = place.start().await?;
    connect(&server.api, &url).await?;
    store(&server.api, 0).await?;
    sync(&server).await?;
    tokio::time::sleep(bench.plan.rest).await;
    let before = process::memory(server.pid())?;
    for first in (SOME..RECORDS).step_by(SOME) {
        store(&server.api, first).await?;
    }
    let (first, took) = sync(&server).await?;
    if (first["created"].as_u64(), taken.load(Ordering::Relaxed)) != (Some((RECORDS - SOME) as u64), RECORDS) {
        bail!("not all were pushed: {first:#}");
    }
    let (second, again) = sync(&server).await?;
    if second["skipped"].as_u64() != Some(RECORDS as u64) || taken.load(Ordering::Relaxed) != RECORDS {
        bail!("not all were skipped: {second:#}");
    }
    let more = process::peak_memory(server.pid())? - before;
    let figures = vec![
        Figure::new("pushed", (RECORDS - SOME) as f64 / took.as_secs_f64(), Unit::PerSecond),
        Figure::new("again, all skipped", milliseconds(again), Unit::Milliseconds).target(1_000.0),
        Figure::new("memory after 1,000", before, Unit::Mebibytes),
        Figure::new("more at its peak", more, Unit::Mebibytes),
    ];
    server.stop().await?;
    Ok(Row::new(name, figures))
}

async fn store(api: &Api, first: usize) -> Result<()> {
    let records: Vec<Value> = (first..first + SOME).map(record).collect();
    api.call(api.post("/api/v1/records/jobs", &json!({"records": records}))).await.map(drop)
}

fn record(n: usize) -> Value {
    json!({"id": n, "title": format!("Position {n}"), "company": format!("Company {}", n % 97), "url":
        format!("https://jobs.example/{n}"), "description": "A job like many others. ".repeat(20)})
}

/// Values that a person has saved may name private addresses.
async fn connect(api: &Api, url: &str) -> Result<()> {
    let path = "/api/v1/admin/integrations/register/connection/connect";
    let answer = api.call(api.post(path, &json!({"url": url}))).await?;
    if answer["ok"] != true {
        bail!("the service cannot be connected: {answer:#}");
    }
    Ok(())
}

/// The report, and how long it took.
async fn sync(server: &Server) -> Result<(Value, Duration)> {
    let api = &server.api;
    let begun = Instant::now();
    let started = api.call(api.post("/api/v1/admin/integrations/register/connection/sync", &json!({}))).await?;
    let path = format!("/api/v1/syncs/{}", started["task_id"].as_str().context("no task")?);
    while begun.elapsed() < PATIENCE {
        let report = api.call(api.get(&path)).await?;
        if !report["ended_at"].is_null() {
            return Ok((report, begun.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("the sync does not end");
}

/// A service that takes everything.
async fn register() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let taken = Arc::new(AtomicUsize::new(0));
    let router = Router::new()
        .route("/ping", get(|| async { Json(json!({})) }))
        .route("/records", post(one))
        .route("/batch", post(many))
        .with_state(taken.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, taken))
}

async fn one(State(taken): State<Arc<AtomicUsize>>, Json(_): Json<Value>) -> Json<Value> {
    Json(json!({"id": taken.fetch_add(1, Ordering::Relaxed)}))
}

async fn many(State(taken): State<Arc<AtomicUsize>>, Json(body): Json<Value>) -> Json<Value> {
    let count = body["rows"].as_array().map_or(0, Vec::len);
    let first = taken.fetch_add(count, Ordering::Relaxed);
    Json(json!({"ids": (first..first + count).collect::<Vec<_>>()}))
}
