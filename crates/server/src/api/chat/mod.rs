//! Talking to a bot in one call. The message and its run are stored like all others: who hangs up finds the answer in the
//! session.

pub mod control;
pub mod speech;
pub mod stream;

use super::{
    attachments::{self, NewAttachment},
    auth::Identity,
    error::{Error, Result},
    follow::{Follower, Seen},
    messages::{ExecutionConfig, MOST, OnBusy},
    request::{Body, Idempotency, name},
    sessions,
};
use crate::{
    app::App,
    catalog::DEFAULT,
    inject::{self, Injected, inject},
    mirror::{self, Author},
    runner::USUAL_WAIT,
};
use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{collections::HashSet, sync::Arc};
use tercel_agent::arguments::usable;
use tercel_sdk::{Kind, chat::ToolSpec};
use tercel_store::{NewSession, Session, StepRow, Task, Uuid};

/// Tools that one client may offer.
const MOST_TOOLS: usize = 64;
/// Seconds that a client may want to be waited for.
const LONGEST_WAIT: u64 = 1800;

/// A message to a bot, and what it needs.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct ChatRequest {
    #[serde(default)]
    message: String,
    /// A session that is there. Without it, the one of `client_id`, `bot_id` and `thread` is taken, or made.
    session_id: Option<Uuid>,
    /// `default` when absent.
    client_id: Option<String>,
    /// `default` when absent.
    bot_id: Option<String>,
    thread: Option<String>,
    #[serde(default)]
    attachments: Vec<NewAttachment>,
    /// A recording in base64: what is said in it is the message, or its end.
    audio_data: Option<String>,
    /// `webm`, `wav`, `mp3`, `m4a`, `ogg` or `flac`.
    audio_format: Option<String>,
    /// Tools that the client has. A call of one is a `tool_request` of the stream; `POST /chat/tool_result` answers it.
    #[serde(default)]
    client_tools: Vec<ClientTool>,
    /// How long the client is waited for, up to 1800; 120 when absent.
    client_tool_seconds: Option<u64>,
    /// Who types it, for the places that the channel is bound to.
    #[serde(default)]
    user: Author,
    /// Who sends it; `ui` when absent. What is typed at the server itself is mirrored to where its channel is bound to.
    source: Option<String>,
    execution_config: Option<ExecutionConfig>,
    /// What to do when the session is busy: `enqueue` when absent.
    on_busy: Option<OnBusy>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct ClientTool {
    name: String,
    #[serde(default)]
    description: String,
    /// JSON Schema of the arguments, an object.
    #[schema(value_type = Object)]
    #[serde(default)]
    parameters: Value,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ChatAnswer {
    session_id: Uuid,
    response: String,
    /// What was heard in `audio_data`.
    transcript: Option<String>,
    /// What tools ask the client to do.
    #[schema(value_type = Vec<Object>)]
    client_actions: Vec<Value>,
    task_id: Uuid,
}

impl ChatRequest {
    /// Tells it from another request under the same Idempotency-Key, before anything is heard or kept.
    fn fingerprint(&self) -> String {
        let Self { message, session_id, client_id, bot_id, thread, source, attachments, .. } = self;
        let said = json!([message, session_id, client_id, bot_id, thread, source, attachments]);
        let mut hash = Sha256::new_with_prefix(said.to_string());
        hash.update(self.audio_data.as_deref().unwrap_or_default());
        hex::encode(&hash.finalize()[..16])
    }
}

/// A message that was taken.
struct Submitted {
    session_id: Uuid,
    task_id: Uuid,
    transcript: Option<String>,
}

/// Say something to a bot and wait for its answer
///
/// The run goes on when the client hangs up: its answer is in the session. The same `Idempotency-Key` within a day waits for
/// the same answer.
#[utoipa::path(
    post,
    path = "/chat",
    tag = "chat",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = ChatRequest,
    responses(
        (status = 200, body = ChatAnswer),
        (status = 400, description = "There is nothing in it"),
        (status = 404, description = "There is no such bot or session"),
        (status = 409, description = "The run was cancelled, or the Idempotency-Key was used for another request"),
        (status = 429, description = "A ceiling is reached: the run waits, and its answer will be in the session"),
        (status = 502, description = "The model did not answer"),
        (status = 503, description = "The run waits for somebody: its answer will be in the session"),
    ),
)]
pub async fn say(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    Body(body): Body<ChatRequest>,
) -> Result<Json<ChatAnswer>> {
    if !body.client_tools.is_empty() {
        return Err(Error::invalid("client_tools: they need POST /chat/stream, where their calls are seen"));
    }
    let Submitted { session_id, task_id, transcript } = submit(&app, &identity, key, body).await?;
    let mut follower = Follower::new(app.clone(), task_id, 0, false);
    while let Some(seen) = follower.next().await {
        let Seen::Over(task) = seen else { continue };
        return match task.status.as_str() {
            "complete" => {
                let response = task.result.clone().unwrap_or_default();
                let client_actions = Outcome::of(&app, &task).await?.client_actions;
                Ok(Json(ChatAnswer { session_id, response, transcript, client_actions, task_id }))
            }
            "cancelled" => Err(Error::conflict(format!("The run was cancelled (task {task_id})"))),
            "waiting" => Err(waits(&app, &task)),
            _ => Err(Error::model(failure(&task))),
        };
    }
    Err(Error::unavailable(format!(
        "The server is stopping. The message is kept; its answer will be in session {session_id} (task {task_id})"
    )))
}

