//! The front door for services: verify, take apart, store in one commit, answer.

mod dedupe;
mod kept;
mod places;
mod refusals;

pub use dedupe::keys;
pub use kept::kept;
pub use refusals::{Refusals, Refused};

use crate::{
    app::{App, Call},
    catalog::Values,
    ceilings, disk,
    folders::{deliveries, route::Failure},
    receiving::{self, Fault},
};
use bytes::Bytes;
use dedupe::{key_of_event, key_of_news};
use http::HeaderMap;
use places::{items, outcome, reaches};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tercel_sdk::{Dedupe, Event, Host, Inbound, News, Outcome, Received, Refusal, inbound::Webhook};
use tercel_store::{Accept, Accepted, Delivery, NewDelivery, Uuid};

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
    /// The tier in force does not have it.
    #[error("{0}")]
    Locked(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    NotFound(String),
    #[error(transparent)]
    Store(#[from] tercel_store::Error),
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
    let (webhook, hosts) = part(app, integration, connection).inspect_err(|error| {
        if let Error::Locked(why) = error {
            app.refusals.note(integration, why, source);
        }
    })?;
    let request = Inbound::new(headers.clone(), body.clone(), SystemTime::now()).source(source);
    let witness = request.witness();
    let received = read(app, webhook, hosts, request, body.len()).await.inspect_err(|refusal| {
        app.refusals.note(integration, &refusal.to_string(), source);
        tracing::info!(integration, "Refused a webhook: {refusal}");
    })?;
    let witness = witness.get();
    let delivery = NewDelivery {
        id: Uuid::now_v7(),
        integration: integration.into(),
        connection: connection.into(),
        event: received.name.clone(),
        outcome: "ignored",
        reason: None,
        verified_by: witness.map_or_else(|| "nobody".into(), |witness| witness.name.clone()),
        headers: kept(&app.catalog().redactor, &headers, witness.and_then(|witness| witness.header.as_deref())),
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
    let (webhook, hosts) = part(app, &delivery.integration, &delivery.connection)?;
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(delivery.received_at.unsigned_abs());
    let size = body.len();
    let received = read(app, webhook, hosts, Inbound::stored(headers, body.into(), at), size).await?;
    let generation = app.store.replay(id).await?;
    Ok((generation, process(app, received, Origin::Stored(Box::new(delivery), once)).await?))
}

async fn replay_by_code(app: &Arc<App>, delivery: Delivery, body: Vec<u8>) -> Result<(i64, Answer), Error> {
    let id = delivery.id;
    let generation = deliveries::replay(app, delivery, body).await.map_err(|failure| match failure {
        Failure::NotFound(words) | Failure::Malformed(words) | Failure::Refused(words) => Error::NotFound(words),
        Failure::Locked(words) => Error::Locked(words),
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
    let items = items(app, (integration, connection), &news.name, news.event);
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
    let dedupe = vec![key_of_news(integration, connection, &news.id)];
    Accept { delivery: Some(delivery), dedupe, items, ..Accept::default() }
}

/// The part, and the hosts by which a request may prove to be the service's: with the secrets of now, then with those
/// that were replaced and still count.
fn part(app: &Arc<App>, integration: &str, connection: &str) -> Result<(Webhook, Vec<Host>), Error> {
    let catalog = app.catalog();
    let entry = catalog.integrations.get(integration).ok_or_else(|| Error::UnknownIntegration(integration.into()))?;
    if let Some(obstacle) = entry.listed.obstacle() {
        return Err(if entry.listed.is_locked() { Error::Locked(obstacle) } else { Error::Unavailable(obstacle) });
    }
    let webhook = entry.integration.webhook.clone().ok_or_else(|| Error::NoWebhook(integration.into()))?;
    let unknown = || Error::UnknownConnection(integration.into(), connection.into());
    let values = entry.values(connection).ok_or_else(unknown)?;
    let host = |values: &Values| app.host_with(integration, connection, values, Call::default());
    let mut hosts = vec![host(values).ok_or_else(unknown)?];
    hosts.extend(values.with_earlier().filter_map(|values| host(&values)));
    Ok((webhook, hosts))
}

async fn read(app: &App, webhook: Webhook, hosts: Vec<Host>, request: Inbound, size: usize) -> Result<Received, Error> {
    let mut refused = None;
    for host in hosts {
        match receiving::read(app, webhook.clone(), host, request.clone(), size).await {
            Ok(received) => return Ok(received),
            Err(Fault::Refused(refusal @ Refusal::Signature(_))) => _ = refused.get_or_insert(refusal),
            Err(Fault::Refused(refusal)) => return Err(Error::Refused(refusal)),
            Err(Fault::Broken(message)) => return Err(Error::Unavailable(message)),
        }
    }
    Err(Error::Refused(refused.unwrap_or_else(|| Refusal::signature("Nobody vouches for it"))))
}

enum Origin {
    New(Box<NewDelivery>, Vec<(String, i64)>),
    Stored(Box<Delivery>, Option<(String, i64)>),
}

async fn process(app: &Arc<App>, received: Received, origin: Origin) -> Result<Answer, Error> {
    let (id, integration, connection) = match &origin {
        Origin::New(delivery, _) => (delivery.id, delivery.integration.clone(), delivery.connection.clone()),
        Origin::Stored(delivery, _) => (delivery.id, delivery.integration.clone(), delivery.connection.clone()),
    };
    let source = (integration.as_str(), connection.as_str());
    let mut accept = Accept::default();
    let mut reply = None;
    let (outcome, reason) = match received.outcome {
        Outcome::Events(events) => {
            let reaches = events.iter().any(|event| reaches(app, &received.name, event));
            accept.items = events.into_iter().flat_map(|event| items(app, source, &received.name, event)).collect();
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
