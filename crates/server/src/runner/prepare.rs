//! What a run is given: its part of the conversation, skills, tools, models.

use super::{log::Log, showing::Showing};
use crate::{
    app::App, attachments, bot::Bot, catalog::Catalog, connection::choice, live::Feed, places, queue::patiently,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};
use tercel_agent::{Committed, Limits, Offered, Parts, Past, Run, assemble, fence, skill_tags};
use tercel_hosts::RootKind;
use tercel_sdk::{
    Brief, Effect, Error, Kind, Mode, Result, Skill, Target, Trust,
    chat::{Message, Role, Shape, ToolSpec},
    hook,
    host::Ids,
};
use tercel_store::{NewNotice, Session, Task, Uuid};
use tokio_util::sync::CancellationToken;

/// Messages of the session that are looked at; the token budget decides how many of them go in.
const HISTORY: i64 = 200;

pub struct Prepared {
    pub task: Arc<Task>,
    pub run: Run,
    pub session: Session,
    pub ids: Ids,
    pub config: RunConfig,
    /// Where those who watch see what it says.
    pub feed: Arc<Feed>,
    /// What its targets see of it meanwhile.
    pub showing: Showing,
    /// The run was cancelled or took too long.
    pub stop: CancellationToken,
}

/// `execution_config` as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    #[serde(flatten)]
    pub brief: Brief,
    /// Tools that the client has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_tools: Vec<ToolSpec>,
    /// How long the client is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_tool_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Wanted::is_nothing")]
    pub wanted: Wanted,
    /// A run that has not begun by then is not worth it any more. Microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// What a single request wants of its answer, over what the bot has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    pub temperature: Option<f64>,
    pub max_tokens: Option<u32>,
    pub shape: Shape,
}