/// Stores the message and the run that answers it.
async fn submit(app: &Arc<App>, identity: &Identity, key: Option<String>, body: ChatRequest) -> Result<Submitted> {
    super::has_room(app)?;
    let asked = key.is_some().then(|| body.fingerprint());
    let is_empty = body.message.trim().is_empty() && body.attachments.is_empty();
    if is_empty && body.audio_data.as_deref().is_none_or(|data| data.trim().is_empty()) {
        return Err(Error::bad_request("message: there is nothing in it"));
    }
    if body.message.len() > MOST {
        return Err(Error::too_large("message: it has at most 1 MB; longer texts are documents"));
    }
    let client_tools = client_tools(app, body.client_tools)?;
    let wait = body.client_tool_seconds;
    if wait.is_some_and(|seconds| !(1..=LONGEST_WAIT).contains(&seconds)) {
        return Err(Error::invalid(format!(
            "client_tool_seconds: it lies between 1 and {LONGEST_WAIT}; {USUAL_WAIT} when absent"
        )));
    }
    let source = body.source.unwrap_or_else(|| mirror::SOURCE.into());
    name("source", &source, 64)?;
    if app.runs.is_backed_up(app).await {
        return Err(Error::unavailable("Too many runs are waiting: try again later"));
    }
    let key = key.map(|key| identity.idempotency("chat", &key));
    if let (Some(key), Some(asked)) = (&key, &asked)
        && let Some((injected, transcript)) = inject::repeated(app, key, asked).await?
    {
        return submitted(injected, transcript);
    }
    let session = session(app, identity, body.session_id, body.client_id, body.bot_id, body.thread).await?;
    let transcript = match body.audio_data.filter(|data| !data.trim().is_empty()) {
        Some(data) => Some(speech::heard(app, &session, &data, body.audio_format.as_deref()).await?),
        None => None,
    };
    let said = [body.message.trim(), transcript.as_deref().unwrap_or_default()];
    let content = said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n");
    if content.is_empty() && body.attachments.is_empty() {
        return Err(Error::bad_request("audio_data: nothing is said in it"));
    }
    let attachments = attachments::with_message(app, body.attachments).await?;
    let mut input = inject::Input {
        source: Some(source),
        run_agent: true,
        brief: body.execution_config.map(Into::into),
        client_tools,
        client_tool_seconds: wait,
        attachments,
        author: body.user,
        busy: body.on_busy.map(Into::into).unwrap_or_default(),
        idempotency: key.map(|key| (key, inject::a_day_from_now())),
        fingerprint: asked,
        transcript: transcript.clone(),
        ..inject::Input::new(session.id, content)
    };
    if let Some(folder) = &identity.folder {
        folder.check(app, &mut input)?;
    }
    submitted(inject(app, input).await?, transcript)
}

fn submitted(injected: Injected, transcript: Option<String>) -> Result<Submitted> {
    match injected.task_id {
        Some(task_id) => Ok(Submitted { session_id: injected.session_id, task_id, transcript }),
        None => {
            let reason = injected.reason.unwrap_or_else(|| "The message is kept and not answered".into());
            Err(Error::rate_limited(reason, 60))
        }
    }
}

