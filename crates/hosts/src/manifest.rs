//! `integration.yaml`: what an integration is, before anything of it runs. What needs no code is made here; the rest is
//! the code's.

mod call;
mod compile;
mod keys;
mod parts;
mod template;

use crate::{
    Permissions, Problem, Variable,
    description::{Description, FieldOf, ToolOf, WebhookOf},
    integration::{Extra, field_list, field_name},
    name,
    sandbox::Limits,
    worker::{Times, is_reserved},
};
use keys::{At, Field, Keys, Tool, problem};
use serde_json::{Map, Value, json};
use serde_saphyr::Location;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    thread,
};
use tercel_sdk::{self as sdk, Process, Verify};

pub use parts::Parts;

pub const FILE: &str = "integration.yaml";
/// The version of the format.
const SCHEMA: u32 = 1;
/// In bytes.
const STACK: usize = 16 << 20;

/// What a manifest says, in the terms of a description, and the parts that need no code.
#[derive(Clone)]
pub struct Manifest {
    /// Program and arguments; empty for code in the documented Python layout, and where there is no code.
    pub command: Vec<String>,
    pub python: Option<(u32, u32)>,
    pub limits: Limits,
    pub times: Times,
    pub permissions: Permissions,
    pub description: Description,
    pub parts: Parts,
    pub extra: Extra,
}

/// `None` when the folder has no manifest. `has_python`: there is code that Python would run.
pub fn read(id: &str, code: &Path, has_python: bool) -> Option<Result<Manifest, Vec<Problem>>> {
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
    Some(match parse(id, &text, has_python) {
        Ok(manifest) if problems.is_empty() => Ok(manifest),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    })
}

/// What was read of folders before they are loaded, by their ids.
#[derive(Default)]
pub struct Manifests(BTreeMap<String, Result<Manifest, Vec<Problem>>>);

impl Manifests {
    /// `texts` are ids, and what stands in their manifests.
    pub fn read<'t>(texts: impl Iterator<Item = (&'t str, &'t str)> + Send) -> Self {
        let read = || texts.map(|(id, text)| (id.to_owned(), parsed(id, text, false))).collect();
        Self(on_a_large_stack(read).unwrap_or_default())
    }

    pub(crate) fn take(&mut self, id: &str) -> Option<Result<Manifest, Vec<Problem>>> {
        self.0.remove(id)
    }
}

/// A `SETUP` in `setup.py`.
fn declares_twice(code: &Path) -> bool {
    let Ok(setup) = fs::read_to_string(code.join("setup.py")) else { return false };
    setup.lines().filter_map(|line| line.strip_prefix("SETUP")).any(|rest| rest.trim_start().starts_with(['=', ':']))
}

/// # Errors
/// What is wrong with it, with line and column.
pub fn parse(id: &str, text: &str, has_python: bool) -> Result<Manifest, Vec<Problem>> {
    on_a_large_stack(|| parsed(id, text, has_python))
        .unwrap_or_else(|error| Err(vec![Problem::new(FILE, format!("cannot be read now: {error}"))]))
}

