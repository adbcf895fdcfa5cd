//! A server with an integration of the test's own and a model that does as it is told.

use axum::{Json, Router, body::Body, extract::ConnectInfo, http::Request, routing::post};
use http_body_util::BodyExt;
use postgres::{Database, Postgres};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercel::{
    api,
    app::App,
    config::{Config, Environment},
    outbox, part, runner,
};
use tercel_sdk::Integration;
use tower::ServiceExt;

#[path = "../../../../tests/harness/postgres.rs"]
#[expect(dead_code, reason = "servers are not stopped here")]
mod postgres;

const KEY: &str = "the-key-of-these-tests";

pub struct World {
    pub app: Arc<App>,
    router: Router,
    model_calls: Arc<AtomicUsize>,
}

/// The integration that tests fill with parts.
pub fn board() -> Integration {
    Integration::new("board")
}

/// Where servers of a test store, one after the other: a directory and, with `TEST_ENGINE=postgres`, a database. It lasts
/// as long as the test.
pub struct Place {
    directory: tempfile::TempDir,
    _database: Option<Database>,
}

/// The addresses of databases, by directories.
static DATABASES: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());

pub fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let is_postgres = std::env::var_os("TEST_ENGINE").is_some_and(|engine| engine == "postgres");
    let database = is_postgres.then(|| Postgres::shared().database());
    if let Some(database) = &database {
        DATABASES.lock().unwrap().insert(directory.path().to_owned(), database.url.clone());
    }
    Place { directory, _database: database }
}

impl Place {
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        DATABASES.lock().unwrap().remove(self.directory.path());
    }
}

/// A server that works. Parts have half a second.
pub async fn start(place: &Path, integrations: Vec<Integration>) -> World {
    let world = open(place, integrations).await;
    world.work();
    world
}

/// The same before it begins to work.
pub async fn open(place: &Path, integrations: Vec<Integration>) -> World {
    open_with(place, integrations, &[]).await
}

pub async fn open_with(place: &Path, integrations: Vec<Integration>, settings: &[(&str, &str)]) -> World {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let model_calls = Arc::new(AtomicUsize::new(0));
    let mut environment = Environment::default();
    for (name, value) in [
        ("TERCEL_DATA_DIR", place.to_str().unwrap()),
        ("TERCEL_RATE", "0"),
        ("TERCEL_RUNS_PER_HOUR", "0"),
        ("API_KEY", KEY),
        ("LLM_MODEL", "obedient"),
        ("LLM_BASE_URL", &obedient_model(model_calls.clone()).await),
    ] {
        environment.set(name, value);
    }
    if let Some(url) = DATABASES.lock().unwrap().get(place) {
        environment.set("DATABASE_URL", url.as_str());
    }
    settings.iter().for_each(|(name, value)| environment.set(name, *value));
    let half = Duration::from_millis(500);
    let limits =
        part::Limits { tool: half, webhook: half, dispatcher: half, connector: half, ..part::Limits::default() };
    let config = Config { limits, ..Config::from(environment).unwrap() };
    let app = App::open(config, integrations).await.unwrap();
    World { router: api::router(app.clone()), app, model_calls }
}

/// Answers `call <tool> <arguments>` with a call of that tool and anything else with what it read.
async fn obedient_model(calls: Arc<AtomicUsize>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async move |Json(request): Json<Value>| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        let messages = request["messages"].as_array().unwrap();
        let asked = messages.iter().rposition(|message| message["role"] == "user").unwrap();
        let read: Vec<&str> = messages[asked + 1..]
            .iter()
            .filter(|m| m["role"] == "tool")
            .filter_map(|m| m["content"].as_str())
            .map(plain)
            .collect();
        let words = messages[asked]["content"].as_str().map(plain).unwrap();
        let tool = words.lines().find_map(|line| line.strip_prefix("call "));
        if !read.is_empty() && words.ends_with("then say nothing") {
            std::future::pending::<()>().await;
        }
        let message = match tool {
            Some(name) if read.len() < if words.ends_with("twice") { 2 } else { 1 } => {
                let (name, arguments) = name.split_once(' ').unwrap_or((name, "{}"));
                let function = json!({"name": name, "arguments": arguments});
                json!({"role": "assistant", "content": null, "tool_calls": [{"id": format!("c{call}"), "type": "function", "function": function}]})
            }
            Some(_) => json!({"role": "assistant", "content": read.join("\n")}),
            None => json!({"role": "assistant", "content": format!("You said: {words}")}),
        };
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
        Json(json!({"model": "obedient", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}))
    };
    let router = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/v1")
}

