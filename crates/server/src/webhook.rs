//! The front door for services: verify, take apart, store in one commit, answer.

use crate::{
    app::{App, Call},
    bot::Bot,
    catalog::Catalog,
    ceilings,
    channel::Channel,
    disk,
    folders::{deliveries, route::Failure},
    receiving::{self, Fault},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tercel_sdk::{Dedupe, Event, Host, Inbound, News, Outcome, Received, Refusal, Trust, inbound::Webhook};
use tercel_store::{
    Accept, Accepted, Delivery, Item, NewDelivery, NewMessage, NewTask, SessionRef, Uuid, accept::Busy, now,
};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// What vouches for news that we asked for.
const POLLED: &str = "poll";

/// What the sender is answered.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Taken {
    /// `processed` (an agent runs), `stored`, `ignored` or `duplicate`.
    pub status: String,
    pub delivery_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub tasks: Vec<Uuid>,
}

pub enum Answer {
    Taken(Taken),
    /// What the service wants to read.
    Reply {
        status: u16,
        content_type: String,
        body: Bytes,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("There is no integration `{0}`")]
    UnknownIntegration(String),
    #[error("The integration `{0}` has no connection `{1}`")]
    UnknownConnection(String, String),
    #[error("The integration `{0}` takes no webhooks")]
    NoWebhook(String),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    NotFound(String),
    #[error(transparent)]
    Store(#[from] tercel_store::Error),
}

/// The last refusal of an integration, and how many there were.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Refused {
    pub count: u64,
    /// Microseconds since 1970.
    pub last_at: i64,
    pub reason: String,
    pub source: Option<String>,
}

/// Refused requests leave no row: only this.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<String, Refused>>);

impl Refusals {
    pub fn of(&self, integration: &str) -> Option<Refused> {
        self.0.lock().expect("no holder of this lock panics").get(integration).cloned()
    }

    pub fn note(&self, integration: &str, reason: &str, source: Option<IpAddr>) {
        metrics::counter!("tercel_webhooks_refused_total", "integration" => integration.to_owned()).increment(1);
        let mut all = self.0.lock().expect("no holder of this lock panics");
        let count = all.get(integration).map_or(0, |refused| refused.count) + 1;
        let refused = Refused { count, last_at: now(), reason: reason.into(), source: source.map(|ip| ip.to_string()) };
        all.insert(integration.into(), refused);
    }
}

/// Takes one request to `/integrations/<integration>/webhook`.
pub async fn receive(
    app: &Arc<App>,
    integration: &str,
    connection: &str,
    headers: HeaderMap,
    body: Bytes,
    source: Option<IpAddr>,
) -> Result<Answer, Error> {
    if disk::is_full(app) {
        return Err(Error::Unavailable("The disk is almost full: nothing is accepted".into()));
    }
    if app.runs.is_backed_up(app).await {
        return Err(Error::Unavailable("Too many runs are waiting: try again later".into()));
    }
    let (webhook, host) = part(app, integration, connection)?;
    let request = Inbound::new(headers.clone(), body.clone(), SystemTime::now());
    let witness = request.witness();
    let received = read(app, webhook, host, request, body.len()).await.inspect_err(|refusal| {
        app.refusals.note(integration, &refusal.to_string(), source);
        tracing::info!(integration, "Refused a webhook: {refusal}");
    })?;
    let delivery = NewDelivery {
        id: Uuid::now_v7(),
        integration: integration.into(),
        connection: connection.into(),
        event: received.name.clone(),
        outcome: "ignored",
        reason: None,
        verified_by: witness.get().copied().unwrap_or("nobody").into(),
        headers: serde_json::to_string(&kept(&headers)).unwrap_or_default(),
        body: body.to_vec(),
        answer: None,
        sealed_request: None,
    };
    let mut dedupe = keys(integration, connection, &received.dedupe, &body);
    dedupe.extend(key_of_event(integration, connection, &received.outcome));
    process(app, received, Origin::New(Box::new(delivery), dedupe)).await
}

