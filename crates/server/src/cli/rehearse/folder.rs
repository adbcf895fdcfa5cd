//! The rehearsal of a folder whose code is not Rust: on a server of its own that nobody else sees, without network.

use super::{
    Arguments, Ended, LIMIT, PAUSE, copy_bots,
    event::{self, Event},
    show,
};
use crate::{
    api,
    app::App,
    cli::client::{self, Client},
    config::{Config, Environment},
    folders::{self, Standing},
    outbox, runner,
};
use anyhow::{Context, Result, anyhow, bail};
use axum::extract::ConnectInfo;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_hosts::{Hosts, Loaded};
use tercel_sdk::Integration;
use tokio::net::TcpListener;

/// How long an environment for Python may take that has to be made first.
const MAKING: Duration = Duration::from_secs(300);
/// What a secret without a value has, so that the event can be signed.
const PLACEHOLDER: &str = "placeholder-of-a-rehearsal";

/// How the service signs: the HMAC-SHA256 of the body, in hexadecimal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    header: String,
    #[serde(default)]
    prefix: String,
    /// Name of the variable that has the secret.
    secret: String,
}

/// Whether this names a folder rather than something that ships with the program.
pub fn is_folder(named: &str) -> bool {
    let path = Path::new(named);
    path.is_dir() && !path.join("mod.rs").is_file()
}

/// The integration of a folder that is a manifest and has no code.
pub fn manifested(named: &str) -> Result<Option<Integration>> {
    if !is_folder(named) {
        return Ok(None);
    }
    let folder = Hosts::folder(Path::new(named)).map_err(|reason| anyhow!(reason))?;
    let made = tercel_hosts::manifested(&folder).transpose();
    made.map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("`{}` does not load:\n{}", folder.id, problems.join("\n"))
    })
}

pub async fn rehearse(mut environment: Environment, arguments: &Arguments) -> Result<(String, Event, Ended)> {
    if arguments.live_reads {
        bail!(
            "Code of a folder has no network in a rehearsal, because nobody can tell what it reads from what it writes; \
             --live-reads is for integrations in Rust"
        );
    }
    let folder = Hosts::folder(Path::new(&arguments.integration)).map_err(|reason| anyhow!(reason))?;
    let (mut event, sign) = find(&folder.path, arguments)?;
    if let Some(sign) = &sign {
        if environment.get(&sign.secret).is_none_or(str::is_empty) {
            environment.set(&sign.secret, PLACEHOLDER);
        }
        let secret = environment.get(&sign.secret).unwrap_or_default().to_owned();
        put_signature(&mut event, sign, &secret)?;
    }
    if !arguments.model {
        ["LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL"].iter().for_each(|name| environment.remove(name));
    }
    let place =
        tempfile::Builder::new().prefix("tercel-rehearsal-").tempdir().context("No temporary directory can be made")?;
    let (data, root) = (place.path().join("data"), place.path().join("folders"));
    let real = PathBuf::from(environment.get("TERCEL_DATA_DIR").unwrap_or("data"));
    fs::create_dir_all(&data)?;
    copy_bots(&real, &data)?;
    // Environments that the server has made are as good here.
    if let Ok(made) = real.join("envs").canonicalize() {
        std::os::unix::fs::symlink(made, data.join("envs"))?;
    }
    copy(&folder.path, &root.join(&folder.id))?;
    environment.set("TERCEL_DATA_DIR", data.to_string_lossy());
    environment.set("INTEGRATION_DIRS", root.to_string_lossy());
    environment.remove("DATABASE_URL");
    let app = App::open(Config { rehearse: true, ..Config::from(environment)? }, Vec::new(), false).await?;
    let ended = on(&app, &folder.id, &event).await;
    app.folders.stop().await;
    Ok((folder.id, event, ended?))
}

async fn on(app: &Arc<App>, id: &str, event: &Event) -> Result<Ended> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("The worker cannot be answered")?;
    app.folders.listens_on(listener.local_addr()?);
    let router = api::router(app.clone());
    let service = router.clone().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    folders::load::load(app, folders::load::LONG).await?;
    let loaded = ready(app, id).await?;
    let path = loaded
        .integration
        .routes
        .as_ref()
        .and_then(|routes| routes.webhook.clone())
        .with_context(|| format!("`{id}` declares no webhook: there is no event to rehearse"))?;
    tokio::spawn(runner::run_all(app.clone()));
    tokio::spawn(outbox::send_all(app.clone()));

    let request = format!("/integrations/{id}{path}");
    let mut request = client::webhook(&request, event.headers.clone(), event.body.clone())?;
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 0))));
    let (status, body) = client::through(&router, request).await?;
    let client = Client::here(app.clone());
    let ended = follow(&client, status, client::read(&body)).await;
    client.close().await;
    ended
}

