//! The forward proxy: the one way out for processes of integrations whose network is closed.
//!
//! It listens on loopback. Who has no pass gets nothing; who has one reaches the hosts that its integration names, at
//! addresses that the policy admits, and this server's API. The check is made on the address that is connected to, so
//! a name cannot mean one thing when it is looked at and another when it is used; a redirect is a request like any other.

mod authority;
mod hosts;
mod pass;
mod relay;
mod request;
mod stage;
mod target;

#[cfg(test)]
mod tests;

pub use hosts::Hosts;
pub use pass::{Pass, Permit};
pub use stage::Stage;

use super::{HostPort, Outbound};
use anyhow::{Context, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pass::Passes;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

/// Makes programs of Node take the proxy.
pub const NODE: &str = include_str!("node.cjs");

/// Connections that all processes together may have open.
const CONNECTIONS: usize = 1_024;
/// How long a request may take to say what it wants, and a connection may wait for the next.
const HEAD: Duration = Duration::from_secs(20);
/// How long nothing may go either way. Longer than common long polls, and than pings of WebSockets.
const IDLE: Duration = Duration::from_secs(600);

pub struct Proxy {
    outbound: Arc<Outbound>,
    passes: Arc<Passes>,
    address: SocketAddr,
    /// This server's API.
    api: SocketAddr,
    idle: Duration,
    /// In a rehearsal: what there is instead of the network.
    stage: Option<Stage>,
}

impl Proxy {
    /// Listens on a free port of this machine until `stopping`.
    pub async fn open(
        outbound: Arc<Outbound>,
        api: SocketAddr,
        stage: Option<Stage>,
        stopping: CancellationToken,
    ) -> Result<Arc<Self>> {
        Self::open_with(outbound, api, stage, stopping, IDLE).await
    }

    async fn open_with(
        outbound: Arc<Outbound>,
        api: SocketAddr,
        stage: Option<Stage>,
        stopping: CancellationToken,
        idle: Duration,
    ) -> Result<Arc<Self>> {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("The forward proxy finds no free port on 127.0.0.1")?;
        let api = match api.ip().is_unspecified() {
            true => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), api.port()),
            false => api,
        };
        let address = listener.local_addr()?;
        let proxy = Arc::new(Self { outbound, passes: Arc::default(), address, api, idle, stage });
        tokio::spawn(listen(proxy.clone(), listener, stopping));
        Ok(proxy)
    }

    /// What processes have to believe in a rehearsal, as a file holds it.
    pub fn certificate(&self) -> Option<String> {
        self.stage.as_ref().map(|stage| stage.authority.pem())
    }

    /// In a rehearsal, what stands for that place.
    fn staged(&self, place: &HostPort) -> Option<&Stage> {
        self.stage.as_ref().filter(|_| !self.is_api(place))
    }

    /// The only port that a process with a closed network needs.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether this is the server itself, which every process may ask.
    fn is_api(&self, place: &HostPort) -> bool {
        place.port == self.api.port() && place.host == self.api.ip().to_string()
    }

    /// A pass for one process. When it is dropped, what goes through on it is cut.
    pub fn admit(&self, permit: Permit) -> Pass {
        self.passes.issue(permit, self.address)
    }
}

async fn listen(proxy: Arc<Proxy>, listener: TcpListener, stopping: CancellationToken) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let admitted = async {
            let permit = free.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stopping.cancelled() => return,
            admitted = admitted => admitted,
        };
        let Ok((connection, _)) = accepted else {
            // No descriptor is free: a moment later one may be.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (proxy, stopping) = (proxy.clone(), stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = serve(proxy, connection) => {}
            }
            drop(permit);
        });
    }
}

async fn serve(proxy: Arc<Proxy>, connection: TcpStream) {
    let _ = connection.set_nodelay(true);
    // What a tunnel carries is carried here, so that the connection counts for as long as it lasts.
    let tunnel = Arc::new(request::Tunnel::default());
    let service = service_fn(|request| {
        let (proxy, tunnel) = (proxy.clone(), tunnel.clone());
        async move { Ok::<_, std::convert::Infallible>(request::answer(&proxy, request, &tunnel).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
    // Whoever breaks off has its reasons; there is nobody to tell.
    let _ = server.serve_connection(TokioIo::new(connection), service).with_upgrades().await;
    tunnel.carry(&proxy).await;
}
