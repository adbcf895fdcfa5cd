//! Starting and ending the server.

use crate::{
    api, app::App, backup, catalog::DEFAULT, ceilings, config::Config, connection, consent, disk, emission, folders,
    gaps, hold, outbox, polls, processes, receiving, registering, retention, runner, schedules, succession, sync,
    telemetry, watchman,
};
use anyhow::{Context, Result};
use axum::{Extension, Router, extract::ConnectInfo, serve::Listener};
use futures::future::try_join_all;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};
use tercel_sdk::Integration;
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Layer;

/// How long a connection may take to say what it wants, and stay open between two requests. Many proxies keep theirs for
/// two minutes: hanging up before them can lose a request that is on its way.
const SILENCE: Duration = Duration::from_secs(180);
/// What a process that does not hear gets after its time is over.
const MARGIN: Duration = Duration::from_secs(1);
/// How long runs and answers may go on after the server was told to stop. What is not done then is taken up at the
/// next start.
const GRACE: Duration = Duration::from_secs(5);

/// `native` are the integrations that are part of the program.
pub async fn serve(config: Config, native: Vec<Integration>) -> Result<()> {
    #[cfg(feature = "failpoints")]
    if let Some(spec) = config.failpoint() {
        tercel_store::failpoint::arm(spec);
    }
    telemetry::install(&config)?;
    // Watched from the first moment: a stop during the start is an orderly one too.
    let stop = StopSignals::watch()?;
    let app = App::open_before_folders(config, native).await?;
    backup::clear(&app.config.data_dir);
    let listener = TcpListener::bind(app.config.listen)
        .await
        .with_context(|| format!("Nothing can listen on {}: TERCEL_LISTEN names another address", app.config.listen))?;
    let address = listener.local_addr()?;
    app.folders.listens_on(address);
    let servers = TaskTracker::new();
    let router = api::router(app.clone());
    servers.spawn(listen(listener, router.clone(), SILENCE, app.stopping.clone()));
    if let Some(address) = app.config.webhook_listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("Nothing can listen on {address} (TERCEL_WEBHOOK_LISTEN)"))?;
        servers.spawn(listen(listener, api::webhook_router(app.clone()), SILENCE, app.stopping.clone()));
    }
    let socket = open_socket(&app, router, &servers)?;
    #[cfg(feature = "failpoints")]
    tercel_store::failpoint::reachable();
    let note = app.config.data_dir.join("address");
    // A full disk must not keep a server from starting.
    if let Err(error) = std::fs::write(&note, address.to_string()) {
        tracing::warn!("{} cannot be written: {error}", note.display());
    }
    if let Err(error) = folders::load::load(&app, folders::load::SHORT).await {
        tracing::error!("{error:#}");
    }
    greet(&app, address);
    tokio::spawn(offer_ollama(app.clone()));
    start_work(&app).await;

    let is_broken = tokio::select! {
        () = stop.received() => false,
        () = app.store.is_broken() => true,
    };
    match is_broken {
        true => tracing::error!("The writer of the database has a fault: nothing can be stored, and the server ends"),
        false => tracing::info!("Stopping: what runs has {} seconds to end", GRACE.as_secs()),
    }
    app.stopping.cancel();
    servers.close();
    app.work.close();
    let ended = async {
        servers.wait().await;
        app.work.wait().await;
    };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::info!("{} runs go on at the next start", app.runs.open());
    }
    // After what is being done has ended, and not for ever.
    let processes = async { tokio::join!(app.folders.stop(), app.processes.end()) };
    if tokio::time::timeout(GRACE + MARGIN, processes).await.is_err() {
        tracing::info!("Processes of folders are ended in the middle of a call");
    }
    app.store.close().await;
    let _ = std::fs::remove_file(note);
    let _ = std::fs::remove_file(socket);
    // What was acknowledged is stored. Whoever started this process starts another one, which takes up the rest.
    anyhow::ensure!(!is_broken, "The writer of the database had a fault; the log has its words. Start the server anew");
    Ok(())
}

/// Starts what works in the background. What takes work is waited for at the end: it puts back what it has just taken.
async fn start_work(app: &Arc<App>) {
    if let Err(error) = go_on(app).await {
        tracing::error!("What waits cannot go on: {error}");
    }
    hold::tell(app).await;
    app.work.spawn(runner::run_all(app.clone()));
    app.work.spawn(outbox::send_all(app.clone()));
    app.work.spawn(schedules::run_all(app.clone()));
    app.work.spawn(polls::run_all(app.clone()));
    app.work.spawn(registering::run_all(app.clone()));
    app.work.spawn(sync::run_all(app.clone()));
    app.work.spawn(sync::start_due(app.clone()));
    app.work.spawn(connection::retest::run_all(app.clone()));
    app.work.spawn(connection::files::watch(app.clone()));
    app.work.spawn(consent::watch::run_all(app.clone()));
    app.work.spawn(emission::run_all(app.clone()));
    tokio::spawn(gaps::watch(app.clone()));
    tokio::spawn(processes::begin(app.clone()));
    tokio::spawn({
        let app = app.clone();
        async move { folders::deliveries::resume(&app).await }
    });
    app.work.spawn(retention::prune_all(app.clone()));
    tokio::spawn(disk::watch(app.clone()));
    tokio::spawn(ceilings::watch(app.clone()));
    tokio::spawn(runner::client::watch(app.clone()));
    tokio::spawn(watchman::watch(app.clone()));
    tokio::spawn(receiving::watch(app.clone()));
    tokio::spawn(succession::watch(app.clone()));
}

