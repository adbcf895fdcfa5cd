//! What answers without a session take, and when they have taken too much.

use crate::{app::App, budgets::Whose, ceilings, unpriced};
use std::sync::Arc;
use tercel_sdk::{Error, Kind, Result, chat::Usage, host::Ids};
use tercel_store::{Counts, Spent};

/// Where these answers are counted: `api` as their origin.
const ORIGIN: &str = "api";

/// Runs are counted and not limited: who holds a key is the operator. Tokens are limited for all.
pub async fn may_begin(app: &Arc<App>, ids: &Ids, model: &str) -> Result<()> {
    if app.chosen(model, false).is_rehearsal() {
        return Ok(());
    }
    let (bot, client_id) = place(ids);
    let ceilings = ceilings::of_run(app, bot, ORIGIN, client_id, false);
    if let Some(ceiling) = ceilings::first_spent(app, ceilings).await.map_err(stored)? {
        ceilings::report(app, &ceiling).await;
        let error = ceilings::error(&ceiling).hint(ceilings::repair(app, &ceiling));
        return Err(error.retry_after(Some(ceilings::left(app, &ceiling))));
    }
    let hour = ceilings::this_hour();
    let counts = Counts { runs: 1, ..Counts::default() };
    let run = whose(app, ids).counters().into_iter().map(|scope| Spent { scope, hour, counts });
    app.store.spend(run.collect()).await.map_err(stored)
}

pub async fn spend(app: &Arc<App>, ids: &Ids, model: &str, usage: Usage) {
    let (whose, spent) = (whose(app, ids), [(model.to_owned(), usage)]);
    unpriced::look(app, &whose, &spent).await;
    let spent = ceilings::account(app, &whose, &spent);
    if let Err(error) = app.store.spend(spent).await {
        tracing::error!("Tokens could not be counted: {error}");
    }
}

/// Bot and client.
fn place(ids: &Ids) -> (&str, &str) {
    (ids.bot.as_deref().unwrap_or_default(), ids.client_id.as_deref().unwrap_or_default())
}

fn whose<'a>(app: &App, ids: &'a Ids) -> Whose<'a> {
    let (bot, client_id) = place(ids);
    ceilings::whose(app, bot, ORIGIN, client_id)
}

fn stored(error: tercel_store::Error) -> Error {
    Error::new(Kind::Network, error.obstacle())
}