/// What is nested deep takes more than the server's threads have.
fn on_a_large_stack<T: Send>(read: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let reading = thread::Builder::new().name("manifest".into()).stack_size(STACK).spawn_scoped(scope, read)?;
        Ok(reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn parsed(id: &str, text: &str, has_python: bool) -> Result<Manifest, Vec<Problem>> {
    let keys = keys::read(text).map_err(|problem| vec![problem])?;
    let mut problems = checked(id, &keys);
    let has_code = has_python || keys.worker.as_ref().is_some_and(|worker| !worker.command.is_empty());
    let parts = parts::compile(id, &keys, has_code).unwrap_or_else(|more| {
        problems.extend(more);
        Parts::default()
    });
    if problems.is_empty() { Ok(made(id, keys, parts)) } else { Err(problems) }
}

/// How a service signs, in the words of `webhook.verify`, but with names of variables where a manifest has those of fields.
/// `None`: nobody checks.
///
/// # Errors
/// What is wrong with it.
pub fn signature(sign: &Value) -> Result<Option<(Verify, Vec<sdk::Field>)>, String> {
    let mut names = BTreeSet::new();
    let mut sign = sign.clone();
    for (way, value) in sign.as_object_mut().into_iter().flatten().filter(|(way, _)| *way != "none") {
        let places = match value {
            Value::Object(of) if way != "none" => of
                .iter_mut()
                .filter(|(key, _)| ["secret", "user", "password"].contains(&key.as_str()))
                .map(|(_, v)| v)
                .collect(),
            other => vec![other],
        };
        for place in places {
            let Some(name) = place.as_str().map(str::to_owned) else { continue };
            *place = name.to_lowercase().into();
            names.insert(name);
        }
    }
    let fields = names.iter().map(|name| json!({"key": name.to_lowercase(), "type": "password", "env": name}));
    let text = json!({
        "schema": SCHEMA,
        "name": "sample",
        "fields": fields.collect::<Vec<_>>(),
        "webhook": {"verify": sign, "from": ["0.0.0.0/0"], "events": "code"},
    });
    let manifest = parse("sample", &text.to_string(), true).map_err(|problems| {
        let words = |problem: &Problem| problem.message.rsplit_once(" (column").map(|(words, _)| words.to_owned());
        problems
            .iter()
            .map(|problem| words(problem).unwrap_or_else(|| problem.message.clone()))
            .collect::<Vec<_>>()
            .join("; ")
    })?;
    Ok(manifest.extra.verify.map(|verify| (verify, field_list("sample", &manifest.description))))
}

/// What is wrong apart from the parts.
fn checked(id: &str, keys: &Keys) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |at: Location, message: String| problems.push(problem(at, &message));
    if keys.schema.value != SCHEMA {
        let message = format!("`schema` is {}, and this server reads version {SCHEMA}", keys.schema.value);
        wrong(keys.schema.at, message);
    }
    if keys.name.value != id {
        let message = match name::check(&keys.name.value) {
            Ok(()) => {
                format!("`name` is `{}`, and the folder is called `{id}`: they must be the same", keys.name.value)
            }
            Err(reason) => reason,
        };
        wrong(keys.name.at, message);
    }
    if let Some(wanted) = &keys.tercel {
        let own = keys::oldest(concat!(">=", env!("CARGO_PKG_VERSION"))).unwrap_or_default();
        match keys::oldest(&wanted.value) {
            Some(oldest) if oldest <= own => {}
            Some(_) => {
                wrong(wanted.at, format!("It needs Tercel {}, and this is {}", wanted.value, env!("CARGO_PKG_VERSION")))
            }
            None => wrong(wanted.at, format!("`{}` is not understood; write it as `>=0.3`", wanted.value)),
        }
    }
    for (number, field) in keys.fields.iter().enumerate() {
        if keys.fields[..number].iter().any(|other| other.key.value == field.key.value) {
            wrong(field.key.at, format!("There are two fields `{}`", field.key.value));
        }
        for words in wrong_with(id, field) {
            wrong(field.key.at, words);
        }
    }
    let known = |key: &str| keys.fields.iter().any(|field| field.key.value == key);
    for need in keys.process.iter().flat_map(|process| &process.needs).filter(|need| !known(&need.value)) {
        wrong(need.at, format!("There is no field `{}`", need.value));
    }
    if let Some(wanted) = keys.worker.as_ref().and_then(|worker| worker.python.as_ref())
        && keys::oldest(&wanted.value).is_none()
    {
        wrong(wanted.at, format!("`{}` is not understood; write it as `>=3.12`", wanted.value));
    }
    problems
}

fn wrong_with(id: &str, field: &Field) -> Vec<String> {
    let key = &field.key.value;
    let mut wrong = Vec::new();
    let is_key = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_key {
        wrong.push(format!("`{key}` cannot be the key of a field: it is made of a-z, 0-9 and _, a letter first"));
    }
    let env = field.env.clone().unwrap_or_else(|| field_name(id, key));
    if is_reserved(&env) {
        wrong.push(format!("`{env}` is a name that the server sets itself: it cannot be a setting"));
    }
    if field.rotate.is_some() && !field.is_secret() {
        wrong.push(format!("`rotate` is for secrets, and `{key}` is none"));
    }
    if field.generate && !field.is_secret() {
        wrong.push(format!("`generate` is for secrets, and `{key}` is none"));
    }
    let default =
        field.default.as_ref().map(|default| default.as_str().map_or_else(|| default.to_string(), str::to_owned));
    if let Some(default) = default.filter(|default| !field.options.is_empty() && !field.options.contains(default)) {
        wrong.push(format!("The default `{default}` of `{key}` is none of its options"));
    }
    let pattern = field.pattern.as_ref().map(|pattern| &pattern.value);
    if let Some(pattern) = pattern.filter(|pattern| jsonschema::validator_for(&json!({ "pattern": pattern })).is_err())
    {
        wrong.push(format!("The pattern `{pattern}` of `{key}` is no regular expression"));
    }
    if field.is_secret() && field.default.is_some() {
        wrong.push(format!("`{key}` is a secret: everybody would know its default"));
    }
    wrong
}

fn made(id: &str, keys: Keys, parts: Parts) -> Manifest {
    let worker = keys.worker.unwrap_or_default();
    let unchecked = parts.unchecked.as_ref();
    let unchecked = unchecked.map_or_else(String::new, |reason| format!(" (nobody checks who sends: {reason})"));
    let webhook = keys.webhook.map(|webhook| WebhookOf {
        path: format!(
            "/integrations/{id}/{}",
            webhook.path.as_ref().map_or("webhook", |path| path.value.trim_matches('/'))
        ),
        description: format!("{}{unchecked}", webhook.description),
    });
    let process = keys.process.map(|process| Process {
        description: process.description,
        command: process.command,
        required: process.needs.iter().map(|need| field_name(id, &need.value)).collect(),
        watch: process.watch,
    });
    let further = keys.permissions.env.iter().map(|key| Variable { key: key.clone(), ..Variable::default() });
    let json = |value: Option<Value>| value.filter(Value::is_object);
    Manifest {
        python: worker.python.as_ref().and_then(|wanted| keys::oldest(&wanted.value)),
        limits: worker.limits.limits(),
        times: worker.limits.times(),
        command: worker.command,
        permissions: Permissions {
            tools: keys.permissions.tools,
            hosts: keys.permissions.hosts.into_iter().map(|host| host.value).collect(),
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
            fields: keys.fields.iter().map(FieldOf::from).collect(),
            webhook,
            tools: keys.tools.iter().filter(|tool| tool.request().is_none()).map(described).collect(),
            process,
            sidebar_section: json(keys.sidebar_section.and_then(|section| serde_json::to_value(section).ok())),
            dashboard_modules: keys.dashboard_modules.iter().map(keys::DashboardModule::shown).collect(),
            activation: json(keys.activation.and_then(|activation| serde_json::to_value(activation).ok())),
            ..Description::default()
        },
        extra: Extra { verify: parts.verify.clone() },
        parts,
    }
}

impl From<&Field> for FieldOf {
    fn from(field: &Field) -> Self {
        Self {
            label: field.label.clone().unwrap_or_else(|| field.key.value.clone()),
            key: field.key.value.clone(),
            kind: field.kind.as_str().into(),
            required: field.required,
            secret: Some(field.is_secret()),
            default: field.default.clone(),
            placeholder: field.placeholder.clone(),
            help: field.help.clone(),
            env: field.env.clone(),
            options: field.options.clone(),
            pattern: field.pattern.as_ref().map(|pattern| pattern.value.clone()),
            multiline: field.multiline,
            generate: field.generate,
            rotate: field.rotate.map(|span| span.0.as_secs()),
        }
    }
}

/// A tool of the code's. Arguments are required unless they have a default.
fn described(tool: &Tool) -> ToolOf {
    let schema = |At { value, .. }: &At<Value>| value.clone();
    let properties: Map<String, Value> = tool.args.0.iter().map(|(name, at)| (name.clone(), schema(at))).collect();
    let required: Vec<&String> =
        properties.iter().filter(|(_, schema)| schema.get("default").is_none()).map(|(name, _)| name).collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let parameters: Map<String, Value> = match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    ToolOf {
        name: tool.name.value.clone(),
        description: tool.description.clone(),
        parameters,
        effect: tool.effect.map(parts::effect),
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

#[cfg(test)]
mod tests;
