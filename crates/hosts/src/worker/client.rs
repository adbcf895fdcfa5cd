//! HTTP to a worker: over its socket, on connections that are kept.

use super::socket::Socket;
use bytes::Bytes;
use futures::Stream;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
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
            // At once, or as soon as it has noticed that its last answer was read.
            if sender.ready().await.is_err() {
                continue;
            }
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
        let ready = idle.iter().rposition(|(sender, _)| sender.is_ready()).or(idle.len().checked_sub(1))?;
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

    /// Status and headers, and the body as it comes. Who drops the body before its end hangs up.
    pub fn stream(self) -> (http::response::Parts, impl Stream<Item = Result<Bytes, hyper::Error>> + Send + 'static) {
        let (head, body) = self.head.into_parts();
        // Servers of HTTP answer a failure of their application first, and hang up then.
        let is_kept = !head.status.is_server_error();
        let rest = Rest { body, sender: self.sender, client: self.client, is_kept };
        (head, futures::stream::unfold(rest.or_give_back(), async |rest| rest?.next().await))
    }
}

/// What is still to come of a body, and the connection it comes on.
struct Rest {
    body: Incoming,
    sender: SendRequest<Body>,
    client: Client,
    is_kept: bool,
}

impl Rest {
    async fn next(mut self) -> Option<(Result<Bytes, hyper::Error>, Option<Self>)> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Some((Ok(piece), self.or_give_back()));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => {
                    self.give_back();
                    return None;
                }
            }
        }
    }

    /// Itself, unless nothing follows: who knows the length of a body never asks for what comes after its last piece.
    fn or_give_back(self) -> Option<Self> {
        if !self.body.is_end_stream() {
            return Some(self);
        }
        self.give_back();
        None
    }

    fn give_back(self) {
        if self.is_kept {
            self.client.give_back(self.sender);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::io::{Read, Write};

    /// Answers each connection's requests in turn, each with the next of the answers; says how many connections it took.
    fn worker(answers: &'static [&'static str]) -> (Client, tempfile::TempDir, Arc<Mutex<usize>>) {
        let place = tempfile::tempdir().unwrap();
        let (socket, listener) = Socket::bind(&place.path().join("run")).unwrap();
        let taken = Arc::new(Mutex::new(0));
        let count = taken.clone();
        std::thread::spawn(move || {
            let mut answers = answers.iter();
            for stream in listener.incoming() {
                *count.lock().unwrap() += 1;
                let mut stream = stream.unwrap();
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    let Some(answer) = answers.next() else { return };
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        (Client::new(socket), place, taken)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_whether_or_not_the_end_of_a_body_was_asked_for() {
        let (client, _place, taken) = worker(&[
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ]);
        for expected in ["ok", "", "ok", "", "ok"] {
            let (head, body) = client.send(empty("GET", "/")).await.unwrap().stream();
            let mut body = std::pin::pin!(body);
            let length = head.headers.get("content-length").map(|length| length.to_str().unwrap().parse().unwrap());
            let mut got = String::new();
            // As a server does that passes it on.
            while length.is_none_or(|length: usize| got.len() < length) {
                let Some(piece) = body.next().await else { break };
                got += std::str::from_utf8(&piece.unwrap()).unwrap();
            }
            assert_eq!(got, expected);
        }
        assert_eq!(*taken.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_connection_is_not_used_again_after_a_failure() {
        const ANSWER: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
        let (client, _place, taken) = worker(&[ANSWER, ANSWER]);
        for _ in 0..2 {
            let (_, body) = client.send(empty("GET", "/")).await.unwrap().stream();
            assert!(std::pin::pin!(body).next().await.is_none());
        }
        assert_eq!(*taken.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn a_connection_whose_answer_was_not_read_is_given_up() {
        const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok";
        let (client, _place, taken) = worker(&[ANSWER, ANSWER]);
        for _ in 0..2 {
            let (_, body) = client.send(empty("GET", "/")).await.unwrap().stream();
            assert_eq!(std::pin::pin!(body).next().await.unwrap().unwrap(), "ok");
        }
        assert_eq!(*taken.lock().unwrap(), 2);
    }
}
