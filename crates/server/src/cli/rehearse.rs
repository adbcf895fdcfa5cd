//! `tercel rehearse`: what an event would do, from the signed request to what would be sent.

mod event;
mod folder;
mod named;
mod show;

use super::{
    client::{self, Client},
    terminal::{Ink, say},
};
use crate::{
    api,
    app::App,
    config::{Config, Environment},
    outbound::{Asked, Rehearsal},
    outbox, runner,
};
use anyhow::{Context, Result, anyhow, bail};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use event::Event;
use http::{HeaderMap, StatusCode};
use named::Named;
pub use named::manifested;
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};
use tercel_sdk::Integration;
use tokio::net::TcpStream;

/// How long a rehearsal without a model may take.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(40);

#[derive(clap::Args)]
pub struct Arguments {
    /// Its name, or its folder
    integration: String,
    /// The name of a sample, a file like one ({"headers", "body"}), or a JSON file that is the body
    #[arg(long, value_name = "SAMPLE|FILE")]
    event: String,
    /// A header of the request; can be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Let tools read from the service instead of from recorded answers
    #[arg(long)]
    live_reads: bool,
    /// Let the configured model answer instead of the rehearsal; what changes something is withheld all the same
    #[arg(long)]
    model: bool,
    /// Print the trace of each task as JSON
    #[arg(long)]
    json: bool,
    /// Send the event to the running server, where it has its real effects
    #[arg(long, conflicts_with_all = ["live_reads", "model"])]
    send: bool,
}

pub async fn run(environment: Environment, arguments: Arguments) -> Result<ExitCode> {
    match named::find(&environment, &arguments.integration)? {
        Named::Native(integration) => {
            if integration.webhook.is_none() {
                bail!("The integration `{}` takes no webhooks: there is no event to rehearse", integration.name);
            }
            let event = event::find(&integration, &arguments.event, &arguments.headers)?;
            let ended = match arguments.send {
                true => send(environment, &integration, &event).await?,
                false => rehearse(environment, &integration, &event, &arguments).await?,
            };
            told(&ended, &integration.name, &event, &arguments)
        }
        Named::Folder { path, .. } => {
            let (name, event, ended) = match arguments.send {
                true => folder::send(environment, &path, &arguments).await?,
                false => folder::rehearse(environment, &path, &arguments).await?,
            };
            told(&ended, &name, &event, &arguments)
        }
    }
}

fn told(ended: &Ended, name: &str, event: &Event, arguments: &Arguments) -> Result<ExitCode> {
    match arguments.json {
        true if ended.traces.is_empty() => say(&format!("{:#}", ended.answer))?,
        true => ended.traces.iter().try_for_each(|trace| say(&format!("{:#}", show::json(trace, ended))))?,
        false => say(&show::ended(ended, name, &event.name, Ink::of_output()))?,
    }
    Ok(if ended.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an event led to.
#[derive(Default)]
struct Ended {
    sent: bool,
    status: StatusCode,
    /// What the sender was answered.
    answer: Value,
    /// The delivery of an event that started no run.
    delivery: Value,
    traces: Vec<Value>,
    /// What a rehearsal asked of others.
    asked: Vec<Asked>,
    /// The last lines that its code printed.
    printed: Vec<String>,
    /// Not everything ended in the time there was.
    late: bool,
}

impl Ended {
    fn is_good(&self) -> bool {
        self.status.is_success() && !self.late && self.traces.iter().all(show::is_good)
    }
}

/// Runs the whole server but its listeners on a directory that is thrown away.
async fn rehearse(
    mut environment: Environment,
    integration: &Integration,
    event: &Event,
    arguments: &Arguments,
) -> Result<Ended> {
    if !arguments.model {
        ["LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL"].iter().for_each(|name| environment.remove(name));
    }
    event::fill(integration, &mut environment, event, arguments.live_reads);
    let signed = event::sign(integration, &environment, event)
        .map_err(|refusal| anyhow!("The event cannot be signed: {refusal}"))?;
    let directory =
        tempfile::Builder::new().prefix("tercel-rehearsal-").tempdir().context("No temporary directory can be made")?;
    let real = environment.get("TERCEL_DATA_DIR").unwrap_or("data").to_owned();
    copy_bots(Path::new(&real), directory.path())?;
    environment.set("TERCEL_DATA_DIR", directory.path().to_string_lossy());
    environment.remove("DATABASE_URL");
    let rehearsal = Rehearsal::new(Vec::new(), arguments.live_reads);
    let config = Config { rehearse: Some(rehearsal.clone()), ..Config::from(environment)? };
    let limit = if arguments.model { run_limit(&config) } else { LIMIT };
    let shipped = tercel_integrations::all().into_iter().filter(|other| other.name != integration.name);
    let app = App::open(config, shipped.chain([integration.clone()]).collect()).await?;
    tokio::spawn(runner::run_all(app.clone()));
    tokio::spawn(outbox::send_all(app.clone()));

    let mut request = client::webhook(&path(integration), signed, event.body.clone())?;
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 0))));
    let (status, body) = client::through(&api::router(app.clone()), request).await?;
    let client = Client::here(app.clone());
    let ended = follow(&client, status, &body, limit).await;
    let asked = asked(&app, &rehearsal);
    client.close().await;
    Ok(Ended { asked, ..ended? })
}

