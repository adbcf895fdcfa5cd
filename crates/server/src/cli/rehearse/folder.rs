//! The rehearsal of a folder whose code is not Rust: on a server of its own that nobody else sees, with what was recorded
//! instead of a network.

use super::{
    Arguments, Ended, LIMIT, PAUSE, SIGNING, asked, copy_bots,
    event::{self, Event},
    post, run_limit, traces,
};
use crate::{
    api,
    app::App,
    cli::{
        client::{self, Client},
        places,
    },
    config::{Config, Environment},
    folders::{self, Standing},
    outbound::Rehearsal,
    outbox, runner,
};
use anyhow::{Context, Result, anyhow, bail};
use axum::extract::ConnectInfo;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_hosts::{Fixtures, Folder, Hosts, Loaded};
use tercel_sdk::{Host, Inbound, Integration, Outcome, Received};
use tokio::net::TcpListener;

/// How long an environment for Python may take that has to be made first.
const MAKING: Duration = Duration::from_secs(600);
/// Lines of what its code printed.
const PRINTED: usize = 60;

pub async fn rehearse(
    mut environment: Environment,
    path: &Path,
    arguments: &Arguments,
) -> Result<(String, Event, Ended)> {
    let Read { folder, fixtures, integration, event } = read(path, arguments)?;
    event::fill(&integration, &mut environment, &event, arguments.live_reads);
    let signed = signed(&integration, &environment, &event)?;
    if !arguments.model {
        ["LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL"].iter().for_each(|name| environment.remove(name));
    }
    let place =
        tempfile::Builder::new().prefix("tercel-rehearsal-").tempdir().context("No temporary directory can be made")?;
    let data = place.path().join("data");
    fs::create_dir(&data)?;
    let real = Config::from(environment.clone())?;
    copy_bots(&real.data_dir, &data)?;
    // What was made once for Python is as good here.
    symlink(places::environments(&real)?, data.join("envs"))?;
    environment.set("TERCEL_DATA_DIR", data.to_string_lossy());
    environment.remove("DATABASE_URL");
    let mut config = Config::from(environment)?;
    let limit = if arguments.model { run_limit(&config) } else { LIMIT };
    // What it imports may lie beside it, or where a server would look.
    let beside = [real.data_dir.join("integrations"), folder.root.path.clone()];
    config.folders.directories.extend(beside.into_iter().filter(|path| path.is_dir()));
    config.only = Some(folder.id.clone());
    let rehearsal = Rehearsal::new(fixtures.exchanges, arguments.live_reads);
    config.rehearse = Some(rehearsal.clone());
    let app = App::open(config, Vec::new()).await?;
    let ended = on(&app, &folder.id, signed, &event, limit).await;
    app.folders.stop().await;
    let (asked, printed) = (asked(&app, &rehearsal), printed(&app, &folder.id));
    Ok((folder.id, event, Ended { asked, printed, ..ended? }))
}

fn printed(app: &App, id: &str) -> Vec<String> {
    let mut lines = app.folders.loaded(id).map(|loaded| loaded.worker.log()).unwrap_or_default();
    let catalog = app.catalog();
    let last = lines.split_off(lines.len().saturating_sub(PRINTED));
    last.iter().map(|line| catalog.redactor.text(&line.text).into_owned()).collect()
}

/// Sends the event to the server that runs, as the service would, and watches what it does.
pub async fn send(environment: Environment, path: &Path, arguments: &Arguments) -> Result<(String, Event, Ended)> {
    let Read { folder, integration, event, .. } = read(path, arguments)?;
    let id = folder.id;
    let config = Config::from(environment.clone())?;
    let client = client::running(&config).await?;
    let signed = signed(&integration, &environment, &event)?;
    let all = client.get("/api/v1/admin/integrations").await?;
    let known = all["integrations"].as_array().into_iter().flatten().find(|known| known["id"] == id.as_str());
    let known = known.with_context(|| format!("The server that runs has no integration `{id}`"))?;
    let path = known["webhook"]["path"].as_str().with_context(|| no_webhook(&id))?;
    let (status, body) = post(&config, path, signed, &event).await?;
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        bail!("The event was refused: {}\n{SIGNING}", client::complaint(status, &client::read(&body)));
    }
    let mut delivery = newest(&client, &id).await?;
    let mut answer = client::read(&body);
    if let Some(first) = repeated(&delivery) {
        delivery = client.get(&format!("/api/v1/deliveries/{first}")).await?;
        answer = json!({"status": "duplicate"});
    } else if let Some(new) = delivery["id"].as_str() {
        delivery = client.get(&format!("/api/v1/deliveries/{new}")).await?;
    }
    let tasks = ids(&delivery["tasks"]);
    let ended = Ended { sent: true, status, answer, delivery, ..Ended::default() };
    Ok((id, event, follow(&client, ended, tasks, run_limit(&config)).await?))
}

