//! Webhook requests that the code of a folder answers: stored first, answered once, processed again after a crash.

mod answer;
mod request;

pub use request::REQUEST;

use super::{
    Standing,
    route::{self, Asked, Failure},
};
use crate::{app::App, catalog::Values, disk, receiving::body::Whole, webhook};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tercel_sdk::{Dedupe, Error, Kind, Scheme, routes::Body};
use tercel_store::{Accept, Accepted, Delivery, Handled, NewDelivery, Uuid};
use tokio::sync::Semaphore;

/// Deliveries of one integration that may be open at once; the service sends later ones again.
const QUEUE: usize = 256;
/// Bytes of an answer that is read at all.
const LARGEST: usize = 16 << 20;
/// Between two looks whether a folder is ready.
const LOOK: Duration = Duration::from_millis(500);
/// Seconds before what nobody waits for is tried again: its sender was cut off, and may never send it again.
const PAUSES: [u64; 4] = [5, 30, 120, 600];
/// What is known of who vouches for such a request.
const BY_CODE: &str = "code of the folder";

/// How many deliveries of each integration are being processed.
#[derive(Default)]
pub struct Running(Mutex<HashMap<String, usize>>);

/// One of them, until it is dropped.
struct Turn {
    app: Arc<App>,
    integration: String,
}

