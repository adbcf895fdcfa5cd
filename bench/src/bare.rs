//! The limit of HTTP: a handler that reads the body, checks the signature, answers, and keeps nothing.
//!
//! It runs in a process of its own, as the server does.

use crate::payload::SECRET;
use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
    serve::ListenerExt,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::SystemTime,
};
use tercel_sdk::Scheme;
use tokio::net::TcpListener;

pub struct Bare {
    pub address: SocketAddr,
    process: Child,
}

impl Bare {
    pub fn start() -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut process =
            Command::new(own).arg("--bare-handler").stdout(Stdio::piped()).spawn().context("the bare handler")?;
        let stdout = process.stdout.take().context("the bare handler has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().context("the bare handler did not say where it listens")?;
        Ok(Self { address, process })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the process does that [`Bare::start`] starts.
pub async fn serve() -> Result<()> {
    let scheme = Scheme::github(SECRET);
    let handler = async move |headers: HeaderMap, body: Bytes| -> (StatusCode, Json<Value>) {
        match scheme.verify(&headers, &body, SystemTime::now()) {
            Ok(()) => (StatusCode::ACCEPTED, Json(json!({"status": "processed"}))),
            Err(refusal) => (StatusCode::FORBIDDEN, Json(json!({"detail": refusal.to_string()}))),
        }
    };
    let router = Router::new().fallback(post(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    let listener = listener.tap_io(|stream| {
        // Without it answers are late, not wrong.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}
