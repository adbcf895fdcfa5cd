//! The API for commands: that of the running server through its socket, else that of this process on the same data.

use crate::{api, app::App, config::Config, folders};
use anyhow::{Context, Result, bail};
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};
use tower::ServiceExt;

pub enum Client {
    /// A server runs on the data directory.
    Running(PathBuf),
    /// None does, so that this process may open it.
    Here { app: Arc<App>, router: Router },
}

/// The server that runs on the data directory.
pub async fn connect(config: &Config) -> Option<Client> {
    let socket = config.data_dir.join("tercel.sock");
    // A server that was killed leaves its socket behind; nobody answers there.
    UnixStream::connect(&socket).await.is_ok().then_some(Client::Running(socket))
}

/// The same for commands that are of no use without one.
pub async fn running(config: &Config) -> Result<Client> {
    let none = || format!("No server runs on {}; `tercel serve` starts one", config.data_dir.display());
    connect(config).await.with_context(none)
}

/// The running server, else the data directory itself.
pub async fn open(config: Config) -> Result<Client> {
    match connect(&config).await {
        Some(client) => Ok(client),
        None => Ok(Client::here(App::open(config, tercel_integrations::all()).await?)),
    }
}

/// The same with the folders of integrations.
pub async fn open_with_folders(config: Config) -> Result<Client> {
    let client = open(config).await?;
    if let Client::Here { app, .. } = &client {
        folders::load::load(app, folders::load::LONG).await?;
    }
    Ok(client)
}

impl Client {
    pub fn here(app: Arc<App>) -> Self {
        Self::Here { router: api::for_operator(api::router(app.clone())), app }
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    /// All of a list, piece by piece.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let (headers, piece) = self.exchange(Method::GET, &path, None).await?;
            match piece {
                Value::Array(piece) => all.extend(piece),
                other => bail!("{path} is not answered with a list: {other}"),
            }
            next = following(&headers);
        }
        Ok(all)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.ask(Method::DELETE, path, None).await
    }

    /// Posts, and gives the answer on piece by piece.
    ///
    /// # Errors
    /// What the API said, when the answer ends before its end, or what `take` says.
    pub async fn download(&self, path: &str, body: &Value, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let request = Request::post(path)
            .header(header::HOST, "tercel")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::from(body.to_string()))?;
        let response = self.begin(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            bail!("{}", complaint(status, &read(&body.collect().await?.to_bytes())));
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.context("The server did not finish; its log says why")?;
            if let Some(piece) = frame.data_ref() {
                take(piece)?;
            }
        }
        Ok(())
    }

    /// Closes what this process opened.
    pub async fn close(self) {
        if let Self::Here { app, .. } = self {
            app.stopping.cancel();
            app.folders.stop().await;
            app.store.close().await;
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.exchange(method, path, body).await.map(|(_, answer)| answer)
    }

    /// # Errors
    /// What the API said, for an answer that is not a success.
    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(HeaderMap, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "tercel")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let (parts, body) = self.begin(request).await?.into_parts();
        let answer = read(&body.collect().await.context("The server did not finish its answer")?.to_bytes());
        match parts.status.is_success() {
            true => Ok((parts.headers, answer)),
            false => bail!("{}", complaint(parts.status, &answer)),
        }
    }

    /// The answer, of which the body may still be on its way.
    async fn begin(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>> {
        match self {
            Self::Running(socket) => {
                let stream = UnixStream::connect(socket).await.context("The server has ended")?;
                let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(sender.send_request(request).await.context("The server does not answer")?.map(Body::new))
            }
            Self::Here { router, .. } => Ok(router.clone().oneshot(request.map(Body::new)).await?),
        }
    }
}

/// Where a list goes on.
fn following(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned())
}

/// Sends one request over a connection of its own.
pub async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.context("The server does not answer")?;
    let status = response.status();
    Ok((status, response.into_body().collect().await.context("The server did not finish its answer")?.to_bytes()))
}

/// Gives one request to a router of this process.
pub async fn through(router: &Router, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
    let response = router.clone().oneshot(request.map(Body::new)).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// A request to a webhook, as a service sends it.
pub fn webhook(path: &str, headers: HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::post(path).header(header::HOST, "tercel").body(Full::new(body))?;
    request.headers_mut().extend(headers);
    Ok(request)
}

/// A body as JSON; what is not JSON is a text.
pub fn read(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)))
}

/// What a person reads of an answer that is no success.
pub fn complaint(status: StatusCode, answer: &Value) -> String {
    let problems =
        answer["problems"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "));
    match answer["detail"].as_str().map(str::to_owned).or(problems) {
        Some(detail) => detail,
        None => format!("The server answered {status}: {}", tercel_sdk::text::cut(&answer.to_string(), 300)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[tokio::test]
    async fn a_list_is_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut environment = Environment::default();
        environment.set("TERCEL_DATA_DIR", directory.path().to_str().unwrap());
        let client = Client::here(App::open(Config::from(environment).unwrap(), Vec::new()).await.unwrap());
        for name in ["a", "b", "c", "d", "e"] {
            client.post("/api/v1/keys", &json!({"name": name, "scopes": ["tasks:read"]})).await.unwrap();
        }
        let keys = client.list("/api/v1/keys?limit=2").await.unwrap();
        let names: Vec<&str> = keys.iter().map(|key| key["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["e", "d", "c", "b", "a"]);
        assert!(client.list("/health").await.is_err());
        client.close().await;
    }

    #[test]
    fn a_failure_says_what_the_server_said() {
        let said = |status, answer| complaint(StatusCode::from_u16(status).unwrap(), &answer);
        assert_eq!(said(404, json!({"detail": "There is no key", "code": "not_found"})), "There is no key");
        assert_eq!(said(503, json!({"ready": false, "problems": ["Full", "Stuck"]})), "Full; Stuck");
        assert_eq!(said(502, json!("proxy")), "The server answered 502 Bad Gateway: \"proxy\"");
    }

    #[test]
    fn a_body_is_json_text_or_nothing() {
        assert_eq!(read(b""), Value::Null);
        assert_eq!(read(br#"{"a":1}"#), json!({"a": 1}));
        assert_eq!(read(b"pong"), json!("pong"));
    }
}