/// The delivery that this one repeats.
fn repeated(delivery: &Value) -> Option<&str> {
    let reason = delivery["reason"].as_str().filter(|_| delivery["outcome"] == "duplicate")?;
    reason.rsplit(' ').next()
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

struct Read {
    folder: Folder,
    fixtures: Fixtures,
    /// Stands for it where an event is signed.
    integration: Integration,
    event: Event,
}

fn read(path: &Path, arguments: &Arguments) -> Result<Read> {
    let folder = Hosts::folder(path).map_err(|reason| anyhow!(reason))?;
    let mut fixtures = Fixtures::read(&folder.path);
    if !fixtures.problems.is_empty() {
        let problems: Vec<String> = fixtures.problems.iter().map(ToString::to_string).collect();
        bail!("What was recorded cannot be used:\n{}", problems.join("\n"));
    }
    let mut integration = Integration::new(&folder.id);
    integration.samples = std::mem::take(&mut fixtures.samples);
    let event = event::find(&integration, &arguments.event, &arguments.headers)?;
    let signing = tercel_hosts::signing(&folder.id, &folder.path, event.sign.as_ref());
    if let Some(signing) = signing.map_err(|reason| anyhow!("{}: {reason}", event.name))? {
        let verify = signing.verify;
        integration.fields = signing.fields;
        integration = integration.webhook(move |host: Host, request: Inbound| {
            request.signed(&verify(&host)?)?;
            let (name, outcome) = (String::new(), Outcome::Ignored("it is only signed".into()));
            Ok(Received { dedupe: Default::default(), name, outcome })
        });
    }
    Ok(Read { folder, fixtures, integration, event })
}

/// Headers of the event, with its signature where anything says how it is signed.
fn signed(integration: &Integration, environment: &Environment, event: &Event) -> Result<HeaderMap> {
    if integration.webhook.is_none() {
        return Ok(event.headers.clone());
    }
    event::sign(integration, environment, event)
        .map_err(|refusal| anyhow!("The event cannot be signed: {refusal}\n{SIGNING}"))
}

async fn on(app: &Arc<App>, id: &str, headers: HeaderMap, event: &Event, limit: Duration) -> Result<Ended> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("The worker cannot be answered")?;
    app.folders.listens_on(listener.local_addr()?);
    let router = api::router(app.clone());
    let service = router.clone().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    folders::load::load(app, folders::load::LONG).await?;
    let loaded = ready(app, id).await?;
    let path = webhook(&loaded).with_context(|| no_webhook(id))?;
    tokio::spawn(runner::run_all(app.clone()));
    tokio::spawn(outbox::send_all(app.clone()));

    let mut request = client::webhook(&format!("/integrations/{id}{path}"), headers, event.body.clone())?;
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 0))));
    let (status, body) = client::through(&router, request).await?;
    let client = Client::here(app.clone());
    let delivery = newest(&client, id).await?;
    let tasks = client.get("/api/v1/tasks?limit=50").await?;
    let tasks =
        tasks.as_array().into_iter().flatten().filter_map(|task| task["id"].as_str().map(str::to_owned)).collect();
    let ended = Ended { status, answer: client::read(&body), delivery, ..Ended::default() };
    let ended = follow(&client, ended, tasks, limit).await;
    client.close().await;
    ended
}

/// What it declares, else the route that is called so.
fn webhook(loaded: &Loaded) -> Option<String> {
    const USUAL: &str = "/webhook";
    let routes = loaded.integration.routes.as_ref()?;
    let is_usual =
        |route: &&tercel_sdk::Route| route.path == USUAL && route.methods.iter().any(|method| method == "POST");
    routes.webhook.clone().or_else(|| routes.list.iter().find(is_usual).map(|route| route.path.clone()))
}

fn no_webhook(id: &str) -> String {
    format!(
        "`{id}` declares no webhook: there is nowhere to send an event to. In setup.py: \
         SETUP = {{\"webhook\": {{\"path\": \"/integrations/{id}/webhook\"}}}}, in integration.yaml: webhook"
    )
}

/// Waits until the folder is loaded and what it runs in is there; says meanwhile what takes so long.
async fn ready(app: &Arc<App>, id: &str) -> Result<Loaded> {
    let until = Instant::now() + MAKING;
    let mut told = false;
    loop {
        if !app.folders.is_found(id) {
            bail!("`{id}` has nothing that makes an integration");
        }
        let loaded = app.folders.loaded(id);
        let state = loaded.as_ref().map(|loaded| loaded.worker.state()).unwrap_or_default();
        if let Some(loaded) = loaded.filter(|_| state.state != "preparing" && !is_prepared(app, id)) {
            if !loaded.problems.is_empty() {
                let mut problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
                problems.dedup();
                bail!("`{id}` does not load whole:\n{}", problems.join("\n"));
            }
            return Ok(loaded);
        }
        if Instant::now() > until {
            bail!("What `{id}` runs in could not be made: {}", state.reason.unwrap_or_default());
        }
        if !std::mem::replace(&mut told, true) {
            eprintln!("An environment for Python is made, once for all folders that want the same packages…");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether requests to it are still refused because it is; its card is written after it is loaded.
fn is_prepared(app: &App, id: &str) -> bool {
    app.catalog().integrations.get(id).is_none_or(|entry| entry.listed.standing == Standing::Preparing)
}

async fn newest(client: &Client, id: &str) -> Result<Value> {
    let list = client.get(&format!("/api/v1/deliveries?integration={id}&limit=1")).await?;
    Ok(list.as_array().and_then(|all| all.first()).cloned().unwrap_or_default())
}

/// Waits until everything has ended that the event started.
async fn follow(client: &Client, mut ended: Ended, tasks: Vec<String>, limit: Duration) -> Result<Ended> {
    (ended.traces, ended.late) = traces(client, tasks, limit).await?;
    if ended.traces.is_empty() && ended.status.is_success() {
        ended.answer["delivery_id"] = ended.delivery["id"].clone();
    }
    Ok(ended)
}
