//! Putting a message into a session, and starting the run that answers it.

use crate::{
    app::App,
    attachments::Attached,
    ceilings,
    mirror::{self, Author},
    places,
    runner::{RunConfig, Wanted},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{collections::HashSet, sync::Arc};
use tercel_sdk::{Brief, Target, chat::ToolSpec};
use tercel_store::{
    Accept, Accepted, Error, Item, Message, NewMessage, NewOutbox, NewTask, Result, SessionRef, Uuid,
    accept::{Busy, Fewer},
    now,
};

/// How long idempotency keys are known.
pub const DAY: i64 = 86_400_000_000;
/// In the metadata of a message: what was heard, and what all of a request was that has an idempotency key.
const TRANSCRIPT: &str = "transcript";
pub const REQUEST: &str = "request";
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
    /// The place that an untrusted message came from; that of its session when absent.
    pub from: Option<String>,
    pub hops: u32,
    /// The same key is the same message until then.
    pub idempotency: Option<(String, i64)>,
    /// What was asked, where that is not what is stored: a recording is heard anew each time.
    pub fingerprint: Option<String>,
    /// What was heard in the recording that came with it.
    pub transcript: Option<String>,
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
            from: None,
            hops: 0,
            idempotency: None,
            fingerprint: None,
            transcript: None,
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

/// Until when the keys of API calls that are made now are known.
pub fn a_day_from_now() -> i64 {
    now() + DAY
}

/// The same for what belongs to a delivery: as long as that can be processed again.
pub fn a_month_from_now() -> i64 {
    now() + 30 * DAY
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
    let effective = match (sealed_target.clone().or(session.sealed_target), session.channel_id) {
        (None, Some(channel)) => places::target_of(app, channel).await,
        (own, _) => own,
    };
    let bot = catalog.bots.get(&session.bot_id);
    let model = input.brief.as_ref().and_then(|brief| brief.model.as_deref());
    let (_, rehearse) = app.model_of(model.or(bot.and_then(|bot| bot.model.as_deref())));
    let bound = mirror::targets(app, &origin, session.channel_id).await;
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
        fewer: Fewer::default(),
    });
    let metadata = metadata_of(app, &input, &session.client_id);
    let request = metadata.get(REQUEST).and_then(Value::as_str).map(str::to_owned);
    let message = NewMessage {
        id: Uuid::now_v7(),
        role: input.role,
        content: input.content,
        source: input.source,
        trusted: input.trusted,
        hops: input.hops,
        metadata: (!metadata.is_empty()).then(|| Value::Object(metadata).to_string()),
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
    let dedupe = input.idempotency.into_iter().collect();
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
            let same = |message: &Message| input.first_counts || noted(message, REQUEST) == request;
            let message = app.store.message(first).await?.filter(same).ok_or_else(used_otherwise)?;
            Ok(taken_before(&message))
        }
    }
}

/// What was taken in under this key before, and what was heard then.
///
/// # Errors
/// `Conflict` when something else was asked.
pub async fn repeated(app: &App, key: &str, fingerprint: &str) -> Result<Option<(Injected, Option<String>)>> {
    let Some(first) = app.store.first_with(key).await? else { return Ok(None) };
    let same = |message: &Message| is_answer_to(message, fingerprint);
    let message = app.store.message(first).await?.filter(same).ok_or_else(used_otherwise)?;
    Ok(Some((taken_before(&message), transcript(&message))))
}

fn used_otherwise() -> Error {
    Error::Conflict("This Idempotency-Key was used for another message".into())
}

fn taken_before(message: &Message) -> Injected {
    let Message { id, session_id, task_id, .. } = *message;
    Injected { message_id: id, session_id, task_id, reason: None }
}

fn is_answer_to(message: &Message, fingerprint: &str) -> bool {
    noted(message, REQUEST).as_deref() == Some(fingerprint)
}

/// What was heard in the recording that came with a message.
pub fn transcript(message: &Message) -> Option<String> {
    noted(message, TRANSCRIPT)
}

fn noted(message: &Message, what: &str) -> Option<String> {
    let metadata: Value = serde_json::from_str(message.metadata.as_deref()?).ok()?;
    metadata[what].as_str().map(str::to_owned)
}

fn config_of(input: &Input) -> Option<String> {
    let config = RunConfig {
        brief: input.brief.clone().unwrap_or_default(),
        client_tools: input.client_tools.clone(),
        client_tool_seconds: input.client_tool_seconds,
        wanted: input.wanted.clone(),
        expires_at: None,
    };
    (config != RunConfig::default()).then(|| serde_json::to_string(&config).expect("a configuration is JSON"))
}

fn metadata_of(app: &App, input: &Input, client_id: &str) -> Map<String, Value> {
    let mut metadata = input.metadata.clone();
    if !input.attachments.is_empty() {
        metadata.insert("attachments".into(), json!(input.attachments));
    }
    if let Some(name) = &input.author.display_name {
        metadata.insert("author".into(), json!(name));
    }
    if !input.trusted {
        metadata.insert("from".into(), json!(input.from.as_deref().unwrap_or(client_id)));
    }
    if let Some(transcript) = &input.transcript {
        metadata.insert(TRANSCRIPT.into(), json!(transcript));
    }
    if input.idempotency.is_some() {
        let request = input.fingerprint.clone().unwrap_or_else(|| digest(app, &whole(input)));
        metadata.insert(REQUEST.into(), json!(request));
    }
    metadata
}

fn whole(input: &Input) -> Value {
    let files: Vec<Uuid> = input.attachments.iter().map(|attached| attached.id).collect();
    let busy = format!("{:?}", input.busy);
    json!([
        [input.content, input.source, input.run_agent, input.notify, input.target, input.brief, files, busy],
        [input.client_tools, input.client_tool_seconds, input.wanted, input.author],
    ])
}

/// Equal for equal requests. Targets have secrets in them, so that it is made with one of ours.
pub fn digest(app: &App, request: &Value) -> String {
    let mut hash = Sha256::new();
    hash.update(app.sealer.derived("idempotency"));
    hash.update(request.to_string());
    hex::encode(&hash.finalize()[..16])
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
            let blank = row(&target, sealed, String::new());
            rows.extend(mirror::cut(&app.catalog(), blank, &format!("[{origin}] {}", input.content)));
        }
    }
    Ok(rows)
}
