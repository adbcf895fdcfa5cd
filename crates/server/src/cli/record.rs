//! `tercel record`: calls a part of a folder for real, and keeps what was said without the secrets.

use super::{rehearse::manifested, terminal::say};
use crate::{
    app::App,
    catalog::Values,
    config::{Config, Environment},
    outbound::{HostPort, Scope},
    redact::{Redactor, secrets},
    tokens::Supply,
};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc};
use tercel_hosts::recording::{self, Call, REDACTED, Recorder};
use tercel_sdk::{Effect, Integration, grant::Tokens};
use tercel_store::MASK;

#[derive(clap::Args)]
pub struct Arguments {
    /// A folder that is a manifest
    folder: PathBuf,
    /// The tool to call, with --arguments
    #[arg(long, group = "part")]
    tool: Option<String>,
    /// Its arguments, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", requires = "tool")]
    arguments: String,
    /// Test the connection
    #[arg(long, group = "part")]
    test: bool,
    /// Ask by this poll what is new, as at the first time
    #[arg(long, group = "part", value_name = "POLL")]
    poll: Option<String>,
    /// Post this text
    #[arg(long, group = "part", value_name = "TEXT")]
    deliver: Option<String>,
    /// Where it is posted: a dispatch_config, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", requires = "deliver")]
    target: String,
    /// Push this record, a JSON object: create it, look for it, change it, remove it
    #[arg(long, group = "part", value_name = "JSON")]
    push: Option<String>,
    /// Say yes to what changes something at the service
    #[arg(long)]
    yes: bool,
}

pub async fn run(environment: Environment, arguments: Arguments) -> Result<ExitCode> {
    let named = arguments.folder.display();
    let none = || format!("{named} is no folder that is a manifest and nothing else");
    let integration = manifested(&arguments.folder)?.with_context(none)?;
    let call = call(&arguments)?;
    if changes(&integration, &call) && !arguments.yes {
        bail!("This changes something at the service: add --yes if that is meant");
    }
    let fields: BTreeMap<String, String> = integration
        .fields
        .iter()
        .filter_map(|field| {
            let value = environment.get(&field.env).map(str::to_owned).or_else(|| field.default.clone())?;
            Some((field.key.clone(), value))
        })
        .collect();
    let values = Values { fields: Arc::new(fields.clone()), ..Values::default() };
    let place =
        tempfile::Builder::new().prefix("tercel-record-").tempdir().context("No temporary directory can be made")?;
    let mut environment = environment;
    environment.set("TERCEL_DATA_DIR", place.path().to_string_lossy());
    environment.remove("DATABASE_URL");
    let app = App::open(Config::from(environment)?, Vec::new()).await?;
    let scope = Scope {
        integration: Some(integration.name.clone()),
        granted: values.granted(&integration.fields).iter().filter_map(HostPort::of).collect(),
        ..Scope::default()
    };
    let transport = app.outbound.transport(scope);
    let tokens = integration.grant.clone().map(|grants| {
        let asking = recording::host(&integration, fields.clone(), transport.clone(), None);
        Arc::new(Supply::new(app.tokens.clone(), grants, asking, false)) as Arc<dyn Tokens>
    });
    let recorder = Recorder::over(transport);
    let host = recording::host(&integration, fields.clone(), recorder.clone(), tokens);
    let redactor = Redactor::new(secrets(&integration.fields, &values));
    call.make(&integration, host).await.map_err(|error| {
        let error = redactor.error(error);
        let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("\n{hint}"));
        anyhow!("Nothing was kept: {error}{hint}")
    })?;
    let secret = |key: &str| integration.fields.iter().any(|field| field.key == key && field.secret);
    let plain = fields.into_iter().filter(|(key, _)| !secret(key)).collect();
    let redact = |text: &str| redactor.text(text).replace(MASK, REDACTED);
    let file = arguments.folder.join(call.file());
    let recording = recorder.recording(&integration, call, plain, redact).await;
    let recording =
        recording.map_err(|wrong| anyhow!("Nothing was kept: without the secrets it is another. {wrong}"))?;
    let cannot = || format!("{} cannot be written", file.display());
    std::fs::create_dir_all(file.parent().expect("it is below the folder")).with_context(cannot)?;
    std::fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&recording)?)).with_context(cannot)?;
    let count = recording.exchanges.len();
    let exchanges = if count == 1 { "1 exchange".to_owned() } else { format!("{count} exchanges") };
    say(&format!(
        "Kept {exchanges} in {}. Secrets of the fields are taken out; look whether there is something else that is not for \
         everybody.",
        file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn call(arguments: &Arguments) -> Result<Call> {
    let object = |text: &str, what: &str| -> Result<Map<String, Value>> {
        serde_json::from_str(text).with_context(|| format!("{what} is no JSON object"))
    };
    if let Some(name) = &arguments.tool {
        let given = object(&arguments.arguments, "--arguments")?;
        return Ok(Call::Tool { name: name.clone(), arguments: given.into() });
    }
    if let Some(name) = &arguments.poll {
        return Ok(Call::Poll { name: name.clone() });
    }
    if let Some(text) = &arguments.deliver {
        return Ok(Call::Deliver { target: object(&arguments.target, "--target")?, text: text.clone() });
    }
    if let Some(record) = &arguments.push {
        return Ok(Call::Push { record: object(record, "--push")?.into() });
    }
    if arguments.test {
        return Ok(Call::Test);
    }
    bail!("Say what is to be recorded: --test, --tool, --poll, --deliver or --push")
}

fn changes(integration: &Integration, call: &Call) -> bool {
    match call {
        Call::Test | Call::Poll { .. } => false,
        Call::Deliver { .. } | Call::Push { .. } => true,
        Call::Tool { name, .. } => {
            integration.tools.iter().any(|tool| &tool.name == name && tool.effect != Effect::Read)
        }
    }
}
