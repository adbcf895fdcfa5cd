//! The only way out of the server: one client for all traffic, with one policy.
//!
//! Decisions that callers see:
//! - An address that the operator gave counts for that host and port only, and only until a redirect leaves it.
//! - A failing status speaks for itself: when its body breaks off or is too large, what was read of it is delivered.
//!   After a success the same is an error: `schema`, `network` or `timeout` where a repetition does no harm,
//!   `unknown_outcome` otherwise, because the effect happened and its acknowledgement is lost.
//! - A cancelled call is `network` where nothing happened or a repetition does no harm, else `unknown_outcome`.

mod address;
mod answer;
mod client;
mod ledger;
mod limits;
pub mod proxy;
mod redirect;
pub mod rehearsal;
mod resolve;
mod tls;
mod watched;

#[cfg(test)]
mod tests;

pub use address::HostPort;
pub use ledger::Egress;
pub use rehearsal::{Asked, Fate, Rehearsal};
pub use resolve::{Names, System};
pub use watched::{Seen, Watched};

use self::{address::Policy, ledger::Ledger, limits::Limits, resolve::Guard};
use anyhow::Context;
use ipnet::IpNet;
use std::{sync::Arc, time::Duration};
use tercel_sdk::{Mode, http::Transport};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub struct Outbound {
    options: Options,
    /// Connects to public addresses and what `allow_private` adds, whatever a name resolves to.
    guarded: reqwest::Client,
    /// Connects to what the operator gave. A pool of its own, so that no other request finds these connections.
    granted: reqwest::Client,
    policy: Arc<Policy>,
    limits: Limits,
    ledger: Ledger,
}

pub struct Options {
    /// Networks that are not public and may be called all the same.
    pub allow_private: Vec<IpNet>,
    pub ledger: Sender<Egress>,
    /// Called with `outbound.before` and `outbound.after` around each request that goes out.
    pub probe: fn(&'static str),
    pub connect_timeout: Duration,
    pub timeout: Duration,
    /// Bytes of an answer, after decompression.
    pub max_response: usize,
    /// Calls of one connection to one host and port at the same time.
    pub per_host: usize,
    /// The same for traffic without an integration, which is the models'.
    pub per_host_of_models: usize,
    pub names: Arc<dyn Names>,
}

impl Options {
    pub fn new(ledger: Sender<Egress>) -> Self {
        Self {
            allow_private: Vec::new(),
            ledger,
            probe: |_| {},
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            max_response: 10 << 20,
            per_host: 16,
            per_host_of_models: 2_048,
            names: Arc::new(System),
        }
    }
}

/// On whose behalf a request goes out, and what it may.
#[derive(Clone, Default)]
pub struct Scope {
    pub integration: Option<String>,
    pub connection: Option<String>,
    pub task: Option<Uuid>,
    /// Addresses that the operator gave: allowed, private or not.
    pub granted: Vec<HostPort>,
    pub mode: Mode,
    pub rehearsal: Rehearsal,
    pub cancel: CancellationToken,
}

impl Outbound {
    pub fn new(options: Options) -> anyhow::Result<Arc<Self>> {
        let policy = Arc::new(Policy::new(options.allow_private.clone()));
        let tls = tls::config()?;
        let guard = |granted| Guard { names: options.names.clone(), policy: policy.clone(), granted };
        Ok(Arc::new(Self {
            guarded: connect(&options, tls.clone(), guard(false))?,
            granted: connect(&options, tls, guard(true))?,
            limits: Limits::new(options.per_host, options.per_host_of_models),
            ledger: Ledger::new(options.ledger.clone()),
            policy,
            options,
        }))
    }

    /// Whether an address may be called, as far as that can be said before its name is resolved.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, url: &url::Url, granted: bool) -> tercel_sdk::Result<()> {
        self.policy.check(url, granted)
    }

    pub fn transport(self: &Arc<Self>, scope: Scope) -> Arc<dyn Transport> {
        Arc::new(client::Line { outbound: self.clone(), scope })
    }
}

fn connect(options: &Options, tls: rustls::ClientConfig, guard: Guard) -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(guard)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("tercel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        // Shorter than the 5 s after which common servers hang up: a write that meets a closing connection has an
        // unknown outcome.
        .pool_idle_timeout(Duration::from_secs(4))
        .tcp_keepalive(Duration::from_secs(30))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .build()
        .context("The HTTP client could not be made")
}