/// Processes a stored delivery once more, as a new generation. `once`: the key by which a repetition of this is known,
/// and until when.
pub async fn replay(app: &Arc<App>, id: Uuid, once: Option<(String, i64)>) -> Result<(i64, Answer), Error> {
    let missing = || Error::NotFound(format!("There is no delivery {id}"));
    let delivery = app.store.delivery(id).await?.ok_or_else(missing)?;
    if let Some((key, _)) = &once
        && app.store.first_of(key).await?.is_some()
    {
        return Ok((delivery.generation, duplicate(app, id).await?));
    }
    let Some(body) = delivery.body.clone() else {
        return Err(Error::NotFound(
            "The body of this delivery is not kept: it was a duplicate, or is older than the retention".into(),
        ));
    };
    if delivery.verified_by == POLLED {
        let event: Event = serde_json::from_slice(&body).map_err(tercel_store::Error::from)?;
        let (dedupe, name) = (Dedupe::Never, delivery.event.clone());
        let received = Received { dedupe, name, outcome: Outcome::Events(vec![event]) };
        let generation = app.store.replay(id).await?;
        return Ok((generation, process(app, received, Origin::Stored(Box::new(delivery), once)).await?));
    }
    if delivery.sealed_request.is_some() {
        return replay_by_code(app, delivery, body).await;
    }
    let stored: BTreeMap<String, String> =
        serde_json::from_str(&delivery.headers).map_err(tercel_store::Error::from)?;
    let headers = stored
        .iter()
        .filter_map(|(name, value)| {
            Some((http::HeaderName::try_from(name).ok()?, http::HeaderValue::try_from(value).ok()?))
        })
        .collect();
    let (webhook, host) = part(app, &delivery.integration, &delivery.connection)?;
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(delivery.received_at.unsigned_abs());
    let size = body.len();
    let received = read(app, webhook, host, Inbound::stored(headers, body.into(), at), size).await?;
    let generation = app.store.replay(id).await?;
    Ok((generation, process(app, received, Origin::Stored(Box::new(delivery), once)).await?))
}

async fn replay_by_code(app: &Arc<App>, delivery: Delivery, body: Vec<u8>) -> Result<(i64, Answer), Error> {
    let id = delivery.id;
    let generation = deliveries::replay(app, delivery, body).await.map_err(|failure| match failure {
        Failure::NotFound(words) | Failure::Malformed(words) | Failure::Refused(words) => Error::NotFound(words),
        Failure::Unavailable(words, _) => Error::Unavailable(words),
        Failure::TooLarge => Error::Unavailable("The body is too large by now".into()),
        Failure::Store(error) => Error::Store(error),
    })?;
    let row = app.store.delivery(id).await?;
    let status = row.and_then(|row| row.outcome).unwrap_or_else(|| "failed".into());
    let tasks = app.store.tasks_of_delivery(id).await?;
    Ok((generation, Answer::Taken(Taken { status, delivery_id: id, reason: None, tasks })))
}

/// News that we asked for, as what comes by webhook is stored.
pub fn polled(app: &App, integration: &str, connection: &str, news: News) -> Accept {
    let body = serde_json::to_vec(&news.event).unwrap_or_default();
    let reaches = reaches(app, &news.name, &news.event);
    let items = items(app, integration, &news.name, news.event);
    let (outcome, reason) = outcome(&items, reaches, &news.name);
    let delivery = NewDelivery {
        id: Uuid::now_v7(),
        integration: integration.into(),
        connection: connection.into(),
        event: news.name,
        outcome,
        reason,
        verified_by: POLLED.into(),
        headers: "{}".into(),
        body,
        answer: None,
        sealed_request: None,
    };
    let dedupe = vec![(event_key(integration, connection, &news.id), now() + 30 * DAY)];
    Accept { delivery: Some(delivery), dedupe, items, ..Accept::default() }
}

/// What becomes of an event, and why, if that is nothing. `reaches`: there is a place that wants events of its name.
fn outcome(items: &[Item], reaches: bool, name: &str) -> (&'static str, Option<String>) {
    match items.iter().any(|item| item.task.is_some()) {
        true => ("run", None),
        false if !items.is_empty() => ("stored", None),
        false if reaches => {
            ("ignored", Some("It mentions no bot, and no channel keeps what it does not answer".into()))
        }
        false => ("ignored", Some(format!("No binding of its place has `{name}` in its event_filter"))),
    }
}

