//! One call of a part: what it is given, how long it may take, what its failure means.

use crate::worker::{Failure, HOST, Open, Supervisor, dump, full};
use bytes::Bytes;
use http::{Method, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};
use tercel_sdk::{Error, Host, Kind, Mode, Result, Trust};
use uuid::Uuid;

/// What a part may have done that did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// Nothing: it can simply be called again.
    None,
    /// Something outside may have been changed.
    Effect,
}

/// A part of a worker.
#[derive(Clone)]
pub struct Part {
    pub worker: Supervisor,
    /// As the protocol names it: `tool`.
    pub kind: &'static str,
    pub name: String,
    pub risk: Risk,
}

#[derive(Serialize)]
struct Body<'a> {
    call: Uuid,
    part: &'static str,
    name: &'a str,
    arguments: &'a Value,
    context: Context<'a>,
    deadline_ms: u128,
}

#[derive(Serialize)]
struct Context<'a> {
    bot_id: Option<&'a str>,
    session_id: Option<Uuid>,
    channel_id: Option<Uuid>,
    client_id: Option<&'a str>,
    correlation_id: Option<Uuid>,
    task_id: Option<Uuid>,
    delivery_id: Option<Uuid>,
    dispatch_type: Option<&'a str>,
    dispatch_config: Option<&'a Map<String, Value>>,
    injected_tools: &'a [String],
    trust: Trust,
    mode: Mode,
    idempotency_key: Option<&'a str>,
    connection: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(default)]
    code: Value,
    #[serde(default)]
    message: String,
    hint: Option<String>,
    status: Option<u16>,
    retry_after: Option<f64>,
    details: Option<String>,
}

/// Before the server gives a call up, we find out what holds it up.
const EARLIER: Duration = Duration::from_millis(700);
/// How much of what a part printed goes into its error.
const DETAILS: usize = 2_000;

impl Part {
    pub async fn call(&self, host: &Host, arguments: &Value) -> Result<Value> {
        let answer = self.asked(host, arguments).await;
        if let Err(error) = &answer
            && is_fault(error)
        {
            let (what, why) = (self.to_string(), &error.message);
            self.worker.note(if why.starts_with(&what) { why.clone() } else { format!("{what}: {why}") });
        }
        answer
    }

    async fn asked(&self, host: &Host, arguments: &Value) -> Result<Value> {
        let patience = Patience::of(host, self.worker.spec().times.call);
        let Some(entered) = patience.bound(self.worker.enter()).await else {
            return Err(Error::new(Kind::Network, format!("{self} was not called: its worker is not ready yet")));
        };
        let open = entered?;
        let body = Body {
            call: host.call(),
            part: self.kind,
            name: &self.name,
            arguments,
            context: Context::of(host),
            deadline_ms: patience.whole.as_millis(),
        };
        let body = serde_json::to_vec(&body)?;
        let request = Request::builder().method(Method::POST).uri("/v1/call").header("host", HOST);
        let request = request
            .header("content-type", "application/json")
            .body(full(body))
            .map_err(|error| Error::new(Kind::Error, format!("{self} could not be called: {error}")))?;
        let exchange = async {
            let answer = open.client.send(request).await?;
            let status = answer.head.status();
            Ok((status, answer.bytes().await?))
        };
        tokio::pin!(exchange);
        let exchanged = tokio::select! {
            exchanged = &mut exchange => exchanged,
            () = host.cancelled().cancelled() => return Err(self.lost("was cancelled".into())),
            () = tokio::time::sleep_until(patience.until.into()) => return Err(self.late(&open, patience.whole).await),
        };
        match exchanged {
            Ok((status, bytes)) if status.is_success() => self.read(&bytes),
            Ok((status, bytes)) => {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
                Err(self.lost(format!("has a fault: its worker answered {status} {text}")))
            }
            Err(Failure::NotSent(reason)) => {
                Err(Error::new(Kind::Network, format!("{self} could not be called: {reason}")))
            }
            Err(Failure::Lost(reason)) => Err(self.died(&open, &reason).await),
        }
    }

