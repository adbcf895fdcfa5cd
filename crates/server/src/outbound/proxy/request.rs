//! One request to the proxy: a tunnel, or a request that is passed on.

use super::{
    HostPort, Proxy,
    pass::Known,
    relay::{Carried, relay},
    stage, target,
};
use crate::outbound::ledger::Record;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST, PROXY_AUTHENTICATE},
};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use tercel_sdk::{Error, Kind, Result};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};

pub type Body = BoxBody<Bytes, hyper::Error>;

/// Headers that are between the process and this proxy.
const HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub async fn answer(proxy: &Proxy, request: Request<Incoming>, tunnel: &Tunnel) -> Response<Body> {
    let Some(known) = proxy.passes.of(request.headers()) else {
        let mut refused =
            said(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "This proxy is for processes of integrations");
        refused.headers_mut().insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tercel\""));
        return refused;
    };
    let Some(place) = known.enter() else {
        return said(StatusCode::SERVICE_UNAVAILABLE, "This process has too many connections open: close some");
    };
    let answer = match *request.method() {
        Method::CONNECT => open_tunnel(proxy, &known, request, tunnel, place).await,
        _ => pass_on(proxy, &known, request, place).await,
    };
    answered(answer)
}

/// A failure, as the process reads it.
pub fn answered(answer: Result<Response<Body>>) -> Response<Body> {
    answer.unwrap_or_else(|error| {
        let status = match error.kind {
            Kind::Schema => StatusCode::BAD_REQUEST,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_GATEWAY,
        };
        let hint = error.hint.as_deref().map(|hint| format!(". {hint}")).unwrap_or_default();
        said(status, &format!("{}{hint}", error.message))
    })
}

/// What a connection becomes after it has asked for a tunnel.
#[derive(Default)]
pub struct Tunnel(Mutex<Option<Open>>);

struct Open {
    near: OnUpgrade,
    far: Far,
    known: Known,
    record: Option<Record>,
    idle: std::time::Duration,
    _place: OwnedSemaphorePermit,
}

enum Far {
    Host(TcpStream),
    /// In a rehearsal, what stands for that place.
    Stage(HostPort),
}

impl Tunnel {
    pub async fn carry(&self, proxy: &Proxy) {
        let Some(open) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let Ok(near) = open.near.await else { return };
        let carried = Carried::default();
        let far = match (open.far, &proxy.stage) {
            (Far::Host(far), _) => far,
            (Far::Stage(place), Some(stage)) => {
                // Whoever breaks off has its reasons.
                let _ = stage.serve(proxy, &open.known, &place, TokioIo::new(near)).await;
                return;
            }
            (Far::Stage(_), None) => return,
        };
        let ended = tokio::select! {
            ended = relay(TokioIo::new(near), far, open.idle, &carried) => ended,
            () = open.known.revoked.cancelled() => Ok(()),
        };
        if let Some(mut record) = open.record {
            record.sent(length(&carried.up));
            record.received(length(&carried.down));
            if ended.is_err() {
                record.failed(Kind::Network);
            }
        }
    }
}

async fn open_tunnel(
    proxy: &Proxy,
    known: &Known,
    mut request: Request<Incoming>,
    tunnel: &Tunnel,
    place: OwnedSemaphorePermit,
) -> Result<Response<Body>> {
    let target = target::place(request.uri(), None)?;
    let (far, record) = match proxy.staged(&target) {
        Some(stage) => {
            stage.permits(known, &target)?;
            (Far::Stage(target), None)
        }
        None => {
            let mut record = begin(proxy, known, &request, &target);
            let far = noted(&mut record, reach(proxy, known, &target).await)?;
            if let Some(record) = &mut record {
                record.answered(200);
            }
            (Far::Host(far), record)
        }
    };
    let near = hyper::upgrade::on(&mut request);
    let open = Open { near, far, known: known.clone(), record, idle: proxy.idle, _place: place };
    *tunnel.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
    Ok(Response::new(nothing()))
}

