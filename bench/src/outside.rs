//! The world outside the server: a model that takes as long as it is told, and a GitHub that takes every comment.

use anyhow::Result;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpSocket;

pub struct Outside {
    address: SocketAddr,
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    /// Milliseconds.
    latency: AtomicU64,
    open: AtomicUsize,
    most_open: AtomicUsize,
    answered: AtomicUsize,
    asked: AtomicUsize,
    /// One call in so many fails; 0: none.
    failing: AtomicUsize,
    comments: AtomicU64,
}

impl Outside {
    pub async fn start() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        // Thousands of runs call at once; a full queue of connections would cost them a second each.
        let listener = socket.listen(4096)?;
        let address = listener.local_addr()?;
        let world = Arc::new(World::default());
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/user", get(|| async { Json(json!({"login": "bench-bot", "id": 1, "type": "User"})) }))
            .route(
                "/repos/{owner}/{name}/issues/{number}/comments",
                post(comment).get(|| async { Json(Value::Array(Vec::new())) }),
            )
            .with_state(world.clone());
        let listener = listener.tap_io(|stream| {
            // Without it answers are late, not wrong.
            let _ = stream.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, world })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets how long the model takes and forgets what was counted.
    pub fn latency(&self, latency: Duration) {
        self.world.latency.store(latency.as_millis() as u64, Ordering::Relaxed);
        self.world.most_open.store(0, Ordering::Relaxed);
        self.world.answered.store(0, Ordering::Relaxed);
        self.world.comments.store(0, Ordering::Relaxed);
    }

    /// How many requests the model had before it at the same time, at the most.
    pub fn most_open(&self) -> usize {
        self.world.most_open.load(Ordering::Relaxed)
    }

    /// Lets one call of the model in so many fail; 0: none.
    pub fn fail_one_in(&self, calls: usize) {
        self.world.failing.store(calls, Ordering::Relaxed);
    }

    /// Comments that GitHub took.
    pub fn posted(&self) -> u64 {
        self.world.comments.load(Ordering::Relaxed)
    }

    pub fn answered(&self) -> usize {
        self.world.answered.load(Ordering::Relaxed)
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    stream: bool,
}

async fn complete(State(world): State<Arc<World>>, body: Bytes) -> Response {
    let Ok(asked) = serde_json::from_slice::<Asked>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let open = Open::new(&world);
    let latency = world.latency.load(Ordering::Relaxed);
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    drop(open);
    let (nth, failing) = (world.asked.fetch_add(1, Ordering::Relaxed), world.failing.load(Ordering::Relaxed));
    if failing > 0 && nth % failing == 0 {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the model has a fault").into_response();
    }
    world.answered.fetch_add(1, Ordering::Relaxed);
    match asked.stream {
        true => ([(CONTENT_TYPE, "text/event-stream")], STREAMED).into_response(),
        false => ([(CONTENT_TYPE, "application/json")], WHOLE).into_response(),
    }
}

/// A request that the model is thinking about; also one that was given up.
struct Open<'a>(&'a World);

impl<'a> Open<'a> {
    fn new(world: &'a World) -> Self {
        let open = world.open.fetch_add(1, Ordering::Relaxed) + 1;
        world.most_open.fetch_max(open, Ordering::Relaxed);
        Self(world)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn comment(State(world): State<Arc<World>>) -> (StatusCode, Json<Value>) {
    let id = world.comments.fetch_add(1, Ordering::Relaxed) + 1;
    (StatusCode::CREATED, Json(json!({"id": id, "html_url": format!("https://github.com/comments/{id}")})))
}

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1767600000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"Looks good to me: small, tested, and it says what it does."},"finish_reason":"stop"}],"usage":{"prompt_tokens":420,"completion_tokens":14,"total_tokens":434}}"#;

const STREAMED: &str = concat!(
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767600000,"model":"bench","choices":[{"index":0,"delta":{"role":"assistant","content":"Looks good to me: "},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767600000,"model":"bench","choices":[{"index":0,"delta":{"content":"small, tested, and it says what it does."},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767600000,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767600000,"model":"bench","choices":[],"usage":{"prompt_tokens":420,"completion_tokens":14,"total_tokens":434}}"#,
    "\n\ndata: [DONE]\n\n",
);
