//! How the processes of folders get out: freely, or through the forward proxy to the hosts that they name.

use crate::{
    app::App,
    catalog::DEFAULT,
    outbound::{
        HostPort,
        proxy::{Hosts, Pass, Permit, Proxy},
    },
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
};
use tercel_hosts::{Reach, RootKind};

#[derive(Default)]
pub struct Network {
    proxy: OnceLock<Arc<Proxy>>,
    /// By integration: one for all of its processes, for as long as it names the same hosts.
    passes: Mutex<BTreeMap<String, (Permit, Pass)>>,
}

/// Without a proxy the network of those that name hosts is closed.
pub async fn open(app: &Arc<App>, api: SocketAddr) {
    match Proxy::open(app.outbound.clone(), api, app.stopping.clone()).await {
        Ok(proxy) => _ = app.folders.network.proxy.set(proxy),
        Err(error) => tracing::error!("Integrations that name the hosts they call reach none of them: {error:#}"),
    }
}

/// The network of an operator's folder is open unless it names hosts; that of a folder in the workspace never is. In a
/// rehearsal the server itself is all that can be reached.
pub fn reach(app: &App, integration: &str, root: RootKind, hosts: &[String]) -> Reach {
    let is_open = root != RootKind::Workspace && hosts.is_empty();
    match app.config.rehearse {
        false if is_open => Reach::Open,
        false => through(app, integration, hosts).unwrap_or_else(|| server_only(app)),
        true => server_only(app),
    }
}

fn server_only(app: &App) -> Reach {
    Reach::Through { port: app.folders.port(), environment: BTreeMap::new() }
}

fn through(app: &App, integration: &str, hosts: &[String]) -> Option<Reach> {
    let network = &app.folders.network;
    let proxy = network.proxy.get()?;
    let hosts = Hosts::parse(hosts)
        .inspect_err(|error| tracing::error!(integration, "The hosts that it names are not used: {error:#}"))
        .unwrap_or_default();
    let permit = Permit { integration: integration.into(), hosts, granted: granted(app, integration) };
    let mut passes = network.passes.lock().expect("no holder of this lock panics");
    if passes.get(integration).is_none_or(|(known, _)| *known != permit) {
        passes.insert(integration.into(), (permit.clone(), proxy.admit(permit)));
    }
    let environment = passes.get(integration).map(|(_, pass)| pass.environment())?;
    Some(Reach::Through { port: proxy.port(), environment })
}

/// Addresses in the settings that the operator gave.
fn granted(app: &App, integration: &str) -> Vec<HostPort> {
    let catalog = app.catalog();
    let Some(entry) = catalog.integrations.get(integration) else { return Vec::new() };
    let granted = entry.values(DEFAULT).map(|values| values.granted(&entry.integration.fields));
    granted.unwrap_or_default().iter().filter_map(HostPort::of).collect()
}