impl Running {
    fn enter(app: &Arc<App>, integration: &str) -> Option<Turn> {
        let mut open = app.folders.running.0.lock().expect("no holder of this lock panics");
        let count = open.entry(integration.into()).or_default();
        if *count >= QUEUE {
            return None;
        }
        *count += 1;
        Some(Turn { app: app.clone(), integration: integration.into() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.app.folders.running.0.lock().expect("no holder of this lock panics");
        if let Some(count) = open.get_mut(&self.integration) {
            *count -= 1;
        }
    }
}

/// Takes one request to the declared webhook path.
pub async fn receive(app: &Arc<App>, id: &str, asked: Asked, body: Body) -> Result<Response<Body>, Failure> {
    if disk::is_full(app) {
        return Err(Failure::Unavailable("The disk is almost full: nothing was stored".into(), 60));
    }
    let Whole { bytes: body, room } = app.readers.bodies.read(&asked.headers, body, app.config.capacity.body).await?;
    let scheme = verified(app, id, &asked, &body)?;
    // Who does not send a body, or cannot sign one, takes nobody's turn.
    let Some(turn) = Running::enter(app, id) else {
        return Err(Failure::Unavailable(format!("`{id}` has too much to do: nothing was stored"), 5));
    };
    let keys = webhook::keys(id, crate::catalog::DEFAULT, &dedupe(&asked.headers, scheme.as_ref()), &body);
    let names: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
    let delivery = NewDelivery {
        id: Uuid::now_v7(),
        integration: id.into(),
        connection: crate::catalog::DEFAULT.into(),
        event: event(&asked.headers),
        outcome: "reply",
        reason: None,
        verified_by: scheme.as_ref().map_or(BY_CODE, Scheme::name).into(),
        headers: webhook::kept(&app.catalog().redactor, &asked.headers, scheme.as_ref().map(Scheme::proof_header)),
        body: body.to_vec(),
        answer: None,
        sealed_request: Some(request::sealed(app, &asked)),
    };
    let new = delivery.id;
    let accept = Accept { delivery: Some(delivery), dedupe: keys, ..Accept::default() };
    let delivery = match app.store.accept(accept).await? {
        Accepted::New(_) => new,
        Accepted::Duplicate(first) => {
            let gone = || Failure::NotFound("The delivery that this one repeats is not kept any more".into());
            let first = app.store.delivery(first).await?.ok_or_else(gone)?;
            if first.state == "processed" {
                metrics::counter!("tercel_webhooks_total", "integration" => id.to_owned(), "outcome" => "duplicate")
                    .increment(1);
                return Ok(answer::again(&first));
            }
            first.id
        }
    };
    // The code may take long, and those that wait for it have turns.
    drop(room);
    let Some(generation) = app.store.begin_delivery(delivery).await? else {
        return Err(Failure::Unavailable(format!("The delivery {delivery} is being processed"), 5));
    };
    // Who hangs up must not stop it: it is stored.
    let work = Work { app: app.clone(), id: id.into(), delivery, generation, released: names, _turn: turn };
    finished(app.work.spawn(work.process(asked, body))).await
}

/// The scheme that vouches for a request, where the folder declares one. Else its code does, later.
fn verified(app: &Arc<App>, id: &str, asked: &Asked, body: &Bytes) -> Result<Option<Scheme>, Failure> {
    let entry = route::find(app, id)?;
    let Some(verify) = route::routes(&entry)?.verify else { return Ok(None) };
    let gone = || Failure::NotFound(format!("The integration `{id}` is not there any more"));
    let values = entry.values(crate::catalog::DEFAULT).ok_or_else(gone)?;
    let time = std::time::SystemTime::now();
    let verified_with = |values: &Values| {
        let host = app.host_with(id, crate::catalog::DEFAULT, values, crate::app::Call::default()).ok_or_else(gone)?;
        let scheme = verify(&host).map_err(|error| route::failed(app, id, &error))?;
        let checked = scheme.verify(&asked.headers, body, time);
        checked.map(|()| scheme).map_err(|refusal| Failure::Refused(refusal.to_string()))
    };
    let verified = match verified_with(values) {
        // A secret that was replaced may still count.
        Err(refused @ Failure::Refused(_)) => {
            values.with_earlier().find_map(|values| verified_with(&values).ok()).ok_or(refused)
        }
        verified => verified,
    };
    verified.map(Some).inspect_err(|failure| {
        if let Failure::Refused(words) = failure {
            app.refusals.note(id, words, asked.source);
        }
    })
}

/// Processes a stored delivery as a new generation, because an operator wants it.
pub async fn replay(app: &Arc<App>, delivery: Delivery, body: Vec<u8>) -> Result<i64, Failure> {
    let (id, integration) = (delivery.id, delivery.integration.clone());
    let asked = request::unsealed(app, &delivery)?;
    route::find(app, &integration)?;
    let Some(turn) = Running::enter(app, &integration) else {
        return Err(Failure::Unavailable(format!("`{integration}` has too much to do"), 5));
    };
    let Some(generation) = app.store.begin_delivery_again(id).await? else {
        return Err(Failure::Unavailable(format!("The delivery {id} is being processed"), 5));
    };
    let work = Work { app: app.clone(), id: integration, delivery: id, generation, released: Vec::new(), _turn: turn };
    finished(app.work.spawn(work.process(asked, body.into()))).await?;
    Ok(generation)
}

/// Takes up, at the start, what was stored and not processed: nobody was told that it was. What a folder has to do that is
/// not ready yet waits for it.
pub async fn resume(app: &Arc<App>) {
    let open = app.store.open_deliveries(10_000).await.unwrap_or_else(|error| {
        tracing::error!("Deliveries that were not processed cannot be taken up: {error}");
        Vec::new()
    });
    let mut by_folder: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    for (id, integration) in open {
        by_folder.entry(integration).or_default().push(id);
    }
    let room = Semaphore::new(8);
    let all = by_folder.into_iter().map(|(integration, ids)| take_up_all(app, integration, ids, &room));
    tokio::select! {
        () = app.stopping.cancelled() => {}
        _ = futures::future::join_all(all) => {}
    }
}

async fn take_up_all(app: &Arc<App>, integration: String, ids: Vec<Uuid>, room: &Semaphore) {
    let is_preparing = || {
        let entry = app.catalog().integrations.get(&integration).cloned();
        entry.is_some_and(|entry| entry.listed.standing == Standing::Preparing)
    };
    while is_preparing() {
        tokio::time::sleep(LOOK).await;
    }
    let all = ids.into_iter().map(async |id| {
        for pause in PAUSES.map(Some).into_iter().chain([None]) {
            let taken_up = {
                let _room = room.acquire().await;
                take_up(app, id, &integration).await
            };
            let Err(why) = taken_up else { return };
            let Some(pause) = pause else {
                tracing::error!(delivery.id = %id, integration, "A delivery is given up until it is replayed: {why}");
                return;
            };
            tracing::warn!(delivery.id = %id, integration, "A delivery is processed again in {pause} s: {why}");
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
    });
    futures::future::join_all(all).await;
}

async fn take_up(app: &Arc<App>, id: Uuid, integration: &str) -> Result<(), Failure> {
    let Some(delivery) = app.store.delivery(id).await? else { return Ok(()) };
    let body: Bytes = delivery.body.clone().unwrap_or_default().into();
    let asked = request::unsealed(app, &delivery);
    let Some(generation) = app.store.begin_delivery(id).await? else { return Ok(()) };
    let Some(turn) = Running::enter(app, integration) else { return Ok(()) };
    let keys = match &asked {
        // All that it may be known by: what is released is its own.
        Ok(asked) => webhook::keys(integration, &delivery.connection, &dedupe(&asked.headers, None), &body),
        Err(_) => Vec::new(),
    };
    let released = keys.into_iter().map(|(key, _)| key).collect();
    let work = Work { app: app.clone(), id: integration.into(), delivery: id, generation, released, _turn: turn };
    match asked {
        Ok(asked) => match work.process(asked, body).await?.status() {
            status if status.is_server_error() => Err(Failure::Unavailable(format!("Its code answered {status}"), 5)),
            _ => Ok(()),
        },
        Err(Failure::NotFound(reason) | Failure::Unavailable(reason, _)) => work.fail(reason).await,
        Err(error) => Err(error),
    }
}

struct Work {
    app: Arc<App>,
    id: String,
    delivery: Uuid,
    generation: i64,
    /// Keys by which a repetition is known, unless this one is refused.
    released: Vec<String>,
    _turn: Turn,
}

impl Work {
    async fn process(self, asked: Asked, body: Bytes) -> Result<Response<Body>, Failure> {
        let (app, id) = (self.app.clone(), self.id.clone());
        let call = Uuid::now_v7();
        let limit = app.config.limits.route;
        let open = app.folders.calls.begin_delivery(call, &id, (self.delivery, self.generation), limit);
        let answered = async {
            let entry = route::find(&app, &id)?;
            let routes = route::routes(&entry)?;
            let request = route::request(&asked, &id, call, Some(self.delivery), route::whole(body));
            let app_of_it = app.clone();
            let answered = async move {
                let answer = route::serve(&app_of_it, &entry, &routes, call, request).await?;
                let (parts, body) = answer.into_parts();
                Ok((parts, gather(body).await?))
            };
            // A delivery is processed when its answer is complete.
            let answered = crate::part::within(limit, "The webhook", Kind::UnknownOutcome, answered).await;
            answered.map_err(|error| route::failed(&app, &id, &error))
        }
        .await;
        app.folders.calls.end(call);
        let (parts, bytes) = match answered {
            Ok(answered) => answered,
            Err(Failure::Unavailable(reason, seconds)) => {
                self.fail(reason.clone()).await?;
                return Err(Failure::Unavailable(reason, seconds));
            }
            Err(Failure::Locked(reason)) => {
                self.fail(reason.clone()).await?;
                return Err(Failure::Locked(reason));
            }
            Err(other) => {
                self.fail("It has no such route any more".into()).await?;
                return Err(other);
            }
        };
        let outcome = open.outcome();
        self.keep(parts.status, &parts.headers, &bytes, outcome, asked.source).await?;
        Ok(route::answer_of(parts.status, parts.headers, bytes))
    }

    async fn keep(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        bytes: &Bytes,
        outcome: &'static str,
        source: Option<std::net::IpAddr>,
    ) -> Result<(), Failure> {
        let Self { app, id, delivery, generation, released, .. } = &self;
        let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_refused && outcome == "reply" && *generation == 1 {
            app.refusals.note(id, &format!("The code of the folder answered {status}"), source);
            return Ok(app.store.refuse_delivery(*delivery, released.clone()).await?);
        }
        if status.is_server_error() {
            return self.fail(format!("The code of the folder answered {status}")).await;
        }
        metrics::counter!("tercel_webhooks_total", "integration" => id.clone(), "outcome" => outcome).increment(1);
        let end = Handled {
            id: *delivery,
            generation: *generation,
            outcome: Some(outcome),
            reason: None,
            answer: serde_json::to_string(&answer::Said::of(status, headers, bytes)).ok(),
            // What was not accepted may be sent again when what was wrong is mended.
            released: if status.is_client_error() { released.clone() } else { Vec::new() },
        };
        Ok(app.store.end_delivery(end).await?)
    }

    async fn fail(&self, reason: String) -> Result<(), Failure> {
        let id = self.id.clone();
        tracing::warn!(delivery.id = %self.delivery, integration = id, "A delivery was not processed: {reason}");
        metrics::counter!("tercel_webhooks_total", "integration" => id, "outcome" => "failed").increment(1);
        let end = Handled {
            id: self.delivery,
            generation: self.generation,
            outcome: None,
            reason: Some(reason),
            answer: None,
            released: Vec::new(),
        };
        Ok(self.app.store.end_delivery(end).await?)
    }
}

async fn finished(work: tokio::task::JoinHandle<Result<Response<Body>, Failure>>) -> Result<Response<Body>, Failure> {
    work.await.unwrap_or_else(|_| Err(Failure::Unavailable("The server is stopping; it is processed later".into(), 5)))
}

fn read_headers(pairs: &[(String, String)], value: impl Fn(&str) -> String) -> HeaderMap {
    let pair = |(name, text): &(String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value(text)).ok()?))
    };
    pairs.iter().filter_map(pair).collect()
}

