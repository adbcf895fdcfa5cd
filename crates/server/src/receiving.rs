//! Letting webhook parts verify and read requests, so that one which never comes back holds up nobody else.
//!
//! Reading takes some ten microseconds, and handing it to another thread costs as much again. So it is done on the thread
//! that has the request, but never on all of them at once: one thread is left for everything else, and what is large or
//! comes meanwhile is read beside them.

pub mod body;

use crate::{
    app::App,
    part::{within, words},
};
use body::Bodies;
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tercel_sdk::{Host, Inbound, Kind, Received, Refusal, inbound::Webhook};
use tercel_store::NewNotice;

/// Bodies from this size on are read beside the threads that serve everybody else.
const LARGE: usize = 256 << 10;

/// Requests that are being read.
#[derive(Default)]
pub struct Readers {
    /// What their bodies take while they come.
    pub bodies: Bodies,
    /// On threads that serve everybody else.
    inline: AtomicUsize,
    /// When they began, by integration.
    begun: Mutex<HashMap<String, Vec<Instant>>>,
}

/// Why there is no answer of the part.
pub enum Fault {
    Refused(Refusal),
    /// Nothing was stored, and the sender may come again.
    Broken(String),
}

/// Lets the integration verify and read a request. Its panic is its own, and so is the time it takes.
pub async fn read(app: &App, webhook: Webhook, host: Host, request: Inbound, size: usize) -> Result<Received, Fault> {
    let name = host.integration().to_owned();
    let broken = || Fault::Broken(format!("The webhook of `{name}` has a fault; nothing was stored"));
    let limit = app.config.limits.webhook;
    let Some(reading) = app.readers.begin(&name, limit) else {
        let message = format!("The webhook of `{name}` has a fault: it is still reading an earlier request");
        return Err(Fault::Broken(message));
    };
    let receive = move || {
        let _reading = reading;
        catch_unwind(AssertUnwindSafe(|| webhook.receive(&host, request)))
    };
    let outcome = match app.readers.seat(size) {
        Some(_seat) => receive(),
        None => {
            let what = format!("The webhook of `{name}`");
            match within(limit, &what, Kind::Timeout, async move { Ok(receive()) }).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::error!(integration = name, "A request was not read: {error}");
                    return Err(broken());
                }
            }
        }
    };
    match outcome {
        Ok(received) => received.map_err(Fault::Refused),
        Err(panic) => {
            let catalog = app.catalog();
            let words = catalog.redactor.text(words(&*panic));
            tracing::error!(integration = name, "The webhook part has a fault: it panicked ({words})");
            Err(broken())
        }
    }
}

/// Tells of parts that do not come back from a request, until the server stops.
pub async fn watch(app: Arc<App>) {
    let mut told: Vec<String> = Vec::new();
    let pause = app.config.limits.webhook.max(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.stopping.cancelled() => return,
        }
        let late = app.readers.late(app.config.limits.webhook);
        for name in late.iter().filter(|name| !told.contains(name)) {
            app.raise(notice(name)).await;
        }
        for name in told.iter().filter(|name| !late.contains(name)) {
            app.close_notice(&key(name)).await;
        }
        told = late;
    }
}

fn key(integration: &str) -> String {
    format!("webhook:{integration}")
}

fn notice(integration: &str) -> NewNotice {
    NewNotice {
        key: key(integration),
        severity: "error",
        title: format!("The webhook of `{integration}` does not come back from a request"),
        detail: "Its requests are refused meanwhile, and the thread that it computes on is lost".into(),
        repair: Some("Mend the integration, then start the server anew".into()),
    }
}

impl Readers {
    /// `None` while an earlier request of the integration takes too long: what never comes back must not take one thread
    /// after the other.
    fn begin(self: &Arc<Self>, integration: &str, limit: Duration) -> Option<Reading> {
        let mut begun = self.begun();
        let of_it = begun.entry(integration.into()).or_default();
        if of_it.iter().any(|begun| begun.elapsed() > limit) {
            return None;
        }
        let time = Instant::now();
        of_it.push(time);
        Some(Reading { readers: self.clone(), integration: integration.into(), begun: time })
    }

    /// Room to read at once, if the request is small and a thread is left for everything else.
    fn seat(&self, size: usize) -> Option<Seat<'_>> {
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        let seat = Seat(self);
        let taken = self.inline.fetch_add(1, Ordering::Relaxed) + 1;
        (size < LARGE && taken < workers).then_some(seat)
    }

    fn late(&self, limit: Duration) -> Vec<String> {
        let is_late = |begun: &Vec<Instant>| begun.iter().any(|begun| begun.elapsed() > limit);
        self.begun().iter().filter(|(_, begun)| is_late(begun)).map(|(name, _)| name.clone()).collect()
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<String, Vec<Instant>>> {
        self.begun.lock().expect("no holder of this lock panics")
    }
}

/// One request that is being read.
struct Reading {
    readers: Arc<Readers>,
    integration: String,
    begun: Instant,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(begun) = self.readers.begun().get_mut(&self.integration)
            && let Some(at) = begun.iter().position(|begun| *begun == self.begun)
        {
            begun.swap_remove(at);
        }
    }
}

/// One of the threads that serve everybody else.
struct Seat<'a>(&'a Readers);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.inline.fetch_sub(1, Ordering::Relaxed);
    }
}
