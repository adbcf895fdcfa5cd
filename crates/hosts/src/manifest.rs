//! `integration.yaml` of a folder whose code runs in a worker: what it declares, before anything of it runs.

mod keys;
mod units;
mod verify;

use crate::{
    Permissions, Problem, Variable,
    description::{Description, FieldOf, ToolOf, WebhookOf},
    integration::{Extra, field_name},
    name,
    sandbox::Limits,
    worker::Times,
};
use keys::{Keys, Tool};
use serde_json::{Map, Value, json};
use serde_saphyr::Location;
use std::{fs, path::Path};
use tercel_sdk::Process;
use verify::Check;

pub const FILE: &str = "integration.yaml";
/// The version of the format.
const SCHEMA: u32 = 1;

/// What a manifest says, in the terms of a description.
#[derive(Clone)]
pub struct Manifest {
    /// Program and arguments; empty for code in the documented Python layout.
    pub command: Vec<String>,
    pub python: Option<(u32, u32)>,
    pub limits: Limits,
    pub times: Times,
    pub permissions: Permissions,
    pub description: Description,
    pub extra: Extra,
}

/// `None` when the folder has no manifest.
pub fn read(id: &str, code: &Path) -> Option<Result<Manifest, Vec<Problem>>> {
    let text = match fs::read_to_string(code.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(vec![Problem::new(FILE, format!("cannot be read: {error}"))])),
    };
    let mut problems = Vec::new();
    if declares_twice(code) {
        let message =
            "The folder is declared by integration.yaml alone: take SETUP out of setup.py, or the manifest away";
        problems.push(Problem::new(FILE, message));
    }
    Some(match parse(id, &text) {
        Ok(manifest) if problems.is_empty() => Ok(manifest),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    })
}

/// A `SETUP` in `setup.py`.
fn declares_twice(code: &Path) -> bool {
    let Ok(setup) = fs::read_to_string(code.join("setup.py")) else { return false };
    setup.lines().filter_map(|line| line.strip_prefix("SETUP")).any(|rest| rest.trim_start().starts_with(['=', ':']))
}

fn parse(id: &str, text: &str) -> Result<Manifest, Vec<Problem>> {
    let keys: Keys = serde_saphyr::from_str(text).map_err(|error| vec![keys::explain(&error)])?;
    let mut problems = Vec::new();
    let mut wrong = |at: Location, message: String| problems.push(problem(at, &message));
    if keys.schema.value != SCHEMA {
        let message = format!("`schema` is {}, and this server reads version {SCHEMA}", keys.schema.value);
        wrong(keys.schema.referenced, message);
    }
    if keys.name.value != id {
        let message = match name::check(&keys.name.value) {
            Ok(()) => {
                format!("`name` is `{}`, and the folder is called `{id}`: they must be the same", keys.name.value)
            }
            Err(reason) => reason,
        };
        wrong(keys.name.referenced, message);
    }
    let worker = keys.worker.unwrap_or_default();
    let known = |key: &str| keys.fields.iter().any(|field| field.key == key);
    let (mut verify, mut unchecked) = (None, String::new());
    if let Some(webhook) = &keys.webhook {
        match verify::check(&webhook.verify.value, &known) {
            Ok(Check::By(scheme)) => verify = Some(scheme),
            Ok(Check::Nobody(reason)) => unchecked = format!(" (nobody checks who sends: {reason})"),
            Err(message) => wrong(webhook.verify.referenced, message),
        }
    }
    for tool in &keys.tools {
        let named = format!("{id}_");
        if !tool.name.value.starts_with(&named) {
            wrong(tool.name.referenced, format!("The name of a tool begins with the integration's: `{named}…`"));
        }
    }
    let process = keys.process.map(|process| {
        for need in process.needs.iter().filter(|need| !known(&need.value)) {
            wrong(need.referenced, format!("There is no field `{}`", need.value));
        }
        Process {
            description: process.description,
            command: process.command,
            required: process.needs.iter().map(|need| field_name(id, &need.value)).collect(),
            watch: process.watch,
        }
    });
    let python = worker.python.and_then(|wanted| {
        let oldest = units::oldest(&wanted.value);
        if oldest.is_none() {
            wrong(wanted.referenced, format!("`{}` is not understood; write it as `>=3.12`", wanted.value));
        }
        oldest
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let further = keys.permissions.env.iter().map(|key| Variable { key: key.clone(), ..Variable::default() });
    let webhook = keys.webhook.map(|webhook| WebhookOf {
        path: format!("/integrations/{id}/{}", webhook.path.as_deref().unwrap_or("webhook").trim_matches('/')),
        description: format!("{}{unchecked}", webhook.description),
    });
    Ok(Manifest {
        command: worker.command,
        python,
        limits: worker.limits.limits(),
        times: worker.limits.times(),
        permissions: Permissions {
            tools: keys.permissions.tools,
            hosts: keys.permissions.hosts,
            api: keys.permissions.api,
            read: keys.permissions.paths.read,
            write: keys.permissions.paths.write,
        },
        description: Description {
            name: Some(keys.label.unwrap_or_else(|| id.into())),
            version: keys.version,
            description: keys.description,
            icon: keys.icon,
            tier: keys.tier.map(|tier| tier.as_str().to_owned()),
            variables: further.collect(),
            fields: keys.fields.into_iter().map(FieldOf::from).collect(),
            webhook,
            tools: keys.tools.into_iter().map(described).collect(),
            process,
            sidebar_section: keys.sidebar_section,
            dashboard_modules: keys.dashboard_modules,
            activation: keys.activation,
            ..Description::default()
        },
        extra: Extra { verify },
    })
}

fn problem(at: Location, message: &str) -> Problem {
    let line = u32::try_from(at.line()).unwrap_or_default();
    Problem::at(FILE, line, format!("{message} (column {})", at.column()))
}

/// Arguments are required unless they have a default.
fn described(tool: Tool) -> ToolOf {
    let required: Vec<&String> =
        tool.args.iter().filter(|(_, schema)| schema.get("default").is_none()).map(|(name, _)| name).collect();
    let schema = json!({
        "type": "object",
        "properties": tool.args,
        "required": required,
        "additionalProperties": false,
    });
    let parameters: Map<String, Value> = match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    ToolOf {
        name: tool.name.value,
        description: tool.description,
        parameters,
        effect: tool.effect,
        idempotent: tool.idempotent,
    }
}

impl Manifest {
    /// Together with what the code says of itself, which counts where a manifest has no words for it.
    pub fn with(&self, code: Description) -> Description {
        let mut problems = code.problems;
        let names = |tools: &[ToolOf]| tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();
        let (declared, there) = (names(&self.description.tools), names(&code.tools));
        for name in there.iter().filter(|name| !declared.contains(name)) {
            let message = format!("The code has a tool `{name}` that is not declared here: it is not offered");
            problems.push(Problem::new(FILE, message));
        }
        if !there.is_empty() {
            for name in declared.iter().filter(|name| !there.contains(name)) {
                problems.push(Problem::new(FILE, format!("The code has no tool `{name}`")));
            }
        }
        Description {
            protocol: code.protocol,
            routes: code.routes,
            dispatchers: code.dispatchers,
            hooks: code.hooks,
            watches: code.watches,
            meta: code.meta,
            connector: code.connector,
            siblings: code.siblings,
            undeclared: code.undeclared,
            problems,
            ..self.description.clone()
        }
    }
}