fn part(app: &Arc<App>, integration: &str, connection: &str) -> Result<(Webhook, Host), Error> {
    let catalog = app.catalog();
    let entry = catalog.integrations.get(integration).ok_or_else(|| Error::UnknownIntegration(integration.into()))?;
    if let Some(obstacle) = entry.listed.obstacle() {
        return Err(Error::Unavailable(obstacle));
    }
    let webhook = entry.integration.webhook.clone().ok_or_else(|| Error::NoWebhook(integration.into()))?;
    let host = app
        .host(integration, connection, Call::default())
        .ok_or_else(|| Error::UnknownConnection(integration.into(), connection.into()))?;
    Ok((webhook, host))
}

async fn read(app: &App, webhook: Webhook, host: Host, request: Inbound, size: usize) -> Result<Received, Error> {
    receiving::read(app, webhook, host, request, size).await.map_err(|fault| match fault {
        Fault::Refused(refusal) => Error::Refused(refusal),
        Fault::Broken(message) => Error::Unavailable(message),
    })
}

enum Origin {
    New(Box<NewDelivery>, Vec<(String, i64)>),
    Stored(Box<Delivery>, Option<(String, i64)>),
}

async fn process(app: &Arc<App>, received: Received, origin: Origin) -> Result<Answer, Error> {
    let (id, integration) = match &origin {
        Origin::New(delivery, _) => (delivery.id, delivery.integration.clone()),
        Origin::Stored(delivery, _) => (delivery.id, delivery.integration.clone()),
    };
    let mut accept = Accept::default();
    let mut reply = None;
    let (outcome, reason) = match received.outcome {
        Outcome::Events(events) => {
            let reaches = events.iter().any(|event| reaches(app, &received.name, event));
            accept.items =
                events.into_iter().flat_map(|event| items(app, &integration, &received.name, event)).collect();
            outcome(&accept.items, reaches, &received.name)
        }
        Outcome::Ignored(reason) => ("ignored", Some(reason)),
        Outcome::Reply(answer) => {
            reply = Some(StoredReply {
                status: answer.status,
                content_type: answer.content_type,
                body: String::from_utf8_lossy(&answer.body).into_owned(),
            });
            ("reply", None)
        }
    };
    match origin {
        Origin::New(delivery, dedupe) => {
            let answer = reply.as_ref().and_then(|reply| serde_json::to_string(reply).ok());
            accept.delivery = Some(NewDelivery { outcome, reason: reason.clone(), answer, ..*delivery });
            accept.dedupe = dedupe;
        }
        Origin::Stored(_, once) => {
            accept.replayed = Some(id);
            accept.dedupe = once.into_iter().collect();
        }
    }
    let accepted = app.store.accept(accept).await?;
    let counted = if matches!(accepted, Accepted::New(_)) { outcome } else { "duplicate" };
    metrics::counter!("tercel_webhooks_total", "integration" => integration, "outcome" => counted).increment(1);
    match accepted {
        Accepted::Duplicate(first) => duplicate(app, first).await,
        Accepted::New(placed) => {
            if let Some(reply) = reply {
                return Ok(reply.into());
            }
            let mut refused = None;
            for row in &placed {
                row.interrupted.iter().for_each(|task| app.runs.cancel(*task));
                if let Some(ceiling) = &row.full {
                    ceilings::report(app, ceiling).await;
                    refused = Some(ceilings::reason(ceiling));
                }
            }
            let tasks: Vec<Uuid> = placed.iter().filter_map(|row| row.task_id).collect();
            let status = match outcome {
                "run" if !tasks.is_empty() => "processed",
                "ignored" => "ignored",
                _ => "stored",
            };
            Ok(Answer::Taken(Taken { status: status.into(), delivery_id: id, reason: reason.or(refused), tasks }))
        }
    }
}

