//! HTTP as the bench speaks it: one keep-alive connection to a caller, nothing in between.

use crate::server::KEY;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// A server that has not answered by then is stuck, and the bench shall end.
const PATIENCE: Duration = Duration::from_secs(30);

pub type Body = Full<Bytes>;

pub struct Line(SendRequest<Body>);

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Line {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Its failure is the failure of the request that is under way.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a request and reads the answer to its end.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Answer> {
        let answer = async {
            self.0.ready().await?;
            let (head, body) = self.0.send_request(request).await?.into_parts();
            Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
        };
        timeout(PATIENCE, answer).await.with_context(|| format!("no complete answer came within {PATIENCE:?}"))?
    }

    /// Sends a request, waits a moment for the answer that begins, and is gone.
    pub async fn hang_up(mut self, request: Request<Body>, moment: Duration) -> Result<()> {
        let beginning = async {
            self.0.ready().await?;
            let answer = self.0.send_request(request).await?;
            // Comes to nothing where the answer is whole sooner.
            let _ = timeout(moment, answer.collect()).await;
            Ok(())
        };
        timeout(PATIENCE, beginning).await.with_context(|| format!("no answer began within {PATIENCE:?}"))?
    }
}

impl Answer {
    /// The JSON of an answer that says yes.
    pub fn json(&self) -> Result<Value> {
        if !self.status.is_success() {
            bail!("the server answered {}: {}", self.status, self.beginning());
        }
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.beginning()))
    }

    pub fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(300).collect()
    }
}

/// The API of a server, with the key that may do everything.
#[derive(Clone, Copy)]
pub struct Api {
    pub address: SocketAddr,
}

impl Api {
    pub fn get(&self, path: &str) -> Request<Body> {
        self.request("GET", path, Bytes::new())
    }

    pub fn post(&self, path: &str, body: &Value) -> Request<Body> {
        self.request("POST", path, body.to_string().into())
    }

    fn request(&self, method: &str, path: &str, body: Bytes) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .expect("method, path and headers are plain text")
    }

    pub async fn call(&self, request: Request<Body>) -> Result<Value> {
        let path = request.uri().to_string();
        let answer = Line::open(self.address).await?.send(request).await;
        answer.and_then(|answer| answer.json()).context(path)
    }

    /// All pages of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut line = Line::open(self.address).await?;
        let mut all = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let answer = line.send(self.get(&path)).await?;
            let Value::Array(page) = answer.json().with_context(|| path.clone())? else { bail!("{path}: no list") };
            if page.is_empty() {
                break;
            }
            all.extend(page);
            next = next_page(&answer.headers);
        }
        Ok(all)
    }
}

/// Path and query of the `Link` to the next page.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get("link")?.to_str().ok()?;
    let one = link.split(',').find(|one| one.contains("rel=\"next\""))?;
    let url = one.split_once('<')?.1.split_once('>')?.0;
    Some(match url.split_once("://") {
        Some((_, rest)) => rest[rest.find('/')?..].to_owned(),
        None => url.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(link: &str) -> Option<String> {
        next_page(&HeaderMap::from_iter([(hyper::header::LINK, link.parse().unwrap())]))
    }

    #[test]
    fn the_next_page_is_found_in_relative_and_absolute_links() {
        let wanted = Some("/api/v1/tasks?limit=2&cursor=x".to_owned());
        assert_eq!(check("</api/v1/tasks?limit=2&cursor=x>; rel=\"next\""), wanted);
        assert_eq!(check("<http://127.0.0.1:1/api/v1/tasks?limit=2&cursor=x>; rel=\"next\""), wanted);
        assert_eq!(check("</api/v1/tasks>; rel=\"prev\""), None);
    }
}