/// How a repetition is known: by the id that the service gave it, else by what it says. Nobody knows what code checks:
/// without a scheme the id may be anybody's.
fn dedupe(headers: &HeaderMap, scheme: Option<&Scheme>) -> Dedupe {
    let names = ["webhook-id"].into_iter().chain(ending(headers, &["-delivery", "-delivery-id"]));
    let id = names.filter_map(|name| headers.get(name)?.to_str().ok()).find(|id| !id.trim().is_empty());
    match id {
        None => Dedupe::Body,
        Some(id) if scheme.is_some_and(Scheme::covers_headers) => Dedupe::SignedId(id.into()),
        Some(id) => Dedupe::UnsignedId(id.into()),
    }
}

/// What the service calls it, as far as that is seen from outside.
fn event(headers: &HeaderMap) -> String {
    let named = ending(headers, &["-event", "-event-type", "-topic"]).find_map(|name| headers.get(name)?.to_str().ok());
    tercel_sdk::text::cut(named.unwrap_or("webhook"), 120)
}

fn ending<'h>(headers: &'h HeaderMap, endings: &'h [&str]) -> impl Iterator<Item = &'h str> {
    headers.keys().map(HeaderName::as_str).filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
}

async fn gather(mut body: Body) -> tercel_sdk::Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > LARGEST {
            return Err(Error::new(Kind::Error, format!("The answer has more than {} MB", LARGEST >> 20)));
        }
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_repetition_is_known_by_the_id_of_the_service() {
        let id = |name, value| dedupe(&headers(name, value), Some(&Scheme::standard("secret")));
        assert_eq!(id("webhook-id", "m1"), Dedupe::SignedId("m1".into()));
        assert_eq!(id("webhook-id", " "), Dedupe::Body);
        assert_eq!(id("x-other", "m1"), Dedupe::Body);
        assert_eq!(event(&headers("x-forge-event", "push")), "push");
        assert_eq!(event(&HeaderMap::new()), "webhook");
    }

    #[test]
    fn an_id_that_nobody_signed_is_not_enough() {
        for scheme in [None, Some(Scheme::stripe("secret"))] {
            for name in ["webhook-id", "x-forge-delivery", "forge-delivery-id"] {
                let known_by = dedupe(&headers(name, "d1"), scheme.as_ref());
                assert_eq!(known_by, Dedupe::UnsignedId("d1".into()), "{name}");
            }
        }
    }
}
