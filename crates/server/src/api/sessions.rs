//! Conversations: got or made, listed, begun anew.

use super::{
    auth::Identity,
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Id, Idempotency, Query, name},
    target,
    time::Time,
};
use crate::{app::App, catalog::DEFAULT, inject};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::{NewSession, Once, Uuid};

#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// `default` when absent.
    bot_id: Option<String>,
    /// The place it belongs to: `example:owner/repo`.
    client_id: String,
    /// A conversation of its own inside that place: `pr/42`.
    thread: Option<String>,
    /// Where answers go: `type` and what that dispatch type needs. Replaces the stored one for later tasks.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Option<target::Config>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct OpenedSession {
    session_id: Uuid,
    /// Whether it was made by this call.
    created: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Session {
    id: Uuid,
    client_id: String,
    bot_id: String,
    thread: Option<String>,
    channel_id: Option<Uuid>,
    /// Secrets masked.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Value,
    /// The task that runs or is next to run.
    task_id: Option<Uuid>,
    /// The integration whose code made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_by: Option<String>,
    /// False after a reset: the next message to its place begins a new session.
    active: bool,
    message_count: i64,
    created_at: Time,
    last_at: Time,
}

impl Session {
    pub fn of(app: &App, row: tercel_store::Session) -> Self {
        Self {
            id: row.id,
            client_id: row.client_id,
            bot_id: row.bot_id,
            thread: Some(row.thread).filter(|thread| !thread.is_empty()),
            channel_id: row.channel_id,
            dispatch_config: app.masked_target(row.sealed_target.as_deref()),
            task_id: row.head,
            opened_by: row.opened_by,
            active: row.active,
            message_count: row.seq,
            created_at: Time(row.created_at),
            last_at: Time(row.last_at),
        }
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only sessions of this place.
    client_id: Option<String>,
}

/// Get the session of a place, a bot and a thread, or make it
#[utoipa::path(
    post,
    path = "/api/v1/sessions",
    tag = "sessions",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key within a day gets the same session, even after a reset")),
    request_body = OpenSession,
    responses((status = 201, body = OpenedSession)),
)]
pub async fn open(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    Body(body): Body<OpenSession>,
) -> Result<(StatusCode, Json<OpenedSession>)> {
    super::has_room(&app)?;
    name("client_id", &body.client_id, 512)?;
    let once = match key {
        Some(key) => Some(Once {
            key: identity.idempotency("sessions", &key),
            digest: inject::digest(&app, &serde_json::to_value(&body).map_err(Error::internal)?),
            until: inject::a_day_from_now(),
        }),
        None => None,
    };
    let thread = body.thread.unwrap_or_default();
    if !thread.is_empty() {
        name("thread", &thread, 512)?;
    }
    let bot = body.bot_id.unwrap_or_else(|| DEFAULT.into());
    let catalog = app.catalog();
    if !catalog.bots.contains_key(&bot) {
        return Err(Error::bad_request(format!("There is no bot `{bot}`")));
    }
    let target = body.dispatch_config.map(target::whole).transpose()?;
    if let (Some(folder), Some(target)) = (&identity.folder, &target) {
        folder.may_send(&catalog, target)?;
    }
    let sealed = target.map(|target| app.seal_target(&target));
    let channel_id = catalog.channels.get(&body.client_id).map(|channel| channel.id);
    let wanted = NewSession {
        client_id: body.client_id,
        bot_id: bot,
        thread,
        channel_id,
        sealed_target: sealed,
        opened_by: identity.folder.as_ref().map(|folder| folder.integration.clone()),
    };
    let (session, created) = got_or_made(&app, &identity, wanted, once).await?;
    Ok((StatusCode::CREATED, Json(OpenedSession { session_id: session.id, created })))
}

/// A folder gets no session of another's by asking for it.
pub async fn got_or_made(
    app: &App,
    identity: &Identity,
    wanted: NewSession,
    once: Option<Once>,
) -> Result<(tercel_store::Session, bool)> {
    if let Some(folder) = &identity.folder {
        let there = app.store.active_session(&wanted.client_id, &wanted.bot_id, &wanted.thread).await?;
        folder.may_open(&app.catalog(), &wanted.client_id, there.as_ref())?;
    }
    Ok(app.store.open_session_for(wanted, once).await?)
}

/// The session, if the caller may use it.
pub async fn usable(app: &App, identity: &Identity, id: Uuid) -> Result<tercel_store::Session> {
    let session = find(app, id).await?;
    if let Some(folder) = &identity.folder {
        folder.may_use(&app.catalog(), &session)?;
    }
    Ok(session)
}

/// List sessions, newest first
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", params(Piece, Filter), responses((status = 200, body = Vec<Session>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page, Query(filter): Query<Filter>) -> Result<List<Session>> {
    let rows = app.store.sessions(filter.client_id.as_deref(), page.after()?, page.reach()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(|row| Session::of(&app, row)).collect(), next))
}

/// Show a session
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "sessions", params(("id" = Uuid, Path)), responses((status = 200, body = Session)))]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    super::request::Ids(id): Id,
) -> Result<Json<Session>> {
    let row = usable(&app, &identity, id).await?;
    Ok(Json(Session::of(&app, row)))
}

/// End a conversation, so that the next message to its place begins a new one
#[utoipa::path(post, path = "/api/v1/sessions/{id}/reset", tag = "sessions", params(("id" = Uuid, Path)), responses((status = 200, body = Session)))]
pub async fn reset(State(app): State<Arc<App>>, super::request::Ids(id): Id) -> Result<Json<Session>> {
    app.store.reset_session(id).await?;
    let row = find(&app, id).await?;
    Ok(Json(Session::of(&app, row)))
}

pub async fn find(app: &App, id: Uuid) -> Result<tercel_store::Session> {
    app.store.session(id).await?.ok_or_else(|| Error::not_found(format!("There is no session {id}")))
}