/// What was asked of others, without secrets.
fn asked(app: &App, rehearsal: &Rehearsal) -> Vec<Asked> {
    let catalog = app.catalog();
    let shown = |text: &str| catalog.redactor.text(text).into_owned();
    let asked = rehearsal.asked().into_iter();
    asked.map(|asked| Asked { url: shown(&asked.url), body: shown(&asked.body), ..asked }).collect()
}

/// Bots that only a file describes answer in a rehearsal, too.
fn copy_bots(from: &Path, to: &Path) -> Result<()> {
    let Ok(files) = std::fs::read_dir(from.join("bots")) else { return Ok(()) };
    std::fs::create_dir(to.join("bots"))?;
    for file in files {
        let file = file?.path();
        if let (true, Some(name)) = (file.is_file(), file.file_name()) {
            std::fs::copy(&file, to.join("bots").join(name))
                .with_context(|| format!("{} cannot be read", file.display()))?;
        }
    }
    Ok(())
}

/// Sends the event to the server that runs, as the service would, and watches what it does.
async fn send(environment: Environment, integration: &Integration, event: &Event) -> Result<Ended> {
    let config = Config::from(environment.clone())?;
    let client = client::running(&config).await?;
    let signed = event::sign(integration, &environment, event)
        .map_err(|refusal| anyhow!("The event cannot be signed: {refusal}\n{SIGNING}"))?;
    let (status, body) = post(&config, &path(integration), signed, event).await?;
    if status == StatusCode::FORBIDDEN {
        let said = client::complaint(status, &client::read(&body));
        bail!("The server refused the event: {said}\n{SIGNING}{}", kept(&client, integration).await);
    }
    follow(&client, status, &body, run_limit(&config)).await
}

const SIGNING: &str = "This command signs with the secret of the environment or of .env, which must be the server's";