async fn duplicate(app: &Arc<App>, first: Uuid) -> Result<Answer, Error> {
    if let Some(delivery) = app.store.delivery(first).await?
        && let Some(answer) = delivery.answer
        && let Ok(reply) = serde_json::from_str::<StoredReply>(&answer)
    {
        return Ok(reply.into());
    }
    let tasks = app.store.tasks_of_delivery(first).await?;
    let reason = Some("This delivery was taken before".into());
    Ok(Answer::Taken(Taken { status: "duplicate".into(), delivery_id: first, reason, tasks }))
}

#[derive(Serialize, Deserialize)]
struct StoredReply {
    status: u16,
    content_type: String,
    body: String,
}

impl From<StoredReply> for Answer {
    fn from(reply: StoredReply) -> Self {
        Self::Reply { status: reply.status, content_type: reply.content_type, body: reply.body.into() }
    }
}

fn reaches(app: &App, name: &str, event: &Event) -> bool {
    !places(&app.catalog(), name, event).is_empty()
}

/// One item for every channel that the event reaches; where none is bound, for the bot it names.
fn items(app: &App, integration: &str, name: &str, event: Event) -> Vec<Item> {
    let catalog = app.catalog();
    let places = places(&catalog, name, &event);
    let is_meant = |place: &Place| {
        let bot = catalog.bots.get(&place.bot_id);
        place.channel.as_ref().is_none_or(|channel| is_addressed(channel, bot, &event.text))
    };
    let is_kept = |place: &Place| place.channel.as_ref().is_none_or(|channel| channel.options.passive_memory);
    places
        .into_iter()
        .filter(|place| is_kept(place) || is_meant(place))
        .map(|place| {
            let bot = catalog.bots.get(&place.bot_id);
            let model = event.brief.as_ref().and_then(|brief| brief.model.as_deref());
            let (_, rehearse) = app.model_of(model.or(bot.and_then(|bot| bot.model.as_deref())));
            let brief = event.brief.as_ref().filter(|_| is_meant(&place) && may_answer(&place, &event));
            let task = brief.map(|brief| NewTask {
                id: Uuid::now_v7(),
                bot_id: place.bot_id.clone(),
                channel_id: place.channel.as_ref().map(|channel| channel.id),
                origin: integration.into(),
                execution_config: serde_json::to_string(brief).ok(),
                sealed_target: event.reply_to.as_ref().map(|target| app.seal_target(target)),
                rehearse,
            });
            Item {
                ceilings: ceilings::of_run(app, &place.bot_id, integration, &place.client_id, rehearse),
                session: SessionRef::Key {
                    client_id: place.client_id,
                    bot_id: place.bot_id,
                    thread: place.thread,
                    channel_id: place.channel.map(|channel| channel.id),
                },
                message: NewMessage {
                    id: Uuid::now_v7(),
                    role: "user",
                    content: event.text.clone(),
                    source: Some(integration.into()),
                    trusted: event.trust == Trust::Trusted,
                    hops: 0,
                    metadata: Some(serde_json::json!({"event": name, "from": event.from}).to_string()),
                    attachments: Vec::new(),
                },
                task,
                busy: Busy::Enqueue,
                shown: Vec::new(),
            }
        })
        .collect()
}

/// What bots write is answered only where somebody said so.
fn may_answer(place: &Place, event: &Event) -> bool {
    !event.by_bot || place.channel.as_ref().is_some_and(|channel| channel.options.allow_bot_messages)
}

struct Place {
    client_id: String,
    thread: String,
    bot_id: String,
    channel: Option<Arc<Channel>>,
}

