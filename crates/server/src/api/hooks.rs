//! Managed hooks: addresses outside that are told what happens in runs. A secret is shown once.

pub mod attempts;

use super::{
    auth::{ADMIN, Identity},
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Id, Idempotency, Ids, Query, name, no_such},
    time::Time,
};
use crate::{
    app::App,
    emission::{Wants, new_secret, notice, place},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};
use tercel_sdk::hook::NAMES;
use tercel_store::{Progress, Uuid, now};
use url::Url;

/// Hooks of one server.
const MOST: usize = 100;
const LONGEST_URL: usize = 2048;
/// How long an old secret signs besides the new one, in seconds.
const USUAL_OVERLAP: u64 = 86_400;
const MOST_OVERLAP: u64 = 30 * 86_400;

/// A hook as it is made or written anew.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHook {
    /// A public address; with the scope `admin` it may be any.
    url: String,
    /// Names of events; all when it is empty.
    #[serde(default)]
    events: BTreeSet<String>,
    /// Only of this bot.
    bot_id: Option<String>,
    /// Only of runs that this integration started; `api` for those that the API did.
    integration: Option<String>,
    /// Only of this channel.
    channel_id: Option<Uuid>,
    #[serde(default)]
    description: String,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Hook {
    id: Uuid,
    url: String,
    events: BTreeSet<String>,
    bot_id: Option<String>,
    integration: Option<String>,
    channel_id: Option<Uuid>,
    description: String,
    enabled: bool,
    /// `active`; `failing`: what happens is kept and sent later; `disabled`.
    state: String,
    /// Why the server disabled it.
    reason: Option<String>,
    /// Since when nothing gets through.
    failing_since: Option<Time>,
    /// When it is tried again.
    next_at: Option<Time>,
    /// Until then, what is sent is signed with the old secret, too.
    old_secret_until: Option<Time>,
    created_at: Time,
    updated_at: Time,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct MadeHook {
    #[serde(flatten)]
    hook: Hook,
    /// Signs what is sent, by Standard Webhooks. It is never shown again.
    secret: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Overlap {
    /// How long the old secret signs besides the new one; a day when absent.
    #[param(maximum = 2_592_000)]
    overlap_seconds: Option<u64>,
}

/// List hooks, newest first
#[utoipa::path(get, path = "/api/v1/hooks", tag = "hooks", params(Piece), responses((status = 200, body = Vec<Hook>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page) -> Result<List<Hook>> {
    let after = page.after()?;
    let mut rows = app.store.hooks().await?;
    rows.retain(|row| after.is_none_or(|after| row.id < after));
    let (rows, next) = page.cut(rows, |row| row.id.to_string());
    Ok(page.list(rows.into_iter().map(shown).collect(), next))
}

/// Make a hook, which is told of what happens from now on
#[utoipa::path(
    post,
    path = "/api/v1/hooks",
    tag = "hooks",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repetition is answered 409: the secret is shown once")),
    request_body = NewHook,
    responses((status = 201, body = MadeHook)),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    Body(body): Body<NewHook>,
) -> Result<(StatusCode, Json<MadeHook>)> {
    super::has_room(&app)?;
    let id = super::new_id(&identity, "hooks", key.as_deref());
    let secret = new_secret();
    let sealed = app.sealer.seal(&place(id), &secret);
    let row = row(&app, id, body, sealed, identity.scopes.allow(ADMIN))?;
    if app.store.hooks().await?.len() >= MOST {
        return Err(Error::conflict(format!("There are {MOST} hooks already, and not more are kept; delete one")));
    }
    if !app.store.create_hook(row.clone()).await? {
        return Err(Error::conflict("This hook was made before, and its secret is not shown again; rotate it"));
    }
    change(&app).await?;
    let time = now();
    let hook = shown(tercel_store::Hook { created_at: time, updated_at: time, ..row });
    Ok((StatusCode::CREATED, Json(MadeHook { hook, secret })))
}

/// Show a hook
#[utoipa::path(get, path = "/api/v1/hooks/{id}", tag = "hooks", params(("id" = Uuid, Path)), responses((status = 200, body = Hook)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Hook>> {
    Ok(Json(shown(find(&app, id).await?)))
}

/// Write a hook anew; its secret stays. One that is enabled again is told of what happens from then on
#[utoipa::path(put, path = "/api/v1/hooks/{id}", tag = "hooks", params(("id" = Uuid, Path)), request_body = NewHook, responses((status = 200, body = Hook)))]
pub async fn put(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Id,
    Body(body): Body<NewHook>,
) -> Result<Json<Hook>> {
    let old = find(&app, id).await?;
    // Whoever writes the same address again takes nothing away from it.
    let granted = identity.scopes.allow(ADMIN) || (old.granted && old.url == body.url);
    let new = row(&app, id, body, old.sealed_secret, granted)?;
    if new.enabled && !old.enabled {
        app.store.move_hook(id, app.store.hook_events_before(i64::MAX).await?).await?;
        app.close_notice(&notice(id)).await;
    }
    let new = tercel_store::Hook { sealed_old_secret: old.sealed_old_secret, old_until: old.old_until, ..new };
    save(&app, new).await.map(Json)
}

