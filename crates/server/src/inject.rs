//! Putting a message into a session, and starting the run that answers it.

use crate::{
    app::App,
    attachments::Attached,
    ceilings,
    mirror::{self, Author},
    runner::{RunConfig, Wanted},
};
use serde_json::{Map, Value, json};
use std::{collections::HashSet, sync::Arc};
use tercel_sdk::{Brief, Target, chat::ToolSpec};
use tercel_store::{
    Accept, Accepted, Error, Item, Message, NewMessage, NewOutbox, NewTask, Result, SessionRef, Uuid, accept::Busy, now,
};

const DAY: i64 = 86_400_000_000;
/// A chain of answers that become messages that become answers ends here.
pub const MOST_HOPS: u32 = 8;

pub struct Input {
    pub session_id: Uuid,
    pub content: String,
    /// Who sent it: an integration's name, `api`, `internal`.
    pub source: Option<String>,
    /// Whose the run is, where `source` is not to be believed.
    pub origin: Option<String>,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// What else is kept with it.
    pub metadata: Map<String, Value>,
    /// The stored delivery that it belongs to.
    pub delivery: Option<Uuid>,
    pub run_agent: bool,
    /// Shows the message where the session's answers go, unless it came from there.
    pub notify: bool,
    /// Where the answer goes; the session's target when absent.
    pub target: Option<Target>,
    pub brief: Option<Brief>,
    /// Tools that the client has, and how many seconds it is waited for.
    pub client_tools: Vec<ToolSpec>,
    pub client_tool_seconds: Option<u64>,
    pub wanted: Wanted,
    pub attachments: Vec<Attached>,
    /// Who typed it, for the places it is mirrored to.
    pub author: Author,
    pub busy: Busy,
    pub trusted: bool,
    pub hops: u32,
    /// The same key within a day is the same message.
    pub idempotency: Option<String>,
    /// A repetition gets the first answer, whatever it says now.
    pub first_counts: bool,
}

