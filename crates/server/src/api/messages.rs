//! What is said in a session.

use super::{
    attachments::NewAttachment,
    auth::Identity,
    during::{self, During},
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Id, Idempotency, Ids, name},
    sessions, target,
    time::Time,
};
use crate::{
    app::App,
    attachments::{self, Attached},
    inject::{self, inject},
    mirror::Author,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tercel_sdk::Brief;
use tercel_store::{Uuid, accept::Busy};

/// Bytes of one message.
pub const MOST: usize = 1 << 20;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    content: String,
    /// Who says it: the name of an integration, or any other; `api` when absent.
    source: Option<String>,
    /// Runs the agent on it.
    #[serde(default)]
    run_agent: bool,
    /// Shows the message where the session's answers go.
    #[serde(default = "yes")]
    notify: bool,
    /// Where this answer goes: none, webhook, internal or the name of an integration.
    dispatch_type: Option<String>,
    /// What that dispatch type needs.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Option<target::Config>,
    execution_config: Option<ExecutionConfig>,
    /// What to do when the session is busy: `enqueue` when absent.
    on_busy: Option<OnBusy>,
    /// Files that were sent to `/api/v1/attachments` before, or come with it.
    #[serde(default)]
    attachments: Vec<NewAttachment>,
    /// `user`, or `assistant` for what a bot said elsewhere, which nobody answers.
    #[serde(default)]
    role: Role,
    /// What else is to be kept with it.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// Who types it, when `source` is `ui`: for the places that the channel is bound to.
    #[serde(default)]
    user: Author,
}

/// What this run gets beyond what its bot has.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct ExecutionConfig {
    /// A system message just before the message.
    system_preamble: Option<String>,
    /// Ids of skills; their full text is put into the context.
    #[serde(default)]
    skills: Vec<String>,
    /// Names of tools, for this run only.
    #[serde(default)]
    tools: Vec<String>,
    model_override: Option<String>,
    /// Where older clients write it; `model_override` counts more.
    callback_config: Option<CallbackConfig>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct CallbackConfig {
    model_override: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBusy {
    Enqueue,
    Reject,
    Interrupt,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    #[default]
    User,
    Assistant,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

fn yes() -> bool {
    true
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct PostedMessage {
    message_id: Uuid,
    session_id: Uuid,
    /// The run that answers, when there is one.
    task_id: Option<Uuid>,
    /// Why there is none though one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Message {
    id: Uuid,
    session_id: Uuid,
    /// `user` or `assistant`.
    role: String,
    content: String,
    created_at: Time,
    /// `source`, `trusted`, `task_id`, `delivery_id` and what the integration says about it.
    #[schema(value_type = Object)]
    metadata: Value,
    attachments: Vec<Attached>,
}

impl From<tercel_store::Message> for Message {
    fn from(row: tercel_store::Message) -> Self {
        let attachments = attachments::of(row.metadata.as_deref());
        let mut metadata = match super::json(row.metadata.as_deref()) {
            Value::Object(metadata) => metadata,
            _ => Map::new(),
        };
        let own =
            [("source", json!(row.source)), ("task_id", json!(row.task_id)), ("delivery_id", json!(row.delivery_id))];
        metadata
            .extend(own.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)));
        metadata.insert("trusted".into(), row.trusted.into());
        metadata.shift_remove("attachments");
        metadata.shift_remove(inject::REQUEST);
        Self {
            id: row.id,
            session_id: row.session_id,
            role: row.role,
            content: row.content,
            created_at: Time(row.created_at),
            metadata: metadata.into(),
            attachments,
        }
    }
}

/// Put a message into a session
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/messages",
    tag = "sessions",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header, description = "The same key within a day is the same message")),
    request_body = NewMessage,
    responses((status = 201, body = PostedMessage), (status = 409, description = "The session is busy and `on_busy` is `reject`")),
)]
pub async fn post(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
    Idempotency(key): Idempotency,
    during: During,
    Body(body): Body<NewMessage>,
) -> Result<(StatusCode, Json<PostedMessage>)> {
    super::has_room(&app)?;
    if body.content.trim().is_empty() {
        return Err(Error::invalid("content: it must not be empty"));
    }
    if body.content.len() > MOST {
        return Err(Error::too_large("content: a message has at most 1 MB; longer texts are documents"));
    }
    if let Some(source) = &body.source {
        name("source", source, 64)?;
    }
    if body.role == Role::Assistant && body.run_agent {
        return Err(Error::invalid("role: what an assistant said is not answered; leave `run_agent` out"));
    }
    if body.metadata.contains_key("attachments") {
        return Err(Error::invalid("metadata.attachments: files are sent as `attachments`"));
    }
    let session = sessions::usable(&app, &identity, id).await?;
    if body.run_agent && app.runs.is_backed_up(&app).await {
        return Err(Error::unavailable("Too many runs are waiting: try again later"));
    }
    let target = target_of(&app, session, body.dispatch_type, body.dispatch_config)?;
    let brief: Option<Brief> = body.execution_config.map(Into::into);
    let mut input = inject::Input {
        source: body.source,
        role: body.role.as_str(),
        metadata: body.metadata,
        run_agent: body.run_agent,
        notify: body.notify,
        target,
        brief,
        busy: body.on_busy.map(Into::into).unwrap_or_default(),
        attachments: super::attachments::with_message(&app, body.attachments).await?,
        author: body.user,
        idempotency: key
            .as_ref()
            .map(|key| (identity.idempotency(&format!("messages/{id}"), key), inject::a_day_from_now())),
        ..inject::Input::new(id, body.content)
    };
    let call = during.of(&app, &identity);
    if let Some(folder) = &identity.folder {
        folder.check(&app, &mut input)?;
        during::bind(&app, &mut input, call.as_deref(), key.as_deref()).await?;
    }
    let injected = inject(&app, input).await?;
    if let Some(call) = call {
        call.injected(injected.task_id.is_some());
    }
    let posted = PostedMessage {
        message_id: injected.message_id,
        session_id: injected.session_id,
        task_id: injected.task_id,
        reason: injected.reason,
    };
    Ok((StatusCode::CREATED, Json(posted)))
}