/// Delete a hook with its attempts
#[utoipa::path(delete, path = "/api/v1/hooks/{id}", tag = "hooks", params(("id" = Uuid, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids(id): Id) -> Result<StatusCode> {
    find(&app, id).await?;
    app.store.delete_hook(id).await?;
    app.close_notice(&notice(id)).await;
    change(&app).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a hook a new secret; for a while the old one signs besides it
#[utoipa::path(post, path = "/api/v1/hooks/{id}/rotate", tag = "hooks", params(("id" = Uuid, Path), Overlap), responses((status = 200, body = MadeHook)))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    Ids(id): Id,
    Query(Overlap { overlap_seconds }): Query<Overlap>,
) -> Result<Json<MadeHook>> {
    let overlap = overlap_seconds.unwrap_or(USUAL_OVERLAP);
    if overlap > MOST_OVERLAP {
        return Err(Error::invalid(format!("overlap_seconds: at most {MOST_OVERLAP}")));
    }
    let old = find(&app, id).await?;
    let secret = new_secret();
    // One that cannot be opened signs nothing.
    let is_usable = overlap > 0 && app.sealer.open(&place(id), &old.sealed_secret).is_ok();
    let new = tercel_store::Hook {
        sealed_secret: app.sealer.seal(&place(id), &secret),
        sealed_old_secret: is_usable.then_some(old.sealed_secret),
        old_until: is_usable.then(|| now() + overlap as i64 * 1_000_000),
        ..old
    };
    Ok(Json(MadeHook { hook: save(&app, new).await?, secret }))
}

async fn find(app: &App, id: Uuid) -> Result<tercel_store::Hook> {
    app.store.hook(id).await?.ok_or_else(|| Error::not_found(format!("There is no hook {id}")))
}

async fn save(app: &App, new: tercel_store::Hook) -> Result<Hook> {
    let id = new.id;
    app.store.put_hook(new).await?;
    change(app).await?;
    find(app, id).await.map(shown)
}

async fn change(app: &App) -> Result<()> {
    app.emission.read(&app.store).await?;
    // Its secret is a secret of the snapshot from now on.
    Ok(app.reload().await?)
}

/// What is asked for, checked.
fn row(app: &App, id: Uuid, body: NewHook, sealed_secret: String, granted: bool) -> Result<tercel_store::Hook> {
    let url: Url = body.url.parse().map_err(|_| Error::invalid("url: expected an address like https://example.com"))?;
    if body.url.len() > LONGEST_URL {
        return Err(Error::invalid(format!("url: at most {LONGEST_URL} bytes are taken")));
    }
    app.outbound.check(&url, granted).map_err(|error| Error::invalid(format!("url: {error}")))?;
    for event in &body.events {
        if !NAMES.contains(&event.as_str()) {
            return Err(Error::invalid(format!("events: {}", no_such(event, NAMES.iter().copied()))));
        }
    }
    for (field, text) in [("bot_id", &body.bot_id), ("integration", &body.integration)] {
        text.as_ref().map_or(Ok(()), |text| name(field, text, 255))?;
    }
    if !body.description.is_empty() {
        name("description", &body.description, 1000)?;
    }
    let NewHook { events, bot_id, integration, channel_id, .. } = body;
    let wants = Wants { events, bot_id, integration, channel_id };
    Ok(tercel_store::Hook {
        id,
        url: body.url,
        granted,
        wants: serde_json::to_string(&wants).map_err(Error::internal)?,
        description: body.description,
        sealed_secret,
        sealed_old_secret: None,
        old_until: None,
        enabled: body.enabled,
        stopped: None,
        progress: Progress::default(),
        created_at: 0,
        updated_at: 0,
    })
}

fn shown(row: tercel_store::Hook) -> Hook {
    let Wants { events, bot_id, integration, channel_id } = Wants::of(&row);
    let Progress { failing_since, next_at, .. } = row.progress;
    let state = match (row.enabled, failing_since) {
        (false, _) => "disabled",
        (true, Some(_)) => "failing",
        (true, None) => "active",
    };
    Hook {
        id: row.id,
        url: row.url,
        events,
        bot_id,
        integration,
        channel_id,
        description: row.description,
        enabled: row.enabled,
        state: state.into(),
        reason: row.stopped,
        failing_since: failing_since.map(Time),
        next_at: (state == "failing").then_some(Time(next_at)),
        old_secret_until: row.old_until.filter(|until| *until > now()).map(Time),
        created_at: Time(row.created_at),
        updated_at: Time(row.updated_at),
    }
}
