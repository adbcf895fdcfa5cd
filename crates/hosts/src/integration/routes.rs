//! Requests that a worker answers itself: passed on as they come, and so is what it answers.

use super::Extra;
use crate::{
    Problem,
    call::{Patience, seconds},
    description::Description,
    worker::{self, Failure, HOST, Supervisor},
};
use futures::{StreamExt, TryStreamExt};
use http::{Request, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::sync::Arc;
use tercel_sdk::{
    Error, Host, Kind, Result,
    routes::{Body, Routes},
};

pub fn routes(
    id: &str,
    described: &Description,
    worker: &Supervisor,
    extra: &Extra,
    problems: &mut Vec<Problem>,
) -> Option<Routes> {
    if described.routes.is_empty() && described.webhook.is_none() {
        return None;
    }
    let prefix = format!("/integrations/{id}");
    let webhook = described.webhook.as_ref().filter(|webhook| !webhook.path.is_empty());
    let path = webhook.and_then(|webhook| {
        let path = webhook.path.strip_prefix(&prefix).filter(|path| path.starts_with('/') && path.len() > 1);
        if path.is_none() {
            let message = format!("The webhook's path `{}` does not begin with {prefix}/", webhook.path);
            problems.push(Problem::new("setup.py", message));
        }
        path.map(str::to_owned)
    });
    let worker = worker.clone();
    Some(Routes {
        serve: Arc::new(move |host, request| {
            let worker = worker.clone();
            Box::pin(async move { serve(&worker, &host, request).await })
        }),
        list: described.routes.clone(),
        webhook: path,
        verify: extra.verify.clone(),
        webhook_description: webhook.map(|webhook| webhook.description.clone()).unwrap_or_default(),
    })
}

/// What goes wrong is the worker's last failure, too.
async fn serve(worker: &Supervisor, host: &Host, request: Request<Body>) -> Result<Response<Body>> {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let answer = answer(worker, host, request).await;
    match &answer {
        Ok(answer) if answer.status().is_server_error() => worker.note(format!("{asked} answered {}", answer.status())),
        Err(error) if error.kind != Kind::Network => worker.note(error.message.clone()),
        _ => {}
    }
    answer
}

async fn answer(worker: &Supervisor, host: &Host, request: Request<Body>) -> Result<Response<Body>> {
    let id = &worker.spec().integration;
    let patience = Patience::of(host, worker.spec().times.call);
    let Some(entered) = patience.bound(worker.enter()).await else {
        return Err(Error::new(Kind::Network, format!("The code of `{id}` is not ready yet")));
    };
    let open = entered?;
    let request = request_to_worker(request);
    let answer = tokio::select! {
        answer = open.client.send(request) => answer,
        () = host.cancelled().cancelled() => {
            return Err(Error::new(Kind::UnknownOutcome, format!("A request for `{id}` was cancelled")));
        }
        () = tokio::time::sleep_until(patience.until.into()) => {
            let place = worker::dump(worker, || open.dump()).await;
            worker.look_after(&open, place.clone());
            let place = place.map(|place| format!("; it was at {place}")).unwrap_or_default();
            let seconds = seconds(patience.whole);
            let message = format!("A request for `{id}` was not answered within {seconds} s{place}");
            return Err(Error::new(Kind::Timeout, message));
        }
    };
    match answer {
        Ok(answer) => {
            let (head, body) = answer.stream();
            let broken = |error: hyper::Error| Error::new(Kind::Error, format!("The answer broke off: {error}"));
            // The worker is not stopped while it answers.
            let body = body.map_err(broken).map(move |piece| {
                let _open = &open;
                piece
            });
            Ok(Response::from_parts(head, body.boxed()))
        }
        Err(Failure::NotSent(reason)) => Err(Error::new(Kind::Network, format!("`{id}` was not reached: {reason}"))),
        Err(Failure::Lost(reason)) => {
            let how = tokio::time::timeout(std::time::Duration::from_secs(1), open.ended()).await;
            let how = how.unwrap_or_else(|_| format!("hung up: {reason}"));
            Err(Error::new(Kind::UnknownOutcome, format!("A request for `{id}` was not answered: its worker {how}")))
        }
    }
}

/// The same request for the other connection: how its body is framed is a matter of that one.
fn request_to_worker(request: Request<Body>) -> Request<worker::Body> {
    let (mut head, body) = request.into_parts();
    let length = head.headers.remove(header::CONTENT_LENGTH);
    let is_empty = length.as_ref().is_some_and(|length| length == "0");
    head.headers.remove(header::TRANSFER_ENCODING);
    if let Some(path) = head.uri.path_and_query().cloned() {
        head.uri = path.into();
    }
    if !head.headers.contains_key(header::HOST) {
        head.headers.insert(header::HOST, HOST.parse().expect("it is a valid header"));
    }
    head.version = http::Version::HTTP_11;
    let has_none =
        is_empty || (length.is_none() && matches!(head.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS"));
    let body = if has_none {
        worker::full(bytes::Bytes::new())
    } else {
        // Known lengths stay known, which some frameworks want.
        head.headers.extend(length.map(|length| (header::CONTENT_LENGTH, length)));
        StreamBody::new(body.map_ok(Frame::data)).boxed_unsync()
    };
    Request::from_parts(head, body)
}