fn places(catalog: &Catalog, name: &str, event: &Event) -> Vec<Place> {
    let thread = event.thread.clone().unwrap_or_default();
    let own = catalog.channels.get(&event.from).cloned();
    let mut places: Vec<Place> = own
        .into_iter()
        .map(|channel| Place {
            client_id: event.from.clone(),
            thread: thread.clone(),
            bot_id: channel.bot_id.clone(),
            channel: Some(channel),
        })
        .collect();
    let bindings = catalog.bindings.get(&event.from).map(Vec::as_slice).unwrap_or_default();
    let bound = bindings.iter().filter_map(|binding| Some((binding, catalog.channel(binding.channel_id)?)));
    let mut is_bound = !places.is_empty();
    for (binding, channel) in bound {
        is_bound = true;
        if binding.wants(name) && channel.client_id != event.from {
            // Two places bound to one channel may both have a thread `pr/1`.
            let thread = if thread.is_empty() { String::new() } else { format!("{}/{thread}", event.from) };
            let bot_id = channel.bot_id.clone();
            places.push(Place { client_id: channel.client_id.clone(), thread, bot_id, channel: Some(channel.clone()) });
        }
    }
    if !is_bound {
        let bot_id = event.bot.clone().unwrap_or_else(|| crate::catalog::DEFAULT.into());
        places.push(Place { client_id: event.from.clone(), thread, bot_id, channel: None });
    }
    places
}

/// A channel that wants to be mentioned keeps what does not mention its bot, and answers the rest.
fn is_addressed(channel: &Channel, bot: Option<&Arc<Bot>>, text: &str) -> bool {
    if !channel.options.require_mention {
        return true;
    }
    let text = text.to_lowercase();
    let names = bot.into_iter().flat_map(|bot| [Some(&bot.id), bot.name.as_ref(), bot.display_name.as_ref()]).flatten();
    names.into_iter().any(|name| mentions(&text, &name.to_lowercase()))
}

/// Whether `@name` stands in the text as a whole: `@rev` is not in `@reviewer`, nor in `me@rev.example`.
fn mentions(text: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    let is_whole = |at: usize, mention: &str| {
        let mut after = text[at + mention.len()..].chars();
        let ends = match after.next() {
            // A name may have these inside, and a sentence ends with one.
            Some('-' | '.') => !after.next().is_some_and(goes_on),
            Some(next) => !goes_on(next),
            None => true,
        };
        ends && !text[..at].chars().next_back().is_some_and(goes_on)
    };
    !name.is_empty() && text.match_indices(&format!("@{name}")).any(|(at, mention)| is_whole(at, mention))
}

pub fn keys(integration: &str, connection: &str, dedupe: &Dedupe, body: &[u8]) -> Vec<(String, i64)> {
    let time = now();
    let key = |by: &str, what: &[u8]| short_key(&[integration.as_bytes(), connection.as_bytes(), by.as_bytes(), what]);
    let by_id = |id: &str| (key("id", id.as_bytes()), time + 30 * DAY);
    let by_body = |span: i64| (key("body", &Sha256::digest(body)), time + span);
    match dedupe {
        Dedupe::Never => Vec::new(),
        Dedupe::Body => vec![by_body(MINUTE)],
        Dedupe::SignedId(id) => vec![by_id(id)],
        Dedupe::UnsignedId(id) => vec![by_id(id), by_body(DAY)],
    }
}

/// One delivery may have come by a poll before, if all of it is one event.
fn key_of_event(integration: &str, connection: &str, outcome: &Outcome) -> Option<(String, i64)> {
    let Outcome::Events(events) = outcome else { return None };
    let [event] = &events[..] else { return None };
    Some((event_key(integration, connection, event.id.as_ref()?), now() + 30 * DAY))
}

fn event_key(integration: &str, connection: &str, id: &str) -> String {
    format!("event/{integration}/{connection}/{id}")
}

/// 128 bits stand for all of it: there is a key for every delivery of 30 days, and each lies on a page of its own.
fn short_key(pieces: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
    format!("delivery/{}", BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]))
}

/// The headers that are kept with a delivery: what describes it, nothing that proves it.
pub fn kept(headers: &HeaderMap) -> BTreeMap<&str, &str> {
    const PROOFS: [&str; 6] = ["signature", "token", "secret", "auth", "key", "cookie"];
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            let describes = name.starts_with("x-")
                || name.starts_with("webhook-")
                || ["content-type", "user-agent"].contains(&name);
            describes && !PROOFS.iter().any(|word| name.contains(word))
        })
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect()
}
