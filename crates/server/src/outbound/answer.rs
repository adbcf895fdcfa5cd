//! An answer on its way in, and what it means when it does not arrive.

use super::{address::Refused, ledger::Record};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use hyper::body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    error::Error as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tercel_sdk::{
    Error, Kind, Result,
    http::{Request, Response, Streaming},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// An answer whose headers are here.
pub struct Answer {
    pub response: reqwest::Response,
    pub record: Record,
    pub host: String,
    pub lost: Lost,
    pub has_body: bool,
    /// Of the request's time.
    pub left: Duration,
    pub cancel: CancellationToken,
    pub _permit: OwnedSemaphorePermit,
}

impl Answer {
    /// Reads the body. A failing status says enough: what could be read of its body is the answer.
    pub async fn whole(mut self, most: usize) -> Result<Response> {
        let status = self.response.status();
        let mut body = BytesMut::new();
        let until = Instant::now() + self.left;
        let read = loop {
            match self.piece(until, self.left).await {
                Ok(Some(piece)) if body.len() + piece.len() > most => {
                    body.extend_from_slice(&piece[..most - body.len()]);
                    break Err(self.too_large(most));
                }
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match read {
            Err(error) if status.is_success() => Err(error.status(status.as_u16())),
            _ => Ok(Response::new(status, std::mem::take(self.response.headers_mut()), body.freeze())),
        }
    }

    /// Hands the body on as it comes; no piece may take longer than `idle`.
    pub fn pieces(mut self, idle: Duration) -> Streaming {
        let (status, headers) = (self.response.status(), std::mem::take(self.response.headers_mut()));
        let body = stream::try_unfold(self, move |mut answer| async move {
            let piece = answer.piece(Instant::now() + idle, idle).await?;
            Ok(piece.map(|piece| (piece, answer)))
        });
        Streaming { status, headers, body: body.boxed() }
    }

    async fn piece(&mut self, until: Instant, limit: Duration) -> Result<Option<Bytes>> {
        if !self.has_body {
            return Ok(None);
        }
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Broken::Cancelled),
            piece = timeout_at(until, self.response.chunk()) => match piece {
                Ok(piece) => piece.map_err(Broken::Failed),
                Err(_) => Err(Broken::TimedOut(limit)),
            },
        };
        let piece = outcome.map_err(|broken| {
            let error = explain(broken, &self.host, self.lost);
            self.record.failed(error.kind);
            error
        })?;
        self.record.received(piece.as_ref().map_or(0, Bytes::len));
        Ok(piece)
    }

    fn too_large(&mut self, most: usize) -> Error {
        let message = format!("`{}` answered with more than {most} bytes", self.host);
        let error = match self.lost {
            Lost::Unknown => Error::new(Kind::UnknownOutcome, format!("{message}; what was asked for happened there")),
            _ => Error::schema(message).hint("Ask for less, or allow more for this request"),
        };
        self.record.failed(error.kind);
        error
    }
}

/// Why there is no complete answer.
pub enum Broken {
    Cancelled,
    TimedOut(Duration),
    Failed(reqwest::Error),
}

impl Broken {
    /// Whether it is certain that no connection took the request.
    pub fn is_before_sending(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_connect() || error.is_builder())
    }
}

/// What a missing answer leaves behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nothing went out.
    NotSent,
    /// It may have gone out; sending it again does no harm.
    Harmless,
    /// It may have gone out, and nobody knows what it did.
    Unknown,
}

/// The error for the caller, in the terms of the contract.
pub fn explain(broken: Broken, host: &str, lost: Lost) -> Error {
    let (lost, why) = match broken {
        Broken::Cancelled => (lost, "the call was cancelled".to_owned()),
        Broken::TimedOut(limit) if lost == Lost::Harmless => {
            return Error::new(Kind::Timeout, format!("`{host}` did not answer within {} s", limit.as_secs_f32()))
                .hint("Try again later; if the service is slow by nature, allow the request more time");
        }
        Broken::TimedOut(limit) => (lost, format!("no answer within {} s", limit.as_secs_f32())),
        Broken::Failed(error) => {
            if let Some(refused) = refused(&error) {
                return refused.into();
            }
            if error.is_builder() {
                return Error::schema(format!("The request to `{host}` cannot be written: {}", cause(&error)));
            }
            // The client calls a connection that broke in the body undecodable, too.
            let is_broken = causes(&error).any(|inner| inner.is::<hyper::Error>());
            if error.is_decode() && !is_broken && lost == Lost::Harmless {
                return Error::schema(format!("The answer of `{host}` cannot be decoded: {}", cause(&error)));
            }
            (lost, cause(&error))
        }
    };
    match lost {
        Lost::NotSent => Error::new(Kind::Network, format!("`{host}` was not reached: {why}"))
            .hint("Nothing was sent. Check the address and whether this machine can reach it"),
        Lost::Harmless => Error::new(Kind::Network, format!("`{host}` did not answer completely: {why}")),
        Lost::Unknown => {
            Error::new(Kind::UnknownOutcome, format!("`{host}` may have taken the request, but did not say so: {why}"))
                .hint("Look there before sending it again")
        }
    }
}

fn refused(error: &reqwest::Error) -> Option<Refused> {
    causes(error).find_map(|error| error.downcast_ref()).cloned()
}

/// The innermost reason: the outer ones repeat the address, which may hold a secret.
fn cause(error: &reqwest::Error) -> String {
    match causes(error).last() {
        Some(inner) => inner.to_string(),
        None => "the client gave up".into(),
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |inner| std::error::Error::source(*inner))
}

/// A body that notes when the connection begins to take it: until then nothing of the request was sent.
pub struct Watched {
    rest: Option<Bytes>,
    begun: Arc<AtomicBool>,
}

impl Watched {
    pub fn body(request: &Request, begun: &Arc<AtomicBool>) -> reqwest::Body {
        // A request that may be repeated keeps its plain body, so that the client can repeat it where HTTP/2 asks to.
        if begun.load(Ordering::Acquire) {
            return request.body.clone().into();
        }
        reqwest::Body::wrap(Self { rest: Some(request.body.clone()), begun: begun.clone() })
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.begun.store(true, Ordering::Release);
        Poll::Ready(self.rest.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
