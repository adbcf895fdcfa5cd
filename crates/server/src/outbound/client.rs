//! Carries one request out, hop by hop.

use super::{
    Outbound, Scope,
    address::HostPort,
    answer::{Answer, Broken, Lost, Watched, explain},
    ledger::Record,
    limits::Caller,
    redirect, rehearsal,
};
use chrono::Utc;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tercel_sdk::{
    Error, Kind, Result,
    http::{Request, Response, Streaming, Transport},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

/// Headers that describe the connection and not the request; they are the client's to write.
const NOT_THE_CALLERS: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub struct Line {
    pub outbound: Arc<Outbound>,
    pub scope: Scope,
}

impl Transport for Line {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            if let Some(answer) = rehearsal::answer(&self.scope, &request) {
                return answer;
            }
            let most = request.max_response.unwrap_or(self.outbound.options.max_response);
            self.follow(request).await?.whole(most).await
        })
    }

    fn stream(&self, request: Request) -> BoxFuture<'_, Result<Streaming>> {
        Box::pin(async move {
            if let Some(answer) = rehearsal::answer(&self.scope, &request) {
                return answer.map(Streaming::from);
            }
            let idle = request.timeout.unwrap_or(self.outbound.options.timeout);
            Ok(self.follow(request).await?.pieces(idle))
        })
    }
}

/// What of a request is used up on the way through its redirects.
struct Journey {
    left: Duration,
    /// Whether every hop so far was to an address that the operator gave.
    granted: bool,
    /// Whether an earlier hop changed something.
    written: bool,
}

impl Line {
    async fn follow(&self, mut request: Request) -> Result<Answer> {
        let left = request.timeout.unwrap_or(self.outbound.options.timeout);
        let mut journey = Journey { left, granted: true, written: false };
        for _ in 0..=redirect::MOST {
            let written = journey.written;
            let settle = |error: Error| if written { after_write(error) } else { error };
            let (response, record, permit) = self.hop(&request, &mut journey).await.map_err(settle)?;
            let Some(next) = redirect::next(&request, response.status(), response.headers()).map_err(settle)? else {
                return Ok(Answer {
                    host: request.url.host_str().unwrap_or_default().into(),
                    lost: if request.is_idempotent() && !written { Lost::Harmless } else { Lost::Unknown },
                    has_body: request.method != http::Method::HEAD,
                    left: journey.left,
                    cancel: self.scope.cancel.clone(),
                    response,
                    record,
                    _permit: permit,
                });
            };
            journey.written |= response.status() == StatusCode::SEE_OTHER && !request.is_idempotent();
            request = next;
        }
        let message = format!("The service redirected more than {} times", redirect::MOST);
        let error = Error::new(Kind::Error, message).hint("Check the address of the service");
        Err(if journey.written { after_write(error) } else { error })
    }

    async fn hop(
        &self,
        request: &Request,
        journey: &mut Journey,
    ) -> Result<(reqwest::Response, Record, OwnedSemaphorePermit)> {
        let Outbound { options, policy, limits, ledger, guarded, granted, .. } = &*self.outbound;
        let Some(place) = HostPort::of(&request.url) else {
            return Err(policy.check(&request.url, false).err().unwrap_or_else(no_host));
        };
        journey.granted &= self.scope.granted.contains(&place);
        if let Err(error) = policy.check(&request.url, journey.granted) {
            ledger.begin(&self.scope, request, &place).failed(error.kind);
            return Err(error);
        }

        let (integration, connection) = (self.scope.integration.clone(), self.scope.connection.clone());
        let caller = Caller { integration, connection, place: place.clone() };
        let permit = tokio::select! {
            biased;
            () = self.scope.cancel.cancelled() => return Err(explain(Broken::Cancelled, &place.host, Lost::NotSent)),
            permit = limits.admit(&caller, journey.left) => permit?,
        };

        let mut record = ledger.begin(&self.scope, request, &place);
        let watch = Arc::new(AtomicBool::new(request.is_idempotent() || request.body.is_empty()));
        let client = if journey.granted { granted } else { guarded };
        let call = client
            .request(request.method.clone(), request.url.clone())
            .headers(own(&request.headers))
            .body(Watched::body(request, &watch))
            .send();
        let started = Instant::now();
        (options.probe)("outbound.before");
        let outcome = tokio::select! {
            biased;
            () = self.scope.cancel.cancelled() => Err(Broken::Cancelled),
            outcome = timeout(journey.left, call) => match outcome {
                Ok(answer) => answer.map_err(Broken::Failed),
                Err(_) => Err(Broken::TimedOut(journey.left)),
            },
        };
        (options.probe)("outbound.after");
        journey.left = journey.left.saturating_sub(started.elapsed());

        let begun = watch.load(Ordering::Acquire);
        let response = outcome.map_err(|broken| {
            let lost = match begun {
                true if broken.is_before_sending() => Lost::NotSent,
                true if request.is_idempotent() => Lost::Harmless,
                true => Lost::Unknown,
                false => Lost::NotSent,
            };
            if lost != Lost::NotSent {
                record.sent(request.body.len());
            }
            let error = explain(broken, &place.host, lost);
            record.failed(error.kind);
            error
        })?;
        record.sent(request.body.len());
        record.answered(response.status().as_u16());
        limits.heed(&caller, response.status(), response.headers(), Utc::now());
        Ok((response, record, permit))
    }
}

/// The write before this happened; only its answer, to which it redirected, is missing.
fn after_write(error: Error) -> Error {
    let message = format!("The service took the request and redirected to its answer, which is missing: {error}");
    Error { kind: Kind::UnknownOutcome, message, ..error }
}

fn no_host() -> Error {
    Error::schema("The address has no host").hint("Use an address like https://api.example.com/path")
}

fn own(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in NOT_THE_CALLERS {
        headers.remove(name);
    }
    headers
}