/// A secret that was saved in the settings is sealed in the database, and counts more than the environment.
async fn kept(client: &Client, integration: &Integration) -> String {
    let answer =
        client.get(&format!("/api/v1/admin/integrations/{}/settings", integration.name)).await.unwrap_or_default();
    let stored = |setting: &&Value| setting["secret"] == true && setting["source"] == "db";
    let names = answer["settings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(stored)
        .filter_map(|setting| setting["key"].as_str());
    match names.collect::<Vec<_>>().join(", ") {
        names if names.is_empty() => String::new(),
        names => format!(". The server's settings hold {names}: set the same in .env, or remove it from the settings"),
    }
}

async fn post(config: &Config, path: &str, headers: HeaderMap, event: &Event) -> Result<(StatusCode, Bytes)> {
    let note = config.data_dir.join("address");
    let address = std::fs::read_to_string(&note)
        .with_context(|| format!("The server's address in {} cannot be read", note.display()))?;
    let stream = TcpStream::connect(address.trim()).await.with_context(|| format!("Nobody listens on {address}"))?;
    client::send(stream, client::webhook(path, headers, event.body.clone())?).await
}

fn path(integration: &Integration) -> String {
    let webhook = integration.webhook.as_ref().map_or("webhook", |webhook| &webhook.path);
    format!("/integrations/{}/{webhook}", integration.name)
}

fn run_limit(config: &Config) -> Duration {
    Duration::from_secs(config.run_seconds) + LIMIT
}

/// Waits until the tasks that the answer names have ended and what they say has left.
async fn follow(client: &Client, status: StatusCode, body: &[u8], limit: Duration) -> Result<Ended> {
    let answer = client::read(body);
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    let tasks: Vec<String> =
        answer["tasks"].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect();
    let delivery = match text("delivery_id") {
        Some(id) if tasks.is_empty() => client.get(&format!("/api/v1/deliveries/{id}")).await?,
        _ => Value::Null,
    };
    let mut ended = Ended { sent: matches!(client, Client::Running(_)), status, answer, delivery, ..Ended::default() };
    (ended.traces, ended.late) = traces(client, tasks, limit).await?;
    Ok(ended)
}

/// Of these tasks, when they have ended, or when the time is over: then that is said.
async fn traces(client: &Client, tasks: Vec<String>, limit: Duration) -> Result<(Vec<Value>, bool)> {
    let until = Instant::now() + limit;
    let (mut traces, mut late) = (Vec::new(), false);
    for task in tasks {
        let trace = loop {
            let trace = client.get(&format!("/api/v1/tasks/{task}/trace")).await?;
            if show::has_ended(&trace) {
                break trace;
            }
            if Instant::now() > until {
                late = true;
                break trace;
            }
            tokio::time::sleep(PAUSE).await;
        };
        traces.push(trace);
    }
    Ok((traces, late))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(integration: &str, event: &str) -> Arguments {
        let (integration, event) = (integration.into(), event.into());
        Arguments { integration, event, headers: Vec::new(), live_reads: false, model: false, json: false, send: false }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_shipped_sample_can_be_rehearsed_and_nothing_of_it_leaves() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let mut runs = 0;
        for integration in tercel_integrations::all().iter().filter(|integration| integration.webhook.is_some()) {
            for sample in &integration.samples {
                let mut environment = Environment::default();
                environment.set("TERCEL_DATA_DIR", data.to_string_lossy());
                let arguments = arguments(&integration.name, &sample.name);
                let event = event::find(integration, &sample.name, &[]).unwrap();
                let ended = rehearse(environment, integration, &event, &arguments).await.unwrap();
                let page = show::ended(&ended, &integration.name, &event.name, Ink::Plain);
                assert!(ended.is_good(), "{page}");
                let states: Vec<&Value> = ended
                    .traces
                    .iter()
                    .flat_map(|trace| trace["outbox"].as_array().unwrap())
                    .map(|row| &row["state"])
                    .collect();
                assert!(states.iter().all(|state| **state == "withheld"), "{page}");
                assert!(ended.traces.iter().all(|trace| trace["egress"].as_array().unwrap().is_empty()), "{page}");
                runs += ended.traces.len();
            }
        }
        assert!(runs > 0, "some sample starts a run");
        assert!(!data.exists(), "a rehearsal leaves nothing behind");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_real_model_may_answer_and_nothing_leaves_all_the_same() {
        use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};
        let said =
            serde_json::json!({"model": "m", "choices": [{"message": {"role": "assistant", "content": "I looked."}}]});
        let model = MockServer::start().await;
        Mock::given(path("/v1/chat/completions"))
            .respond_with(ResponseTemplate::new(200).set_body_json(said))
            .mount(&model)
            .await;
        let mut environment = Environment::default();
        environment.set("LLM_BASE_URL", format!("{}/v1", model.uri()));
        environment.set("LLM_MODEL", "m");
        let all = tercel_integrations::all();
        let integration = all.iter().find(|one| one.webhook.is_some() && !one.samples.is_empty()).unwrap();
        let mut answers = Vec::new();
        for sample in &integration.samples {
            let event = event::find(integration, &sample.name, &[]).unwrap();
            let arguments = Arguments { model: true, ..arguments(&integration.name, &sample.name) };
            let ended = rehearse(environment.clone(), integration, &event, &arguments).await.unwrap();
            let rows = ended.traces.iter().flat_map(|trace| trace["outbox"].as_array().unwrap().clone());
            answers.extend(rows.map(|row| (row["state"].clone(), row["text"].clone())));
        }
        assert!(!answers.is_empty());
        assert!(answers.iter().all(|answer| *answer == ("withheld".into(), "I looked.".into())), "{answers:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_bot_that_only_a_file_describes_answers_in_a_rehearsal() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        std::fs::create_dir(from.path().join("bots")).unwrap();
        std::fs::write(from.path().join("bots/reviewer.yaml"), "id: reviewer\n").unwrap();
        copy_bots(from.path(), to.path()).unwrap();
        assert_eq!(crate::bot::seeds(&to.path().join("bots")).unwrap()[0].id, "reviewer");
        copy_bots(&from.path().join("nothing"), to.path()).unwrap();
    }
}