fn target_of(
    app: &App,
    session: tercel_store::Session,
    kind: Option<String>,
    config: Option<target::Config>,
) -> Result<Option<tercel_sdk::Target>> {
    if kind.is_none() && config.is_none() {
        return Ok(None);
    }
    let standing = session.sealed_target.map(|sealed| app.open_target(&sealed)).transpose()?;
    target::over(standing, kind, config)
}

impl From<OnBusy> for Busy {
    fn from(on_busy: OnBusy) -> Self {
        match on_busy {
            OnBusy::Enqueue => Self::Enqueue,
            OnBusy::Reject => Self::Reject,
            OnBusy::Interrupt => Self::Interrupt,
        }
    }
}

impl From<ExecutionConfig> for Brief {
    fn from(config: ExecutionConfig) -> Self {
        Self {
            preamble: config.system_preamble,
            skills: config.skills,
            tools: config.tools,
            model: config.model_override.or_else(|| config.callback_config?.model_override),
        }
    }
}

/// The newest messages of a session, oldest first; the cursor leads to older ones
#[utoipa::path(get, path = "/api/v1/sessions/{id}/messages", tag = "sessions", params(("id" = Uuid, Path), Piece), responses((status = 200, body = Vec<Message>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
    page: Page,
) -> Result<List<Message>> {
    sessions::usable(&app, &identity, id).await?;
    let mut rows = app.store.messages(id, page.before()?, page.reach()).await?;
    rows.reverse();
    let (mut rows, next) = page.cut(rows, |row| row.seq.to_string());
    rows.reverse();
    Ok(page.list(rows.into_iter().map(Message::from).collect(), next))
}
