//! The client against servers that behave, misbehave and attack.

mod address;
mod failures;
mod limits;
mod redirects;
mod rehearsal;

use super::*;
use axum::Router;
use futures::{FutureExt, future::BoxFuture};
use http::Method;
use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tercel_sdk::{
    Result,
    http::{Builder, Client},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

/// A client under test and what it wrote down.
struct World {
    outbound: Arc<Outbound>,
    rows: mpsc::Receiver<Egress>,
    names: Arc<Scripted>,
}

/// A resolver that answers as told; each answer of a name counts once, the last one for good.
#[derive(Default)]
struct Scripted {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: AtomicUsize,
}

impl Names for Scripted {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let Some(left) = answers.get_mut(&host) else {
            return futures::future::pending().boxed();
        };
        let answer = if left.len() > 1 { left.remove(0) } else { left[0].clone() };
        async move { Ok(answer) }.boxed()
    }
}

fn world() -> World {
    world_with(|_| {})
}

fn world_with(change: impl FnOnce(&mut Options)) -> World {
    let (sender, rows) = mpsc::channel(64);
    let names = Arc::new(Scripted::default());
    let mut options = Options { names: names.clone(), timeout: Duration::from_secs(10), ..Options::new(sender) };
    change(&mut options);
    World { outbound: Outbound::new(options).unwrap(), rows, names }
}

impl World {
    fn name(self, host: &str, answers: &[&[&str]]) -> Self {
        let parsed = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        self.names.answers.lock().unwrap().insert(host.into(), parsed);
        self
    }

    /// A client of the integration `example` to which the operator gave these addresses.
    fn client(&self, granted: &[&str]) -> Client {
        self.client_of(scope(granted))
    }

    fn client_of(&self, scope: Scope) -> Client {
        Client::new(self.outbound.transport(scope))
    }

    /// `GET host/path → outcome, bytes out, bytes in`, in the order in which the requests ended.
    fn ledger(&mut self) -> Vec<String> {
        let rows = std::iter::from_fn(|| self.rows.try_recv().ok());
        rows.map(|row| {
            let outcome = match (row.status, row.error) {
                (status, Some(kind)) => format!("{} {}", status.unwrap_or(0), kind.as_str()),
                (status, None) => format!("{}", status.unwrap_or(0)),
            };
            let path = format!("{}{}", row.host.split(':').next().unwrap(), row.path);
            format!("{} {path} → {outcome}, {} out, {} in", row.method, row.sent_bytes, row.received_bytes)
        })
        .collect()
    }
}

fn scope(granted: &[&str]) -> Scope {
    Scope {
        integration: Some("example".into()),
        connection: Some("default".into()),
        granted: granted.iter().map(|url| HostPort::of(&url.parse().unwrap()).unwrap()).collect(),
        ..Scope::default()
    }
}

/// Starts a server that behaves; its address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// Starts a server that reads a request, writes these bytes, and then hangs up or hangs.
async fn serve_raw(answer: impl Into<Vec<u8>>, then: Then) -> String {
    let (listener, answer) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), answer.into());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(&answer).await;
            if matches!(then, Then::Hang) {
                held.push(socket);
            }
        }
    });
    format!("http://{address}")
}

#[derive(Clone, Copy)]
enum Then {
    Hang,
    HangUp,
}

fn head(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n")
}

/// Sends it; `status body` or `kind: message`, with the port taken out.
async fn outcome(request: Builder) -> String {
    match request.send().await {
        Ok(response) => format!("{} {}", response.status.as_u16(), response.text()),
        Err(error) => format!("{}: {error}", error.kind.as_str()),
    }
}

fn post(client: &Client, url: &str) -> Builder {
    client.post(url).body("text/plain", "hello")
}

async fn kind(request: Builder) -> &'static str {
    request.send().await.expect_err("the request fails").kind.as_str()
}