impl Wanted {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// # Errors
/// What a person must mend: no such bot, an unreadable `execution_config`, a skill that is not there is only noted.
pub async fn prepare(app: &Arc<App>, task: &Arc<Task>, log: &mut Log, mut steps: Vec<Committed>) -> Result<Prepared> {
    super::pictures::show(app, &mut steps).await;
    let lost = |what: &str| Error::new(Kind::Error, format!("The {what} of this task cannot be read"));
    let stored = |error: tercel_store::Error| Error::new(Kind::Error, error.to_string());
    let session = patiently("Reading a session", || app.store.session(task.session_id)).await.map_err(stored)?;
    let session = session.ok_or_else(|| lost("session"))?;
    let read = || app.store.context(task, HISTORY);
    let mut history = patiently("Reading a conversation", read).await.map_err(stored)?;
    let own = history.iter().position(|message| message.id == task.message_id);
    let own = own.map(|at| history.remove(at)).ok_or_else(|| lost("message"))?;

    let catalog = app.catalog();
    let Some(bot) = catalog.bots.get(&task.bot_id).cloned() else {
        return Err(no_bot(app, &task.bot_id).await);
    };
    let config: RunConfig = match &task.execution_config {
        Some(text) => serde_json::from_str(text).map_err(|_| lost("execution_config"))?,
        None => RunConfig::default(),
    };
    let brief = &config.brief;
    let began = Ids { client_id: Some(session.client_id.clone()), ..ids_of(app, task) };
    let task = &super::starting::begin(app, task, &session, began).await;
    let own_target = task.sealed_target.as_ref().or(session.sealed_target.as_ref());
    let mut ids = Ids {
        client_id: Some(session.client_id.clone()),
        strangers: strangers(&own, &history),
        source: source(&own),
        target: target_of(app, own_target, task.channel_id),
        ..ids_of(app, task)
    };
    crate::hooks::fire(app, &ids, || hook::BeforeContextAssembly {
        context: context_of(&ids),
        user_message: own.content.clone(),
    });

    let mut unknown = Vec::new();
    let tags = if own.trusted { skill_tags(&own.content) } else { Vec::new() };
    let skills = skills(app, bot.skills.iter().chain(&brief.skills).chain(&tags), &mut unknown);
    let mut tools = tools(app, &bot, brief, &mut unknown);
    // Where strangers have a say, it is the connection that they came by.
    if ids.strangers.is_empty() {
        let_choose(&catalog, &mut tools);
    }
    let by_event: Vec<String> = allow(&catalog, &task.origin, brief, &mut tools);
    ids.injected_tools = brief.tools.clone();
    for tool in &config.client_tools {
        match tools.iter().any(|offered| offered.spec.name == tool.name) {
            true => unknown.push(format!("The client's tool `{}` has the name of another one", tool.name)),
            // Who offers a tool has it under its own eyes, and can be asked again.
            false => tools.push(Offered { spec: tool.clone(), effect: Effect::Write, may_repeat: true, allowed: true }),
        }
    }
    let trust = |trusted: bool| if trusted { Trust::Trusted } else { Trust::Untrusted };
    let mut room = attachments::Room::default();
    let told = attachments::told(app, own.metadata.as_deref(), &mut room).await;
    let mut shown = attachments::shown(app, &history, &mut room).await;
    // What files show was made by anybody.
    let is_foreign = told.is_foreign || !shown.is_empty();
    let tainted = !own.trusted || is_foreign || history.iter().any(|message| !message.trusted);
    let limits = Limits::default();
    let parts = Parts {
        system_prompt: bot.system_prompt.clone(),
        skills,
        history: history
            .into_iter()
            .map(|message| Past {
                message: Message {
                    role: if message.role == "assistant" { Role::Assistant } else { Role::User },
                    images: shown.remove(&message.id).unwrap_or_default(),
                    ..Message::user(message.content + &attachments::listed(message.metadata.as_deref()))
                },
                trust: trust(message.trusted),
            })
            .collect(),
        preamble: match is_foreign {
            true => Some([fence::RULE, brief.preamble.as_deref().unwrap_or_default()].join("\n\n")),
            false => brief.preamble.clone(),
        },
        message: [own.content, told.text].concat(),
        images: told.images,
        trust: trust(own.trusted),
        budget_tokens: limits.context_tokens,
    };
    if log.is_empty() {
        log.note(&json!({
            "kind": "context",
            "bot": bot.id,
            "tools": tools.iter().map(|tool| &tool.spec.name).collect::<Vec<_>>(),
            "skills": parts.skills.iter().map(|skill| &skill.id).collect::<Vec<_>>(),
            "messages": parts.history.len() + 1,
            "tainted": tainted,
            "unknown": unknown,
            "allowed": by_event,
        }));
    }
    let (model, _) = app.model_of(brief.model.as_deref().or(bot.model.as_deref()));
    let mut models = vec![model];
    models.extend(bot.fallback_models.iter().cloned());
    let run = Run {
        attempt: task.attempt as u32,
        context: assemble(&parts),
        steps,
        tools,
        models,
        limits,
        tainted,
        temperature: config.wanted.temperature.or(bot.temperature),
        max_tokens: config.wanted.max_tokens.or(bot.max_tokens),
        shape: config.wanted.shape.clone(),
    };
    let feed = app.live.feed(task.id);
    Ok(Prepared {
        task: task.clone(),
        run,
        session,
        ids,
        config,
        feed,
        showing: Showing::default(),
        stop: CancellationToken::new(),
    })
}

/// Places that untrusted people speak from: of the message that is answered, or else of what was said before.
fn strangers(own: &tercel_store::Message, history: &[tercel_store::Message]) -> Vec<String> {
    if !own.trusted {
        return vec![from(own.metadata.as_deref())];
    }
    let said = history.iter().filter(|message| message.role == "user" && !message.trusted);
    let places: BTreeSet<String> = said.map(|message| from(message.metadata.as_deref())).collect();
    places.into_iter().collect()
}

/// The place that a message came from, as its metadata say; empty where they do not.
pub fn from(metadata: Option<&str>) -> String {
    let metadata = metadata.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    metadata.and_then(|metadata| Some(metadata["from"].as_str()?.to_owned())).unwrap_or_default()
}

/// The connection that an event came by, where it is not the usual one.
fn source(own: &tercel_store::Message) -> Option<(String, String)> {
    let metadata = serde_json::from_str::<serde_json::Value>(own.metadata.as_deref()?).ok()?;
    Some((own.source.clone()?, metadata["connection"].as_str()?.to_owned()))
}

/// Tools of integrations with several connections say which there are.
fn let_choose(catalog: &Catalog, tools: &mut [Offered]) {
    for tool in tools {
        let owned = catalog.tools.get(&tool.spec.name);
        let entry = owned.and_then(|owned| catalog.integrations.get(&owned.integration));
        if let Some(parameters) = entry.and_then(|entry| choice::offer(entry, &tool.spec.parameters)) {
            tool.spec.parameters = parameters;
        }
    }
}

/// Where the answer of a run goes, with its secrets masked.
fn target_of(app: &App, own: Option<&String>, channel: Option<Uuid>) -> Option<Target> {
    let sealed = own.cloned().or_else(|| places::known_target_of(app, channel?))?;
    serde_json::from_value(app.masked_target(Some(&sealed))).ok()
}

/// What is known before anything else was read.
pub fn ids_of(app: &App, task: &Task) -> Ids {
    Ids {
        target: target_of(app, task.sealed_target.as_ref(), task.channel_id),
        mode: if task.rehearse { Mode::Rehearse } else { Mode::Live },
        strangers: Vec::new(),
        delivery: task.delivery_id,
        session: Some(task.session_id),
        task: Some(task.id),
        channel: task.channel_id,
        bot: Some(task.bot_id.clone()),
        ..Ids::default()
    }
}

async fn no_bot(app: &App, id: &str) -> Error {
    const REPAIR: &str = "Make it with POST /api/v1/bots or a file in <data>/bots, or name another one";
    let message = format!("There is no bot `{id}`");
    app.raise(NewNotice {
        key: crate::bot::missing(id),
        severity: "error",
        title: message.clone(),
        detail: "Messages for it are kept and not answered".into(),
        repair: Some(REPAIR.into()),
    })
    .await;
    Error::new(Kind::NotFound, message).hint(REPAIR)
}

/// Skills by id, or by the last part of the id as `@skill:name` has it.
pub fn skills<'a>(app: &App, wanted: impl Iterator<Item = &'a String>, unknown: &mut Vec<String>) -> Vec<Skill> {
    let catalog = app.catalog();
    let mut found = Vec::new();
    for id in wanted {
        let by_name = || catalog.skills.values().find(|skill| skill.id.rsplit('/').next() == Some(id));
        match catalog.skills.get(id).or_else(by_name) {
            Some(skill) => found.push(skill.clone()),
            None => unknown.push(format!("There is no skill `{id}`")),
        }
    }
    found
}