async fn session(
    app: &App,
    identity: &Identity,
    id: Option<Uuid>,
    client_id: Option<String>,
    bot_id: Option<String>,
    thread: Option<String>,
) -> Result<Session> {
    let catalog = app.catalog();
    let has_bot = |bot: &str| match catalog.bots.contains_key(bot) {
        true => Ok(()),
        false => Err(Error::not_found(format!("There is no bot `{bot}`"))),
    };
    if let Some(bot) = &bot_id {
        has_bot(bot)?;
    }
    if let Some(id) = id {
        let session = sessions::usable(app, identity, id).await?;
        has_bot(&session.bot_id)?;
        return match bot_id.filter(|bot| *bot != session.bot_id) {
            None => Ok(session),
            Some(bot) => {
                Err(Error::conflict(format!("Session {id} is one of bot `{}`, not of `{bot}`", session.bot_id)))
            }
        };
    }
    let client_id = client_id.unwrap_or_else(|| DEFAULT.into());
    name("client_id", &client_id, 512)?;
    let thread = thread.unwrap_or_default();
    if !thread.is_empty() {
        name("thread", &thread, 512)?;
    }
    let channel = catalog.channels.get(&client_id);
    let bot = bot_id.or_else(|| channel.map(|channel| channel.bot_id.clone())).unwrap_or_else(|| DEFAULT.into());
    has_bot(&bot)?;
    let wanted = NewSession {
        channel_id: channel.map(|channel| channel.id),
        client_id,
        bot_id: bot,
        thread,
        sealed_target: None,
        opened_by: identity.folder.as_ref().map(|folder| folder.integration.clone()),
    };
    Ok(sessions::got_or_made(app, identity, wanted, None).await?.0)
}

fn client_tools(app: &App, tools: Vec<ClientTool>) -> Result<Vec<ToolSpec>> {
    if tools.len() > MOST_TOOLS {
        return Err(Error::invalid(format!("client_tools: at most {MOST_TOOLS} are taken")));
    }
    let catalog = app.catalog();
    let mut names = HashSet::new();
    let checked = tools.into_iter().map(|ClientTool { name, description, parameters }| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return Err(Error::invalid("client_tools.name: it has 1 to 64 letters, digits, `_` or `-`"));
        }
        if catalog.tools.contains_key(&name) || !names.insert(name.clone()) {
            return Err(Error::invalid(format!("client_tools.name: there is another tool `{name}`")));
        }
        let parameters = match parameters {
            Value::Null => json!({"type": "object", "properties": {}}),
            Value::Object(_) => parameters,
            _ => return Err(Error::invalid(format!("client_tools.parameters: that of `{name}` is no JSON Schema"))),
        };
        usable(&parameters).map_err(|why| {
            Error::invalid(format!("client_tools.parameters: the schema of `{name}` cannot be used: {why}"))
        })?;
        Ok(ToolSpec { name, description, parameters })
    });
    checked.collect()
}

/// What the steps of a run say about it.
#[derive(Default)]
struct Outcome {
    tools_used: Vec<String>,
    client_actions: Vec<Value>,
}

impl Outcome {
    async fn of(app: &App, task: &Task) -> Result<Self> {
        let mut outcome = Self::default();
        for row in app.store.steps(task.id, 0).await?.iter().filter(|row| row.kind == "tool") {
            let step = body_of(app, row);
            let (name, output) = (step["name"].as_str().unwrap_or_default(), &step["output"]);
            if output["skipped"] != true && !outcome.tools_used.iter().any(|known| known == name) {
                outcome.tools_used.push(name.to_owned());
            }
            outcome.client_actions.extend(output.get("client_action").filter(|action| !action.is_null()).cloned());
        }
        Ok(outcome)
    }
}

fn body_of(app: &App, row: &StepRow) -> Value {
    app.catalog().redactor.json(super::json(Some(&row.body)))
}

/// What a run waits for. Nothing failed: its answer comes later, into its session.
fn waits(app: &App, task: &Task) -> Error {
    let why = format!("{} (task {}, session {})", failure(task), task.id, task.session_id);
    let error: Option<tercel_sdk::Error> = task.error.as_deref().and_then(|text| serde_json::from_str(text).ok());
    match error.filter(|error| error.kind == Kind::RateLimited && !app.ceilings.paused.has(&task.origin)) {
        Some(error) => Error::rate_limited(why, error.retry_after.map_or(60, |wait| wait.as_secs())),
        None => Error::unavailable(why),
    }
}

/// Why a run did not come to an answer, for people.
fn failure(task: &Task) -> String {
    let error = super::json(task.error.as_deref());
    let text = |key: &str| error[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let message = text("message").unwrap_or_else(|| "The run failed".into());
    let waits = if task.status == "waiting" { ". The run waits and goes on later" } else { "" };
    match text("hint") {
        Some(hint) => format!("{message}{waits}. {hint}"),
        None => format!("{message}{waits}"),
    }
}