/// Waits until the folder is loaded and what it runs in is there.
async fn ready(app: &Arc<App>, id: &str) -> Result<Loaded> {
    let until = Instant::now() + MAKING;
    loop {
        if !app.folders.is_found(id) {
            bail!("`{id}` has nothing that makes an integration");
        }
        let loaded = app.folders.loaded(id);
        let state = loaded.as_ref().map(|loaded| loaded.worker.state()).unwrap_or_default();
        if let Some(loaded) = loaded.filter(|_| state.state != "preparing" && !is_prepared(app, id)) {
            if !loaded.problems.is_empty() {
                let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
                bail!("`{id}` does not load whole:\n{}", problems.join("\n"));
            }
            return Ok(loaded);
        }
        if Instant::now() > until {
            bail!("What `{id}` runs in could not be made: {}", state.reason.unwrap_or_default());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether requests to it are still refused because it is; its card is written after it is loaded.
fn is_prepared(app: &App, id: &str) -> bool {
    app.catalog().integrations.get(id).is_none_or(|entry| entry.listed.standing == Standing::Preparing)
}

/// Waits until everything has ended that the event started.
async fn follow(client: &Client, status: StatusCode, answer: Value) -> Result<Ended> {
    let first = |list: Value| list.as_array().and_then(|all| all.first()).cloned().unwrap_or_default();
    let delivery = first(client.get("/api/v1/deliveries?limit=1").await?);
    let mut ended = Ended { sent: false, status, answer, delivery, traces: Vec::new(), late: false };
    let tasks = client.get("/api/v1/tasks?limit=50").await?;
    let until = Instant::now() + LIMIT;
    for task in tasks.as_array().into_iter().flatten() {
        let path = format!("/api/v1/tasks/{}/trace", task["id"].as_str().unwrap_or_default());
        let trace = loop {
            let trace = client.get(&path).await?;
            ended.late = Instant::now() > until;
            if show::has_ended(&trace) || ended.late {
                break trace;
            }
            tokio::time::sleep(PAUSE).await;
        };
        ended.traces.push(trace);
    }
    if ended.traces.is_empty() && status.is_success() {
        ended.answer["delivery_id"] = ended.delivery["id"].clone();
    }
    Ok(ended)
}

/// The event that is meant: a sample of the folder, a file like one, or a file that is the body.
fn find(folder: &Path, arguments: &Arguments) -> Result<(Event, Option<Sign>)> {
    let sample = folder.join("fixtures").join(format!("{}.json", arguments.event));
    let file = if sample.is_file() { sample } else { PathBuf::from(&arguments.event) };
    let shown = file.display();
    let text = fs::read(&file).with_context(|| {
        format!("`{}` is neither a file nor in {}", arguments.event, folder.join("fixtures").display())
    })?;
    let json: Value = serde_json::from_slice(&text).with_context(|| format!("{shown} is not JSON"))?;
    let sign = json.get("sign").filter(|_| json["headers"].is_object());
    let sign = sign.map(|sign| Sign::deserialize(sign).with_context(|| format!("{shown}: `sign`"))).transpose()?;
    Ok((event::of_text(&file, &text, &arguments.headers)?, sign))
}

fn put_signature(event: &mut Event, sign: &Sign, secret: &str) -> Result<()> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("every length will do");
    mac.update(&event.body);
    let value = format!("{}{}", sign.prefix, hex::encode(mac.finalize().into_bytes()));
    let name = HeaderName::try_from(sign.header.as_str())
        .with_context(|| format!("`{}` cannot be the name of a header", sign.header))?;
    event.headers.insert(name, HeaderValue::try_from(value).context("The signature cannot be sent")?);
    Ok(())
}

/// The regular files of a folder: what a snapshot would have.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        if kind.is_dir() && name != "__pycache__" && name != "node_modules" {
            copy(&entry.path(), &to.join(name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn an_event_is_signed_as_its_sample_says() {
        let mut event = Event {
            name: "e".into(),
            headers: Default::default(),
            body: Bytes::from_static(b"what do ya want for nothing?"),
        };
        let sign: Sign =
            serde_json::from_value(json!({"header": "X-Sign", "prefix": "sha256=", "secret": "S"})).unwrap();
        put_signature(&mut event, &sign, "Jefe").unwrap();
        // The second test case of RFC 4231.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(event.headers["x-sign"], expected);
        assert!(serde_json::from_value::<Sign>(json!({"header": "X", "secret": "S", "scheme": "rsa"})).is_err());
    }
}
