//! What comes in by webhook, and what an integration makes of it.

use crate::{FromHost, Handler, Host, Result, Scheme, Target, Trust};
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime},
};

/// A request to a webhook address. Its body can be read only through [`Inbound::signed`] or [`Inbound::unsigned`].
#[derive(Debug, Clone)]
pub struct Inbound {
    headers: HeaderMap,
    body: Bytes,
    received_at: SystemTime,
    origin: Origin,
    source: Option<IpAddr>,
    witness: Arc<OnceLock<Witness>>,
}

/// What vouches for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The scheme, or why there is none.
    pub name: String,
    /// The header that holds the scheme's proof.
    pub header: Option<String>,
}

#[derive(Debug, Clone)]
enum Origin {
    /// Nobody knows yet.
    Network,
    /// It was verified when it was stored.
    Stored,
    /// Still to be signed: the signature goes here.
    Unsigned(Arc<Mutex<Option<HeaderMap>>>),
}

impl Inbound {
    pub fn new(headers: HeaderMap, body: Bytes, received_at: SystemTime) -> Self {
        Self { headers, body, received_at, origin: Origin::Network, source: None, witness: Arc::default() }
    }

    /// A request that was verified when it came, and is read again: its signature is not kept.
    pub fn stored(headers: HeaderMap, body: Bytes, received_at: SystemTime) -> Self {
        Self { headers, body, received_at, origin: Origin::Stored, source: None, witness: Arc::default() }
    }

    /// The address that it came from, as far as that is known.
    pub fn source(mut self, address: Option<IpAddr>) -> Self {
        self.source = address;
        self
    }

    /// Whether it came from an address that is allowed. One that is read again, or made here, came from an allowed one.
    pub fn came_from(&self, allowed: impl Fn(IpAddr) -> bool) -> bool {
        match self.origin {
            Origin::Network => self.source.is_some_and(|address| allowed(address.to_canonical())),
            Origin::Stored | Origin::Unsigned(_) => true,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// # Errors
    /// `Refusal::Signature` when the signature is missing, wrong or too old.
    pub fn signed(self, scheme: &Scheme) -> Result<Signed, Refusal> {
        match &self.origin {
            Origin::Network => scheme.verify(&self.headers, &self.body, self.received_at)?,
            Origin::Stored => {}
            Origin::Unsigned(signature) => {
                let headers = scheme.sign(&self.body, self.received_at);
                *signature.lock().expect("no holder of this lock panics") = Some(headers);
                return Err(Refusal::signature("This request was only to be signed"));
            }
        }
        Ok(self.read(scheme.name().into(), Some(scheme.proof_header().into())))
    }

    /// For a service that cannot sign; `reason` is shown on the card.
    pub fn unsigned(self, reason: impl Into<String>) -> Signed {
        self.read(reason.into(), None)
    }

    /// Filled in once somebody has read the body.
    pub fn witness(&self) -> Arc<OnceLock<Witness>> {
        self.witness.clone()
    }

    fn read(self, name: String, header: Option<String>) -> Signed {
        self.witness.get_or_init(|| Witness { name, header });
        Signed { headers: self.headers, body: self.body }
    }
}

/// A request whose origin was checked.
#[derive(Debug, Clone)]
pub struct Signed {
    headers: HeaderMap,
    body: Bytes,
}

impl Signed {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// # Errors
    /// `Refusal::Malformed` when the body is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Refusal::malformed(format!("The body is not the JSON expected: {e}")))
    }

    /// One field of a body of type `application/x-www-form-urlencoded`.
    pub fn form_field(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403: who sent this is not known.
    #[error("{0}")]
    Signature(String),
    /// 400: known, but not understood.
    #[error("{0}")]
    Malformed(String),
}

impl Refusal {
    pub fn signature(message: impl Into<String>) -> Self {
        Self::Signature(message.into())
    }

    pub fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed(message.into())
    }
}

impl From<crate::Error> for Refusal {
    fn from(error: crate::Error) -> Self {
        match error.hint {
            Some(hint) => Self::Signature(format!("{}. {hint}", error.message)),
            None => Self::Signature(error.message),
        }
    }
}

/// How a repetition of the same delivery is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Dedupe {
    /// No id: equal bodies within 60 seconds are one.
    #[default]
    Body,
    /// An id that the signature covers: the same id within 30 days is the same delivery.
    SignedId(String),
    /// The same, for as long as this.
    Within(String, Duration),
    /// An id that the signature does not cover: by id, and by body for 24 hours, so that a replay under a new id is caught.
    UnsignedId(String),
    /// Every request is a delivery of its own (a doorbell).
    Never,
}

/// What a webhook function answers: the outcome, and how a repetition is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub dedupe: Dedupe,
    /// Name of the event in the service's own words: `pull_request.opened`.
    pub name: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All of them are stored in one transaction.
    Events(Vec<Event>),
    /// Nothing to do, and why. Listed with the deliveries.
    Ignored(String),
    /// The service wants this answer (a ping, a URL challenge).
    Reply(Reply),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub body: Bytes,
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        Self { status: 200, content_type: "application/json".into(), body: body.to_string().into() }
    }

    pub fn text(body: impl Into<String>) -> Self {
        Self { status: 200, content_type: "text/plain; charset=utf-8".into(), body: body.into().into() }
    }
}