/// Sends on the runs and answers that wait for a person: what they wait for may be mended by now; if not, they wait again.
async fn go_on(app: &App) -> Result<(), tercel_store::Error> {
    let catalog = app.catalog();
    let types = catalog.dispatchers.keys().map(String::as_str).chain(outbox::TYPES);
    // At once, so that they are one commit.
    let (resumed, ..) = tokio::try_join!(
        app.store.resume_tasks(None, "the start of the server"),
        try_join_all(types.map(|name| app.store.unpark_outbox(name))),
        app.store.resume_syncs(None),
    )?;
    watchman::pull_back(app).await;
    // Nobody is told that something is over before it was seen to be.
    runner::doubt(app, resumed).await?;
    outbox::settle_all(app).await?;
    watchman::begin(app).await
}

/// Answers whoever connects, until `stopping`; then only what was asked before.
async fn listen(mut listener: TcpListener, router: Router, silence: Duration, stopping: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(silence);
    let connections = GracefulShutdown::new();
    loop {
        let (connection, peer) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = stopping.cancelled() => break,
        };
        // An answer in two pieces must not wait 40 ms for the acknowledgement of the first.
        let _ = connection.set_nodelay(true);
        let service = TowerToHyperService::new(Extension(ConnectInfo(peer)).layer(router.clone()));
        tokio::spawn(connections.watch(http.serve_connection(TokioIo::new(connection), service)));
    }
    drop(listener);
    connections.shutdown().await;
}

/// The commands' way in: whoever may open the file is an administrator.
fn open_socket(app: &Arc<App>, router: Router, servers: &TaskTracker) -> Result<PathBuf> {
    let path = app.config.data_dir.join("tercel.sock");
    // Nobody listens there any more: the lock on the directory is ours.
    let _ = std::fs::remove_file(&path);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("The socket {} cannot be made", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let stopping = app.stopping.clone();
    let router = api::for_operator(router);
    servers.spawn(async move {
        let served =
            axum::serve(listener, router.into_make_service()).with_graceful_shutdown(stopping.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!("The socket failed: {error}");
        }
    });
    Ok(path)
}

/// Says in plain words what was found and what to do next.
fn greet(app: &App, address: SocketAddr) {
    let config = &app.config;
    tracing::info!("Tercel {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    tracing::info!("Data is kept in {}", config.data_dir.display());
    config.doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
    match &config.llm.base_url {
        Some(url) => tracing::info!("Model: {} at {url}", config.llm.model),
        None => tracing::info!(
            "Model: none, so a rehearsal answers and nothing is sent. Set LLM_BASE_URL, LLM_MODEL and LLM_API_KEY"
        ),
    }
    if app.folders.count() > 0 {
        tracing::info!("Folders of integrations: {}", app.folders.count());
    }
    if config.api_key.is_none() {
        tracing::info!("API: no API_KEY is set. `tercel keys create me --scope admin` makes a key");
    }
    for (name, entry) in &app.catalog().integrations {
        let values = &entry.connections[DEFAULT];
        let unset: Vec<&str> = entry
            .integration
            .fields
            .iter()
            .filter(|field| (field.required || field.secret) && !values.fields.contains_key(&field.key))
            .map(|field| field.env.as_str())
            .collect();
        let missing = if unset.is_empty() { String::new() } else { format!(" (not set: {})", unset.join(", ")) };
        let routes = entry.integration.routes.as_ref().and_then(|routes| routes.webhook.as_deref());
        let path = entry.integration.webhook.as_ref().map(|_| "/webhook").or(routes);
        let base = config.base_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let webhook = path.map(|path| format!("; webhooks come to {base}/integrations/{name}{path}"));
        let problem = entry.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        tracing::info!("Integration `{name}`: {}{problem}{missing}{}", entry.status(), webhook.unwrap_or_default());
        for (key, why) in &values.broken {
            tracing::error!("The stored value of `{key}` of `{name}` cannot be used: {why}");
        }
    }
    let sample = app.catalog().integrations.iter().find_map(|(name, entry)| {
        // As this one was started: it need not be in the path.
        let program = std::env::args().next().unwrap_or_else(|| "tercel".into());
        Some(format!("{program} rehearse {name} --event {} --send", entry.integration.samples.first()?.name))
    });
    if let Some(command) = sample.filter(|_| config.llm.base_url.is_none()) {
        tracing::info!("Next, in another terminal: {command}");
    }
}

/// After the greeting, so that nobody waits for it.
async fn offer_ollama(app: Arc<App>) {
    let http = crate::ollama::through(&app.outbound, &app.config);
    if let Some(offer) = crate::ollama::offer(&app.config, &http).await {
        tracing::info!("{offer}");
    }
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn watch() -> Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
        let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
        Ok(Self { terminate, interrupt })
    }

    async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    async fn asked(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
        format!("{} asked", peer.ip())
    }

    /// All that comes until the server hangs up.
    async fn answered(address: SocketAddr, says: &str) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(says.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn who_does_not_say_what_they_want_is_hung_up_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopping, silence) = (CancellationToken::new(), Duration::from_secs(2));
        let router = Router::new().route("/", get(asked));
        let listening = tokio::spawn(listen(listener, router, silence, stopping.clone()));
        let says = ["", "GET / HTTP/1.1\r\nhost: a\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"];
        let [nothing, half, all] = says.map(|says| answered(address, says));
        let (nothing, half, all) = tokio::join!(nothing, half, all);
        assert_eq!((nothing.as_str(), half.as_str()), ("", ""));
        assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("127.0.0.1 asked"), "{all}");
        stopping.cancel();
        listening.await.unwrap();
    }
}
