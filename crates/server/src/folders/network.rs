//! How the processes of folders get out: freely, or through the forward proxy to the hosts that they name.

use crate::{
    app::App,
    catalog::DEFAULT,
    outbound::{
        HostPort,
        proxy::{Hosts, NODE, Pass, Permit, Proxy, Stage},
    },
};
use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};
use tercel_hosts::{Reach, RootKind};

#[derive(Default)]
pub struct Network {
    way: OnceLock<Way>,
    /// By integration: one for all of its processes, for as long as it names the same hosts.
    passes: Mutex<BTreeMap<String, (Permit, Pass)>>,
}

/// The proxy, and the files that programs read to take it.
struct Way {
    proxy: Arc<Proxy>,
    directory: PathBuf,
    /// Makes them read these.
    variables: BTreeMap<String, String>,
}

/// Below the data directory.
const PLACE: &str = "proxy";

/// Without a proxy the network of those that name hosts is closed.
pub async fn open(app: &Arc<App>, api: SocketAddr) {
    match way(app, api).await {
        Ok(way) => _ = app.folders.network.way.set(way),
        Err(error) => tracing::error!("Integrations that name the hosts they call reach none of them: {error:#}"),
    }
}

async fn way(app: &Arc<App>, api: SocketAddr) -> Result<Way> {
    let stage = app.config.rehearse.clone().map(Stage::new).transpose()?;
    let proxy = Proxy::open(app.outbound.clone(), api, stage, app.stopping.clone()).await?;
    let directory = std::path::absolute(&app.config.data_dir)?.join(PLACE);
    let variables = files(&directory, proxy.certificate().as_deref())
        .with_context(|| format!("{} cannot be written", directory.display()))?;
    Ok(Way { proxy, directory, variables })
}

/// Writes what programs read. Anybody may: there is no secret in it.
fn files(directory: &Path, certificate: Option<&str>) -> std::io::Result<BTreeMap<String, String>> {
    let legible = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    fs::create_dir_all(directory)?;
    legible(directory, 0o755)?;
    let node = directory.join("node.cjs");
    fs::write(&node, NODE)?;
    legible(&node, 0o644)?;
    let quoted = node.display().to_string().replace('\\', r"\\").replace('"', "\\\"");
    let mut variables = BTreeMap::from([("NODE_OPTIONS".to_owned(), format!("--require=\"{quoted}\""))]);
    if let Some(certificate) = certificate {
        let file = directory.join("authority.pem");
        fs::write(&file, certificate)?;
        legible(&file, 0o644)?;
        let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
        variables.extend(names.map(|name| (name.to_owned(), file.display().to_string())));
    }
    Ok(variables)
}

/// The network of an operator's folder is open unless it names hosts; that of a folder in the workspace never is. In a
/// rehearsal it is what was recorded.
pub fn reach(app: &App, integration: &str, root: RootKind, hosts: &[String]) -> Reach {
    let is_open = root != RootKind::Workspace && hosts.is_empty();
    if is_open && app.config.rehearse.is_none() {
        return Reach::Open;
    }
    let hosts = match is_open {
        true => Hosts::Any,
        false => Hosts::parse(hosts)
            .inspect_err(|error| tracing::error!(integration, "The hosts that it names are not used: {error:#}"))
            .unwrap_or_default(),
    };
    through(app, integration, hosts).unwrap_or_else(|| server_only(app))
}

fn server_only(app: &App) -> Reach {
    Reach::Through { port: app.folders.port(), environment: BTreeMap::new(), readable: Vec::new() }
}

fn through(app: &App, integration: &str, hosts: Hosts) -> Option<Reach> {
    let network = &app.folders.network;
    let Way { proxy, directory, variables } = network.way.get()?;
    let permit = Permit { integration: integration.into(), hosts, granted: granted(app, integration) };
    let mut passes = network.passes.lock().expect("no holder of this lock panics");
    if passes.get(integration).is_none_or(|(known, _)| *known != permit) {
        passes.insert(integration.into(), (permit.clone(), proxy.admit(permit)));
    }
    let mut environment = passes.get(integration).map(|(_, pass)| pass.environment())?;
    environment.extend(variables.clone());
    Some(Reach::Through { port: proxy.port(), environment, readable: vec![directory.clone()] })
}

/// Lets processes reach addresses that the operator gave meanwhile. Who describes a folder starts before it is known which
/// of its settings are addresses.
pub fn grant(app: &App) {
    let mut passes = app.folders.network.passes.lock().expect("no holder of this lock panics");
    for (integration, (permit, pass)) in passes.iter_mut() {
        let now = granted(app, integration);
        if now.len() > permit.granted.len() && permit.granted.iter().all(|given| now.contains(given)) {
            pass.grant(now.clone());
            permit.granted = now;
        }
    }
}

/// Addresses in the settings that the operator gave.
fn granted(app: &App, integration: &str) -> Vec<HostPort> {
    let catalog = app.catalog();
    let Some(entry) = catalog.integrations.get(integration) else { return Vec::new() };
    let granted = entry.values(DEFAULT).map(|values| values.granted(&entry.integration.fields));
    granted.unwrap_or_default().iter().filter_map(HostPort::of).collect()
}