/// Something that happened outside, addressed to a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The lasting place it comes from: `forge:owner/repo`.
    pub from: String,
    /// Its name in the service's own words, where that is another than its delivery's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A conversation of its own inside that place: `pr/42`.
    #[serde(default)]
    pub thread: Option<String>,
    /// What the agent reads.
    pub text: String,
    /// Who wrote the text. Outside events are untrusted unless said otherwise.
    #[serde(default)]
    pub trust: Trust,
    /// Where the answer goes, unless the operator said otherwise.
    #[serde(default)]
    pub reply_to: Option<Target>,
    /// What this run needs beyond what the bot has. `None`: the event is only kept.
    #[serde(default)]
    pub brief: Option<Brief>,
    /// The bot that answers where no channel says otherwise.
    #[serde(default)]
    pub bot: Option<String>,
    /// A bot wrote it: it is kept, and answered only in a channel that allows that. Two bots that answer each other do
    /// not stop by themselves.
    #[serde(default)]
    pub by_bot: bool,
    /// No agent is asked: the text itself goes where an answer would go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relay: bool,
    /// One run for all that are alike and come within a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// After a run, others that are alike are kept and not run for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Cooldown>,
    /// How long it is worth a run, should that have to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf_life: Option<Duration>,
    /// What the service itself knows it by: the same within 30 days is the same event, whether it comes by webhook or is
    /// polled. A [`News`](crate::News) has the same id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Event {
    /// An untrusted event that is kept and starts no run.
    pub fn stored(from: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            name: None,
            thread: None,
            text: text.into(),
            trust: Trust::Untrusted,
            reply_to: None,
            brief: None,
            bot: None,
            by_bot: false,
            relay: false,
            merge: None,
            cooldown: None,
            shelf_life: None,
            id: None,
        }
    }

    /// The id that polls know it by, too.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    pub fn thread(mut self, thread: impl Into<String>) -> Self {
        self.thread = Some(thread.into());
        self
    }

    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    pub fn reply_to(mut self, target: Target) -> Self {
        self.reply_to = Some(target);
        self
    }

    /// Runs the agent with this brief.
    pub fn run(mut self, brief: Brief) -> Self {
        self.brief = Some(brief);
        self
    }

    pub fn bot(mut self, id: impl Into<String>) -> Self {
        self.bot = Some(id.into());
        self
    }

    /// Says that a bot wrote it.
    pub fn by_bot(mut self, is: bool) -> Self {
        self.by_bot = is;
        self
    }
}

/// Events of one place and thread that are alike, and come within a while, are answered by one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// Those with the same value are alike.
    pub by: String,
    /// How long the first waits for others.
    pub wait: Duration,
    /// How many one run answers at the most.
    pub most: u32,
}

/// After a run for an event, others of its place and thread that are alike are kept and not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// Those with the same value are alike.
    pub by: String,
    pub pause: Duration,
}

/// `execution_config`: what one run gets beyond what its bot has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// A system message just before the event's text.
    #[serde(default, rename = "system_preamble", skip_serializing_if = "Option::is_none")]
    pub preamble: Option<String>,
    /// Skill ids; their full text is put into the context.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// Names of tools, for this run only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    #[serde(default, rename = "model_override", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

type Receive = dyn Fn(&Host, Inbound) -> Result<Received, Refusal> + Send + Sync;

/// A webhook part.
#[derive(Clone)]
pub struct Webhook {
    receive: Arc<Receive>,
    /// What its address ends in: `/integrations/<name>/<path>`.
    pub path: String,
    /// What it is for, as its writer says.
    pub description: String,
    /// The events that it knows, where they are listed.
    pub events: Vec<String>,
    /// Tells the service where to send: `{url}` goes in, and `{id}`, if the service has a name for that, comes out.
    pub register: Option<Handler>,
    /// Tells the service that nothing is to come any more: `{url, id}` goes in.
    pub unregister: Option<Handler>,
}

impl Webhook {
    pub fn new<H, F>(receive: F) -> Self
    where
        H: FromHost,
        F: Fn(H, Inbound) -> Result<Received, Refusal> + Send + Sync + 'static,
    {
        Self {
            receive: Arc::new(move |host, request| receive(H::from_host(host)?, request)),
            path: "webhook".into(),
            description: String::new(),
            events: Vec::new(),
            register: None,
            unregister: None,
        }
    }

    /// Verifies and reads a request. Pure: the same request gets the same answer.
    pub fn receive(&self, host: &Host, request: Inbound) -> Result<Received, Refusal> {
        (self.receive)(host, request)
    }

    /// The headers that make `request` acceptable to [`Webhook::receive`]: empty for a service that does not sign.
    ///
    /// # Errors
    /// What stands in the way of signing: usually a secret that is not set.
    pub fn sign(&self, host: &Host, mut request: Inbound) -> Result<HeaderMap, Refusal> {
        let slot = Arc::new(Mutex::new(None));
        request.origin = Origin::Unsigned(slot.clone());
        let outcome = self.receive(host, request);
        let signed = slot.lock().expect("no holder of this lock panics").take();
        match (signed, outcome) {
            (Some(headers), _) => Ok(headers),
            (None, Ok(_)) => Ok(HeaderMap::new()),
            (None, Err(refusal)) => Err(refusal),
        }
    }
}
