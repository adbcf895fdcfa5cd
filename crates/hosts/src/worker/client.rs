//! HTTP to a worker: over its socket, on connections that are kept.

use super::socket::Socket;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tercel_sdk::Error;

pub type Body = UnsyncBoxBody<Bytes, Error>;

/// A worker may close a connection that nobody uses; before it does, we do not use it any more.
const KEPT: Duration = Duration::from_secs(2);
/// Answers that are read whole.
const LARGEST: usize = 64 << 20;

#[derive(Clone)]
pub struct Client(Arc<Pool>);

struct Pool {
    socket: Socket,
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The worker has not seen the request.
    NotSent(String),
    /// It may have.
    Lost(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(reason) => write!(f, "The worker cannot be reached: {reason}"),
            Self::Lost(reason) => write!(f, "The worker hung up: {reason}"),
        }
    }
}

/// An answer whose body is still to come, and the connection it comes on.
pub struct Answer {
    pub head: Response<Incoming>,
    sender: SendRequest<Body>,
    client: Client,
}

impl Client {
    pub fn new(socket: Socket) -> Self {
        Self(Arc::new(Pool { socket, idle: Mutex::default() }))
    }

    pub async fn send(&self, mut request: Request<Body>) -> Result<Answer, Failure> {
        while let Some(mut sender) = self.take() {
            match sender.try_send_request(request).await {
                Ok(head) => return Ok(Answer { head, sender, client: self.clone() }),
                // Given back untouched: this connection had ended.
                Err(mut error) => match error.take_message() {
                    Some(back) => request = back,
                    None => return Err(Failure::Lost(error.into_error().to_string())),
                },
            }
        }
        let mut sender = self.connect().await.map_err(|error| Failure::NotSent(error.to_string()))?;
        match sender.send_request(request).await {
            Ok(head) => Ok(Answer { head, sender, client: self.clone() }),
            Err(error) => Err(Failure::Lost(error.to_string())),
        }
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Body>> {
        let stream = self.0.socket.connect().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it hears of the failure.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn take(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.0.idle.lock().expect("nothing panics while it holds the pool");
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < KEPT);
        let ready = idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(idle.swap_remove(ready).0)
    }

    fn give_back(&self, sender: SendRequest<Body>) {
        let mut idle = self.0.idle.lock().expect("nothing panics while it holds the pool");
        idle.push((sender, Instant::now()));
    }
}

impl Answer {
    /// The body, whole.
    pub async fn bytes(self) -> Result<Bytes, Failure> {
        let body = Limited::new(self.head.into_body(), LARGEST);
        let bytes = body.collect().await.map_err(|error| Failure::Lost(error.to_string()))?.to_bytes();
        self.client.give_back(self.sender);
        Ok(bytes)
    }

    /// Status and headers, and the body as it comes. Who drops the body hangs up.
    pub fn stream(self) -> (http::response::Parts, impl Stream<Item = Result<Bytes, hyper::Error>> + Send + 'static) {
        let (head, body) = self.head.into_parts();
        let state = (body.into_data_stream(), self.sender, self.client);
        let stream = futures::stream::unfold(Some(state), |state| async {
            let (mut body, sender, client) = state?;
            match body.next().await {
                Some(Ok(piece)) => Some((Ok(piece), Some((body, sender, client)))),
                Some(Err(error)) => Some((Err(error), None)),
                None => {
                    client.give_back(sender);
                    None
                }
            }
        });
        (head, stream)
    }
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A request without a body.
pub fn empty(method: &str, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", HOST);
    request.body(full(Bytes::new())).expect("it is made of valid parts")
}

/// There is no host at the other end of a socket, and HTTP wants one.
pub const HOST: &str = "worker";
