//! Bots as models, for every program that speaks to OpenAI.

mod ask;
mod content;
mod in_session;
mod refusal;
mod shape;
mod wire;

pub use refusal::in_their_shape;

use super::{
    error::{Error, Result},
    events::keep_alive,
    request::{Body, Ids},
};
use crate::{
    app::App,
    bot::Bot,
    runner::stateless::{self, Reply},
};
use axum::{
    Json,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use std::{collections::HashMap, convert::Infallible, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Behind a bot's name: without the bot's tools.
const PLAIN: &str = ":plain";

#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelList {
    /// `list`
    object: String,
    data: Vec<ListedModel>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ListedModel {
    /// A bot, or `<bot>:plain`: the same without its tools.
    id: String,
    /// `model`
    object: String,
    /// Seconds since 1970, of the bot's last change.
    created: i64,
    owned_by: String,
}

/// Bots as models
#[utoipa::path(get, path = "/v1/models", tag = "chat", responses((status = 200, body = ModelList)))]
pub async fn models(State(app): State<Arc<App>>) -> Result<Json<ModelList>> {
    let changed: HashMap<String, i64> =
        app.store.bots().await?.into_iter().map(|row| (row.id, row.updated_at / 1_000_000)).collect();
    let catalog = app.catalog();
    let of = |id: &String| {
        let created = changed.get(id).copied().unwrap_or(0);
        ["", PLAIN].map(|ending| listed(format!("{id}{ending}"), created))
    };
    Ok(Json(ModelList { object: "list".into(), data: catalog.bots.keys().flat_map(of).collect() }))
}

/// A bot as a model
#[utoipa::path(get, path = "/v1/models/{id}", tag = "chat", params(("id" = String, Path)), responses((status = 200, body = ListedModel)))]
pub async fn model(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<ListedModel>> {
    let (bot, _) = bot(&app, &id)?;
    let row = app.store.bots().await?.into_iter().find(|row| row.id == bot.id);
    Ok(Json(listed(id, row.map_or(0, |row| row.updated_at / 1_000_000))))
}

/// Ask a bot as OpenAI's models are asked
///
/// The messages sent are the whole conversation: nothing of it is stored. Tools in the request are the caller's: calls of
/// them come back as `tool_calls`. Tools of the bot are run by this server; `<bot>:plain` has none. With
/// `metadata.session` (an id) or `metadata.client_id` the last message goes into that session instead and its history counts.
/// Errors have OpenAI's shape, with `detail` and `code` beside it.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "chat",
    request_body = ask::Ask,
    responses((status = 200, description = "As OpenAI answers: whole, or with `stream` as server-sent events", body = Object)),
)]
pub async fn complete(State(app): State<Arc<App>>, Body(ask): Body<ask::Ask>) -> Result<Response> {
    let (bot, plain) = bot(&app, &ask.model)?;
    ask.check()?;
    let frame = wire::Frame::new(&ask.model);
    let with_usage = ask.wants_usage();
    let is_stream = ask.stream;
    let (sender, receiver) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let going = Going { receiver, _stop: stop.clone().drop_guard() };
    match ask.place() {
        Some(_) if plain => {
            return Err(Error::bad_request(format!(
                "`{}` has no sessions: leave `metadata` away, or {PLAIN}",
                ask.model
            )));
        }
        Some(place) => {
            let task = in_session::put(&app, &bot, place, &ask).await?;
            tokio::spawn(in_session::watch(app.clone(), task, sender, is_stream));
        }
        None => {
            super::is_not_held(&app)?;
            let question = ask.question(bot, plain)?;
            let app = app.clone();
            // A caller who leaves stops it between two steps: what a model was asked is counted all the same.
            app.clone().work.spawn(async move {
                let shown = |text| _ = sender.send(Said::Text(text));
                // Who gets the whole at its end has seen nothing that could not be taken back.
                let shown: Option<&stateless::Shown<'_>> = if is_stream { Some(&shown) } else { None };
                let said = stateless::answer(&app, question, &stop, shown).await;
                let _ = sender.send(Said::End(said.map_err(refusal::of_agent)));
            });
        }
    }
    match is_stream {
        true => in_pieces(going, frame, with_usage).await,
        false => whole(going, frame).await,
    }
}

enum Said {
    Text(String),
    End(Result<Reply>),
}

/// An answer that comes; dropped, it is stopped.
struct Going {
    receiver: mpsc::UnboundedReceiver<Said>,
    _stop: DropGuard,
}

impl Going {
    async fn next(&mut self) -> Said {
        let lost = || Error::internal("An answer ended without an end");
        self.receiver.recv().await.unwrap_or_else(|| Said::End(Err(lost())))
    }
}

async fn whole(mut going: Going, frame: wire::Frame) -> Result<Response> {
    loop {
        if let Said::End(said) = going.next().await {
            return Ok(Json(frame.whole(&said?)).into_response());
        }
    }
}

/// The first word is waited for, so that a failure before it has its status.
async fn in_pieces(mut going: Going, frame: wire::Frame, with_usage: bool) -> Result<Response> {
    let first = match going.next().await {
        Said::End(Err(error)) => return Err(error),
        said => said,
    };
    let has_text = !matches!(&first, Said::End(Ok(reply)) if !reply.tool_calls.is_empty());
    let beginning = Event::default().data(frame.beginning(has_text).to_string());
    let pieces = stream::iter([beginning]).chain(rest(first, going, frame, with_usage));
    let events = pieces.map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(keep_alive()).into_response())
}

fn rest(first: Said, going: Going, frame: wire::Frame, with_usage: bool) -> impl Stream<Item = Event> {
    stream::unfold((Some(first), Some(going)), move |(first, going)| {
        let frame = frame.clone();
        async move {
            let mut going = going?;
            let said = match first {
                Some(said) => said,
                None => going.next().await,
            };
            let event = |value: serde_json::Value| Event::default().data(value.to_string());
            Some(match said {
                Said::Text(text) => (vec![event(frame.text(&text))], (None, Some(going))),
                Said::End(Ok(reply)) => {
                    let mut events: Vec<Event> = frame.ending(&reply, with_usage).into_iter().map(event).collect();
                    events.push(Event::default().data("[DONE]"));
                    (events, (None, None))
                }
                Said::End(Err(error)) => (vec![event(refusal::body(&error))], (None, None)),
            })
        }
    })
    .flat_map(stream::iter)
}

fn bot(app: &App, model: &str) -> Result<(Arc<Bot>, bool)> {
    let (id, plain) = match model.strip_suffix(PLAIN) {
        Some(id) => (id, true),
        None => (model, false),
    };
    let catalog = app.catalog();
    match catalog.bots.get(id) {
        Some(bot) => Ok((bot.clone(), plain)),
        None => {
            let near = super::request::no_such(id, catalog.bots.keys().map(String::as_str));
            Err(Error::not_found(format!("model: {near}. Models are the bots of this server")))
        }
    }
}

fn listed(id: String, created: i64) -> ListedModel {
    ListedModel { id, object: "model".into(), created, owned_by: "tercel".into() }
}