/// What stands between the marks of untrusted text.
fn plain(text: &str) -> &str {
    let inner = text.strip_prefix('⟦').and_then(|rest| Some(rest.split_once('\n')?.1.rsplit_once('\n')?.0));
    inner.unwrap_or(text)
}

impl World {
    pub fn work(&self) {
        self.app.work.spawn(runner::run_all(self.app.clone()));
        self.app.work.spawn(outbox::send_all(self.app.clone()));
    }

    pub fn model_calls(&self) -> usize {
        self.model_calls.load(Ordering::SeqCst)
    }

    /// As the command `serve` stops.
    pub async fn stop(&self) {
        self.app.stopping.cancel();
        self.app.work.close();
        self.app.work.wait().await;
        self.app.store.close().await;
    }

    pub async fn send(&self, mut request: Request<Body>) -> (u16, Value) {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1))));
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// A request with the key of these tests.
    pub fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {KEY}"))
    }

    pub async fn try_call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(method, path);
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request.body(body).unwrap()).await
    }

    /// Answers the body of a success.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_call(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer:#}");
        answer
    }

    pub async fn get(&self, path: &str) -> Value {
        self.call("GET", path, Value::Null).await
    }

    pub async fn webhook(&self, headers: axum::http::HeaderMap, body: &str) -> (u16, Value) {
        let mut request = Request::post("/integrations/board/webhook").body(Body::from(body.to_owned())).unwrap();
        request.headers_mut().extend(headers);
        self.send(request).await
    }

    /// A conversation with a bot that may use every tool; its answers go to `dispatch_config`.
    pub async fn session(&self, dispatch_config: Value) -> String {
        self.call("PUT", "/api/v1/bots/default", json!({"id": "default", "tools": ["*"]})).await;
        let body = json!({"client_id": "test:place", "dispatch_config": dispatch_config});
        self.call("POST", "/api/v1/sessions", body).await["session_id"].as_str().unwrap().to_owned()
    }

    /// Says something and answers the task.
    pub async fn say(&self, session: &str, text: &str) -> String {
        let body = json!({"content": text, "run_agent": true, "notify": false});
        let posted = self.call("POST", &format!("/api/v1/sessions/{session}/messages"), body).await;
        posted["task_id"].as_str().unwrap_or_else(|| panic!("{posted:#}")).to_owned()
    }

    /// The task when it has ended: its stream of events ends with it.
    pub async fn ended(&self, task: &str) -> Value {
        let request =
            Request::get(format!("/api/v1/tasks/{task}/events")).header("authorization", format!("Bearer {KEY}"));
        let streamed = self.send(request.body(Body::empty()).unwrap());
        tokio::time::timeout(Duration::from_secs(20), streamed).await.expect("the task ends");
        self.get(&format!("/api/v1/tasks/{task}")).await
    }

    /// The first row of the outbox of a task, once it is in that state.
    pub async fn row(&self, task: &str, state: &str) -> Value {
        self.until(&format!("a row is {state}"), async || {
            let rows = self.get("/api/v1/outbox").await;
            rows.as_array().unwrap().iter().find(|row| row["task_id"] == task && row["state"] == state).cloned()
        })
        .await
    }

    pub async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let seen = async {
            loop {
                if let Some(seen) = look().await {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), seen).await {
            Ok(seen) => seen,
            Err(_) => panic!("never: {what}; {:#}", self.get("/api/v1/outbox").await),
        }
    }

    pub async fn open_notices(&self) -> Vec<String> {
        let notices = self.app.store.notices(Some(true), None, 100).await.unwrap();
        notices.into_iter().map(|notice| notice.key).collect()
    }
}