    fn read(&self, bytes: &Bytes) -> Result<Value> {
        let answer: Answer = serde_json::from_slice(bytes)
            .map_err(|error| self.lost(format!("has a fault: its worker answered what is no answer: {error}")))?;
        match answer.error {
            None => Ok(answer.result),
            Some(failed) => Err(failed.into_error()),
        }
    }

    /// It has ended in the middle of a call, or was ended.
    async fn died(&self, open: &Open, reason: &str) -> Error {
        let how = tokio::time::timeout(Duration::from_secs(1), open.ended()).await;
        let how = how.unwrap_or_else(|_| format!("hung up: {reason}"));
        self.lost(format!("did not end: its worker {how}"))
    }

    async fn late(&self, open: &Open, whole: Duration) -> Error {
        let place = dump(&self.worker, || open.dump()).await;
        self.worker.look_after(open, place.clone());
        let place = place.map(|place| format!("; it was at {place}")).unwrap_or_default();
        let kind = if self.risk == Risk::None { Kind::Timeout } else { Kind::UnknownOutcome };
        Error::new(kind, format!("{self} took longer than {} s{place}", seconds(whole)))
    }

    fn lost(&self, what: String) -> Error {
        let kind = if self.risk == Risk::None { Kind::Error } else { Kind::UnknownOutcome };
        Error::new(kind, format!("{self} {what}"))
    }
}

/// Whether something is wrong with the code, as far as that is seen from outside.
fn is_fault(error: &Error) -> bool {
    matches!(error.kind, Kind::Error | Kind::Timeout | Kind::UnknownOutcome | Kind::MissingDependency)
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = &self.worker.spec().integration;
        match self.kind {
            "tool" => write!(f, "The tool `{}` of `{id}`", self.name),
            kind => write!(f, "`{kind}` of `{id}`"),
        }
    }
}

/// As people say it.
pub fn seconds(time: Duration) -> f32 {
    (time.as_secs_f32() * 10.0).round() / 10.0
}

/// How long a call may take.
pub struct Patience {
    pub whole: Duration,
    /// When we act.
    pub until: Instant,
}

impl Patience {
    pub fn of(host: &Host, most: Duration) -> Self {
        let now = Instant::now();
        match host.deadline().map(|deadline| deadline.saturating_duration_since(now)) {
            Some(left) if left <= most => Self { whole: left, until: now + left - EARLIER.min(left / 4) },
            _ => Self { whole: most, until: now + most },
        }
    }

    /// `None` when it is over first.
    pub async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.until.into(), work).await.ok()
    }
}

impl<'a> Context<'a> {
    fn of(host: &'a Host) -> Self {
        let ids = host.ids();
        Self {
            bot_id: ids.bot.as_deref(),
            session_id: ids.session,
            channel_id: ids.channel,
            client_id: ids.client_id.as_deref(),
            // A run is what belongs together.
            correlation_id: ids.task,
            task_id: ids.task,
            delivery_id: ids.delivery,
            dispatch_type: ids.target.as_ref().map(|target| target.kind.as_str()),
            dispatch_config: ids.target.as_ref().map(|target| &target.config),
            injected_tools: &ids.injected_tools,
            trust: host.trust(),
            mode: host.mode(),
            idempotency_key: host.idempotency_key(),
            connection: host.connection(),
        }
    }
}

impl Failed {
    fn into_error(self) -> Error {
        let kind = serde_json::from_value(self.code).unwrap_or(Kind::Error);
        let message = if self.message.is_empty() { format!("It failed ({})", kind.as_str()) } else { self.message };
        let details: String = self.details.unwrap_or_default().trim().chars().take(DETAILS).collect();
        let message = if details.is_empty() { message } else { format!("{message}\n{details}") };
        let wait = self.retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let error = Error { hint: self.hint, status: self.status, ..Error::new(kind, message) };
        error.retry_after(wait)
    }
}