async fn pass_on(
    proxy: &Proxy,
    known: &Known,
    request: Request<Incoming>,
    place: OwnedSemaphorePermit,
) -> Result<Response<Body>> {
    if request.uri().scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(Error::new(Kind::Schema, "Only http:// addresses are passed on; https:// goes through a tunnel"));
    }
    let target = target::place(request.uri(), Some(80))?;
    if let Some(stage) = proxy.staged(&target) {
        stage.permits(known, &target)?;
        let origin = stage::origin(request.uri(), &target);
        return stage.answer(proxy, known, &origin, request).await;
    }
    let mut record = begin(proxy, known, &request, &target);
    let sent = Arc::new(AtomicU64::new(0));
    let passed = async {
        let far = reach(proxy, known, &target).await?;
        send(proxy, known, outgoing(request, &sent)?, far).await
    };
    let answer = noted(&mut record, passed.await)?;
    let (mut head, body) = answer.into_parts();
    strip(&mut head.headers);
    if let Some(record) = &mut record {
        record.answered(head.status.as_u16());
        record.sent(length(&sent));
    }
    let counted = body.map_frame(move |frame: Frame<Bytes>| {
        let _open = &place;
        if let Some(record) = &mut record {
            record.received(frame.data_ref().map_or(0, Bytes::len));
            record.sent(length(&sent));
        }
        frame
    });
    Ok(Response::from_parts(head, counted.boxed()))
}

/// Requests to the server itself go nowhere outside, and are in no ledger.
fn begin(proxy: &Proxy, known: &Known, request: &Request<Incoming>, target: &HostPort) -> Option<Record> {
    let method = request.method();
    (!proxy.is_api(target)).then(|| {
        let broken_off = if method.is_idempotent() { Kind::Network } else { Kind::UnknownOutcome };
        proxy.outbound.ledger.open(&known.scope(), method, request.uri().path(), target, broken_off)
    })
}

fn noted<T>(record: &mut Option<Record>, outcome: Result<T>) -> Result<T> {
    if let (Some(record), Err(error)) = (record, &outcome) {
        record.failed(error.kind);
    }
    outcome
}

async fn reach(proxy: &Proxy, known: &Known, target: &HostPort) -> Result<TcpStream> {
    let addresses = match proxy.is_api(target) {
        true => vec![proxy.api],
        false => target::admitted(proxy, &known.permit, target).await?,
    };
    tokio::select! {
        far = target::connect(proxy, target, &addresses) => far,
        () = known.revoked.cancelled() => Err(Error::new(Kind::Network, "The process has ended")),
    }
}

async fn send(proxy: &Proxy, known: &Known, request: Request<Body>, far: TcpStream) -> Result<Response<Incoming>> {
    let broken = |error: hyper::Error| Error::new(Kind::Network, format!("The host broke off: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(far)).await.map_err(broken)?;
    let revoked = known.revoked.clone();
    tokio::spawn(async move {
        tokio::select! {
            // Its end is the end of the answer, where it is noticed.
            _ = connection => {}
            () = revoked.cancelled() => {}
        }
    });
    let answer = timeout(proxy.idle, sender.send_request(request)).await;
    answer.map_err(|_| Error::new(Kind::Timeout, "The host does not answer"))?.map_err(broken)
}

/// As the host expects it: the path alone, and the host that was checked, whatever the process wrote there.
fn outgoing(request: Request<Incoming>, sent: &Arc<AtomicU64>) -> Result<Request<Body>> {
    let (mut head, body) = request.into_parts();
    strip(&mut head.headers);
    let wrong = |_| Error::new(Kind::Schema, "The address cannot be passed on");
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    head.headers.insert(
        HOST,
        HeaderValue::from_str(&authority).map_err(|_| Error::new(Kind::Schema, "The host cannot be passed on"))?,
    );
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse::<Uri>().map_err(wrong)?;
    let sent = sent.clone();
    let body = body.map_frame(move |frame: Frame<Bytes>| {
        sent.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        frame
    });
    Ok(Request::from_parts(head, body.boxed()))
}

pub fn strip(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_owned()))
        .collect();
    for name in named.iter().map(String::as_str).chain(HOP) {
        headers.remove(name);
    }
}

fn length(count: &AtomicU64) -> usize {
    usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
}

fn nothing() -> Body {
    Full::default().map_err(|never| match never {}).boxed()
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(Full::from(format!("{text}\n")).map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
