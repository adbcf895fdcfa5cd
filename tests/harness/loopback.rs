//! A small HTTP server that can also do what real ones do on bad days: hang up, or never answer.

use crate::RUNTIME;
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `Null` when the body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub enum Reply {
    Answer(Box<Response<Body>>),
    /// The connection is closed without a word.
    Close,
    /// The connection stays open without a word.
    Never,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &[("content-type", "application/json; charset=utf-8")], body.to_string())
    }

    pub fn text(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        let head =
            headers.iter().fold(Response::builder().status(status), |head, (name, value)| head.header(*name, *value));
        Self::Answer(Box::new(head.body(body).unwrap()))
    }

    pub fn stream(content_type: &str, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data)));
        let head = Response::builder().header("content-type", content_type);
        Self::Answer(Box::new(head.body(body.boxed_unsync()).unwrap()))
    }
}

pub struct Loopback {
    address: SocketAddr,
    handler: Handler,
    accepting: Option<AbortHandle>,
}

impl Loopback {
    pub fn start<F>(handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let handler: Handler = Arc::new(move |request| handler(request).boxed());
        let accepting = Some(accept(listener, handler.clone()));
        Self { address, handler, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nobody listens any more; open connections are cut.
    pub fn shut(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }

    /// The same address again.
    pub fn open(&mut self) {
        let listener =
            crate::until("the address can be bound again", || RUNTIME.block_on(TcpListener::bind(self.address)).ok());
        self.accepting = Some(accept(listener, self.handler.clone()));
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.shut();
    }
}

fn accept(listener: TcpListener, handler: Handler) -> AbortHandle {
    let accepting = RUNTIME.spawn(async move {
        // Dropped with this task, and every connection with it.
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Too many open files, for one: that passes.
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let handler = handler.clone();
            let service = hyper::service::service_fn(move |request| answer(handler.clone(), request));
            connections.spawn(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
    accepting.abort_handle()
}

/// Hyper closes the connection when this fails.
async fn answer(handler: Handler, request: http::Request<hyper::body::Incoming>) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let query = head.uri.query().unwrap_or_default();
    let request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: head.headers,
        body,
    };
    match handler(request).await {
        Reply::Answer(response) => Ok(*response),
        Reply::Close => Err(io::Error::other("the test hangs up")),
        Reply::Never => std::future::pending().await,
    }
}
