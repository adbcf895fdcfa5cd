//! `HOOK_WEBHOOK_URLS`: every event is sent once, and nobody waits for it.

use super::event::Event;
use crate::app::App;
use bytes::Bytes;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};
use url::Url;

/// Events that wait for one address; further ones are dropped and counted.
const ROOM: usize = 256;
/// Requests to one address at the same time.
const AT_ONCE: usize = 8;
const LIMIT: Duration = Duration::from_secs(10);

/// Empty until the server works.
#[derive(Default)]
pub struct Urls(OnceLock<Vec<Sender<Bytes>>>);

impl Urls {
    pub fn is_empty(&self) -> bool {
        self.0.get().is_none_or(Vec::is_empty)
    }

    pub fn send(&self, event: &Event) {
        for queue in self.0.get().into_iter().flatten() {
            if queue.try_send(event.body.clone()).is_err() {
                count("dropped");
            }
        }
    }

    /// Sends until the server stops.
    pub fn begin(app: &Arc<App>) {
        let mut queues = Vec::new();
        for url in &app.config.hook_webhook_urls {
            let (queue, waiting) = channel(ROOM);
            queues.push(queue);
            tokio::spawn(send_all(app.clone(), url.clone(), waiting));
        }
        if app.emission.urls.0.set(queues).is_err() {
            tracing::error!("Events are sent to HOOK_WEBHOOK_URLS already");
        }
    }
}

async fn send_all(app: Arc<App>, url: Url, mut waiting: Receiver<Bytes>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            body = waiting.recv(), if open.len() < AT_ONCE => {
                let Some(body) = body else { return };
                open.spawn(send(app.clone(), url.clone(), body));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn send(app: Arc<App>, url: Url, body: Bytes) {
    let http = app.plain_http(Some(url.as_str()), None, &app.stopping);
    let request = http.post(url.as_str()).body("application/json", body).timeout(LIMIT).max_response(1 << 16);
    let sent = request.send().await.and_then(tercel_sdk::http::Response::ok);
    // The address may have a secret in it.
    let host = url.host_str().unwrap_or_default();
    metrics::gauge!("tercel_hook_webhook_failing", "host" => host.to_owned()).set(if sent.is_ok() { 0.0 } else { 1.0 });
    match sent {
        Ok(_) => count("sent"),
        Err(error) => {
            count("failed");
            tracing::debug!("An event was not taken by {host}: {}", error.kind.as_str());
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("tercel_hook_webhooks_total", "outcome" => outcome).increment(1);
}