/// Tools that the bot lists, then those of this run only.
pub fn tools(app: &App, bot: &Bot, brief: &Brief, unknown: &mut Vec<String>) -> Vec<Offered> {
    let catalog = app.catalog();
    let mut names: BTreeSet<&String> = BTreeSet::new();
    for name in bot.tools.iter().chain(&brief.tools) {
        match name.as_str() {
            "*" => names.extend(catalog.tools.keys()),
            _ if catalog.tools.contains_key(name) => {
                names.insert(name);
            }
            _ => {
                let why = catalog.obstacle_of_tool(name).map(|(_, why)| format!(" now: {why}")).unwrap_or_default();
                unknown.push(format!("There is no tool `{name}`{why}"));
            }
        }
    }
    // The brief's first: a model looks at the first tools first.
    let rank = |name: &String| brief.tools.iter().position(|other| other == name).unwrap_or(usize::MAX);
    let mut names: Vec<&String> = names.into_iter().collect();
    names.sort_by_key(|name| rank(name));
    names
        .into_iter()
        .map(|name| {
            let tool = &catalog.tools[name].tool;
            Offered { spec: tool.spec(), effect: tool.effect, may_repeat: tool.may_repeat(), allowed: false }
        })
        .collect()
}

/// Folders in the documents' layout cannot declare what a tool does: one that an operator's folder names in its own event
/// may change something, though the event was written by anybody. Answers which ones.
fn allow(catalog: &Catalog, origin: &str, brief: &Brief, tools: &mut [Offered]) -> Vec<String> {
    let place = catalog.integrations.get(origin).and_then(|entry| entry.listed.place.as_ref());
    if place.is_none_or(|place| place.kind == RootKind::Workspace) {
        return Vec::new();
    }
    let is_own = |name: &String| {
        let owned = catalog.tools.get(name);
        owned.is_some_and(|owned| owned.integration == origin && !owned.tool.declared)
    };
    let named: Vec<&mut Offered> =
        tools.iter_mut().filter(|tool| brief.tools.contains(&tool.spec.name) && is_own(&tool.spec.name)).collect();
    named
        .into_iter()
        .map(|tool| {
            tool.allowed = true;
            tool.spec.name.clone()
        })
        .collect()
}

pub fn context_of(ids: &Ids) -> hook::Context {
    hook::Context {
        bot_id: ids.bot.clone(),
        session_id: ids.session.map(|id| id.to_string()),
        channel_id: ids.channel.map(|id| id.to_string()),
        client_id: ids.client_id.clone(),
        correlation_id: ids.task.map(|id| id.to_string()),
    }
}