impl Input {
    pub fn new(session_id: Uuid, content: String) -> Self {
        Self {
            session_id,
            content,
            source: None,
            origin: None,
            role: "user",
            metadata: Map::new(),
            delivery: None,
            run_agent: false,
            notify: false,
            target: None,
            brief: None,
            client_tools: Vec::new(),
            client_tool_seconds: None,
            wanted: Wanted::default(),
            attachments: Vec::new(),
            author: Author::default(),
            busy: Busy::Enqueue,
            trusted: true,
            hops: 0,
            idempotency: None,
            first_counts: false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Injected {
    pub message_id: Uuid,
    pub session_id: Uuid,
    pub task_id: Option<Uuid>,
    /// Why no run was started though one was asked for.
    pub reason: Option<String>,
}

/// # Errors
/// `NotFound` for an unknown session, `Conflict` for a busy one that shall not be disturbed or too many hops.
pub async fn inject(app: &Arc<App>, input: Input) -> Result<Injected> {
    if input.hops > MOST_HOPS {
        return Err(Error::Conflict(format!(
            "This message was passed on {MOST_HOPS} times: answers seem to go in a circle"
        )));
    }
    let missing = || Error::NotFound(format!("There is no session {}", input.session_id));
    let session = app.store.session(input.session_id).await?.ok_or_else(missing)?;
    let origin = input.origin.clone().or_else(|| input.source.clone()).unwrap_or_else(|| "api".into());
    let catalog = app.catalog();
    let sealed_target = input.target.as_ref().map(|target| app.seal_target(target));
    let effective =
        sealed_target.clone().or(session.sealed_target).or_else(|| catalog.target_of(session.channel_id?).cloned());
    let bot = catalog.bots.get(&session.bot_id);
    let model = input.brief.as_ref().and_then(|brief| brief.model.as_deref());
    let (_, rehearse) = app.model_of(model.or(bot.and_then(|bot| bot.model.as_deref())));
    let bound = mirror::targets(app, &origin, session.channel_id);
    let shown =
        shown(app, effective.filter(|_| input.notify), bound, &origin, &input, &session.bot_id, rehearse).await?;
    let task = input.run_agent.then(|| NewTask {
        id: Uuid::now_v7(),
        bot_id: session.bot_id.clone(),
        channel_id: session.channel_id,
        origin: origin.clone(),
        execution_config: config_of(&input),
        sealed_target,
        rehearse,
    });
    let said = (input.content.clone(), input.source.clone());
    let message = NewMessage {
        id: Uuid::now_v7(),
        role: input.role,
        content: input.content,
        source: input.source,
        trusted: input.trusted,
        hops: input.hops,
        metadata: metadata_of(input.metadata, &input.attachments, &input.author),
        attachments: input.attachments.iter().map(|attached| attached.id).collect(),
    };
    let item = Item {
        session: SessionRef::Id(session.id),
        message,
        task,
        ceilings: ceilings::of_run(app, &session.bot_id, &origin, &session.client_id, rehearse),
        busy: input.busy,
        shown,
    };
    // As long as a delivery can be processed again.
    let span = if input.delivery.is_some() { 30 * DAY } else { DAY };
    let dedupe = input.idempotency.map(|key| (key, now() + span)).into_iter().collect();
    match app.store.accept(Accept { dedupe, replayed: input.delivery, items: vec![item], ..Accept::default() }).await? {
        Accepted::New(placed) => {
            let placed = placed.into_iter().next().expect("one item was accepted");
            placed.interrupted.iter().for_each(|task| app.runs.cancel(*task));
            if let Some(ceiling) = &placed.full {
                ceilings::report(app, ceiling).await;
            }
            Ok(Injected {
                message_id: placed.message_id,
                session_id: placed.session_id,
                task_id: placed.task_id,
                reason: placed.full.as_ref().map(ceilings::reason),
            })
        }
        Accepted::Duplicate(first) => {
            let same =
                |message: &Message| input.first_counts || (&message.content, &message.source) == (&said.0, &said.1);
            let message = app
                .store
                .message(first)
                .await?
                .filter(same)
                .ok_or_else(|| Error::Conflict("This Idempotency-Key was used for another message".into()))?;
            Ok(Injected {
                message_id: message.id,
                session_id: message.session_id,
                task_id: message.task_id,
                reason: None,
            })
        }
    }
}

fn config_of(input: &Input) -> Option<String> {
    let config = RunConfig {
        brief: input.brief.clone().unwrap_or_default(),
        client_tools: input.client_tools.clone(),
        client_tool_seconds: input.client_tool_seconds,
        wanted: input.wanted.clone(),
    };
    (config != RunConfig::default()).then(|| serde_json::to_string(&config).expect("a configuration is JSON"))
}

fn metadata_of(mut metadata: Map<String, Value>, attachments: &[Attached], author: &Author) -> Option<String> {
    if !attachments.is_empty() {
        metadata.insert("attachments".into(), json!(attachments));
    }
    if let Some(name) = &author.display_name {
        metadata.insert("author".into(), json!(name));
    }
    (!metadata.is_empty()).then(|| Value::Object(metadata).to_string())
}

/// The injected message as it is shown at its target, unless it came from there, and where its channel is bound to.
async fn shown(
    app: &Arc<App>,
    effective: Option<String>,
    bound: Vec<String>,
    origin: &str,
    input: &Input,
    bot: &str,
    rehearse: bool,
) -> Result<Vec<NewOutbox>> {
    let row = |target: &Target, sealed: String, text: String| NewOutbox {
        id: Uuid::now_v7(),
        target: crate::outbox::key(target),
        task_id: None,
        session_id: None,
        bot_id: bot.into(),
        dispatch_type: target.kind.clone(),
        sealed_target: sealed,
        text,
        part: 1,
        parts: 1,
        hops: input.hops + 1,
        rehearse,
        expires_at: None,
    };
    let mut rows = Vec::new();
    let mut told = HashSet::new();
    for sealed in bound {
        // One that cannot be opened is not what this message is about: its answer says so.
        let Ok(target) = app.open_target(&sealed) else { continue };
        if ["none", "internal"].contains(&target.kind.as_str()) || !told.insert(crate::outbox::key(&target)) {
            continue;
        }
        let blank = row(&target, sealed, String::new());
        rows.extend(mirror::message(app, blank, target, &input.author, &input.content).await);
    }
    if let Some(sealed) = effective {
        let target =
            app.open_target(&sealed).map_err(|e| Error::Conflict(format!("The stored target cannot be used: {e}")))?;
        let is_elsewhere = !["none", "internal", origin].contains(&target.kind.as_str());
        if is_elsewhere && told.insert(crate::outbox::key(&target)) {
            rows.push(row(&target, sealed, format!("[{origin}] {}", input.content)));
        }
    }
    Ok(rows)
}
