//! Configured agents.

use super::{
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Idempotency, Ids},
};
use crate::{
    app::App,
    bot::{self, Bot},
    catalog::DEFAULT,
};
use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use std::sync::Arc;

/// A bot as others may see it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct BotCard {
    id: String,
    name: String,
    display_name: Option<String>,
    avatar_url: Option<String>,
}

/// List the bots by name
#[utoipa::path(get, path = "/bots", tag = "chat", responses((status = 200, body = Vec<BotCard>)))]
pub async fn cards(State(app): State<Arc<App>>) -> Json<Vec<BotCard>> {
    let card = |bot: &Arc<Bot>| BotCard {
        id: bot.id.clone(),
        name: bot.name.clone().unwrap_or_else(|| bot.id.clone()),
        display_name: bot.display_name.clone(),
        avatar_url: bot.avatar_url.clone(),
    };
    Json(app.catalog().bots.values().map(card).collect())
}

/// List bots
#[utoipa::path(get, path = "/api/v1/bots", tag = "bots", params(Piece), responses((status = 200, body = Vec<Bot>)))]
pub async fn list(State(app): State<Arc<App>>, page: Page) -> Result<List<Bot>> {
    let catalog = app.catalog();
    let is_next = |bot: &&Arc<Bot>| page.text().is_none_or(|after| bot.id.as_str() > after);
    let bots: Vec<Bot> = catalog.bots.values().filter(is_next).map(|bot| (**bot).clone()).collect();
    let (bots, next) = page.cut(bots, |bot| bot.id.clone());
    Ok(page.list(bots, next))
}

/// Make a bot
#[utoipa::path(
    post,
    path = "/api/v1/bots",
    tag = "bots",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = Bot,
    responses((status = 201, body = Bot), (status = 409, description = "The id is taken")),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Idempotency(key): Idempotency,
    Body(bot): Body<Bot>,
) -> Result<(StatusCode, Json<Bot>)> {
    match app.catalog().bots.get(&bot.id) {
        Some(made) if key.is_some() && **made == bot => return Ok((StatusCode::CREATED, Json(bot))),
        Some(_) => return Err(Error::conflict(format!("There is a bot `{}` already; PUT changes it", bot.id))),
        None => {}
    }
    save(&app, &bot).await?;
    Ok((StatusCode::CREATED, Json(bot)))
}

/// Show a bot
#[utoipa::path(get, path = "/api/v1/bots/{id}", tag = "bots", params(("id" = String, Path)), responses((status = 200, body = Bot)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<Bot>> {
    Ok(Json((*find(&app, &id)?).clone()))
}

/// Replace a bot
#[utoipa::path(put, path = "/api/v1/bots/{id}", tag = "bots", params(("id" = String, Path)), request_body = Bot, responses((status = 200, body = Bot)))]
pub async fn put(State(app): State<Arc<App>>, Ids(id): Ids<String>, Body(bot): Body<Bot>) -> Result<Json<Bot>> {
    find(&app, &id)?;
    if bot.id != id {
        return Err(Error::invalid(format!(
            "id: it is `{}`, but the address says `{id}`; an id never changes",
            bot.id
        )));
    }
    save(&app, &bot).await?;
    Ok(Json(bot))
}

/// Delete a bot that no channel uses
#[utoipa::path(delete, path = "/api/v1/bots/{id}", tag = "bots", params(("id" = String, Path)), responses((status = 204), (status = 409, description = "A channel uses it")))]
pub async fn delete(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<StatusCode> {
    find(&app, &id)?;
    if id == DEFAULT {
        return Err(Error::conflict("The bot `default` always exists; PUT changes it"));
    }
    if let Some(channel) = app.catalog().channels.values().find(|channel| channel.bot_id == id) {
        return Err(Error::conflict(format!(
            "The channel `{}` uses it; give that one another bot first",
            channel.client_id
        )));
    }
    app.store.delete_bot(&id).await?;
    app.reload().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find(app: &App, id: &str) -> Result<Arc<Bot>> {
    app.catalog().bots.get(id).cloned().ok_or_else(|| Error::not_found(format!("There is no bot `{id}`")))
}

async fn save(app: &App, bot: &Bot) -> Result<()> {
    if let Some(problem) = bot.problem() {
        return Err(Error::invalid(problem));
    }
    let definition = serde_json::to_string(bot).map_err(Error::internal)?;
    app.store.put_bot(&bot.id, definition).await?;
    app.close_notice(&bot::missing(&bot.id)).await;
    app.reload().await?;
    Ok(())
}
