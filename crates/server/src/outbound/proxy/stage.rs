//! What processes meet in a rehearsal instead of the network: any host that they may reach, over TLS too, with answers
//! that were recorded. Only reads go out, and only when that is wanted.

use super::{
    HostPort, Proxy,
    authority::Authority,
    pass::Known,
    request::{Body, answered, strip},
    target,
};
use crate::outbound::{Asked, Fate, Rehearsal, Scope};
use anyhow::Context;
use http::{
    Request, Response, Uri,
    header::{CONTENT_LENGTH, HOST},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::io::Cursor;
use tercel_sdk::{
    Error, Kind, Mode, Result,
    http::{Request as Outgoing, Response as Answer},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// Bytes of a request.
const LARGEST: usize = 10 << 20;
/// What a connection begins with that speaks TLS.
const HANDSHAKE: u8 = 0x16;

pub struct Stage {
    rehearsal: Rehearsal,
    pub authority: Authority,
}

impl Stage {
    pub fn new(rehearsal: Rehearsal) -> anyhow::Result<Self> {
        Ok(Self { rehearsal, authority: Authority::new()? })
    }

    /// Whether the process may reach that host at all, outside of rehearsals.
    pub fn permits(&self, known: &Known, place: &HostPort) -> Result<()> {
        target::permitted(&known.permit, place).inspect_err(|error| {
            let (method, body) = ("CONNECT".into(), String::new());
            let fate = Fate::Refused { reason: error.to_string() };
            self.rehearsal.note(Asked { method, url: place.to_string(), body, fate });
        })
    }

    /// Answers what comes through a tunnel to that place, encrypted or not.
    pub async fn serve(
        &self,
        proxy: &Proxy,
        known: &Known,
        place: &HostPort,
        near: impl AsyncRead + AsyncWrite + Unpin,
    ) -> anyhow::Result<()> {
        let (mut reader, writer) = tokio::io::split(near);
        let mut first = [0];
        reader.read_exact(&mut first).await?;
        let near = tokio::io::join(Cursor::new(first).chain(reader), writer);
        if first != [HANDSHAKE] {
            return self.talk(proxy, known, &format!("http://{place}"), near).await;
        }
        let server = self.authority.server(&place.host).context("No certificate can be made")?;
        let near = TlsAcceptor::from(server).accept(near).await?;
        self.talk(proxy, known, &format!("https://{place}"), near).await
    }

    async fn talk(
        &self,
        proxy: &Proxy,
        known: &Known,
        origin: &str,
        near: impl AsyncRead + AsyncWrite + Unpin,
    ) -> anyhow::Result<()> {
        let service = service_fn(async |request| {
            let answer = self.answer(proxy, known, origin, request).await;
            Ok::<_, std::convert::Infallible>(answered(answer))
        });
        Ok(http1::Builder::new().serve_connection(TokioIo::new(near), service).await?)
    }

    /// Answers one request to that scheme, host and port.
    pub async fn answer(
        &self,
        proxy: &Proxy,
        known: &Known,
        origin: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>> {
        let (mut head, body) = request.into_parts();
        strip(&mut head.headers);
        head.headers.remove(HOST);
        let wrong = |error: Box<dyn std::error::Error + Send + Sync>| Error::new(Kind::Schema, error.to_string());
        let body = Limited::new(body, LARGEST).collect().await.map_err(wrong)?.to_bytes();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{origin}{path}").parse().map_err(|error: url::ParseError| wrong(error.into()))?;
        let scope = Scope { mode: Mode::Rehearse, rehearsal: self.rehearsal.clone(), ..known.scope() };
        let (method, headers) = (head.method, head.headers);
        let request = Outgoing { method, url, headers, body, timeout: None, repeatable: false, max_response: None };
        proxy.outbound.transport(scope).send(request).await.map(whole)
    }
}

/// Its length is counted anew.
fn whole(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Full::from(answer.body).map_err(|never| match never {}).boxed());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    strip(response.headers_mut());
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

/// Scheme, host and port of a request to a proxy.
pub fn origin(uri: &Uri, place: &HostPort) -> String {
    format!("{}://{place}", uri.scheme_str().unwrap_or("http"))
}
