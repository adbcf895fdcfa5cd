//! One-line tests for integrations: a host without a server, requests that are signed, answers that are scripted.

use crate::{
    Cursor, Dispatcher, Effect, Error, Gap, Host, Inbound, Integration, Kind, Missed, Outbound, Polled, Receipt,
    Received, Refusal, Result, Target, Trust,
    grant::Tokens,
    hook::HookEvent,
    host::{Context, Ids},
    http::{Request, Response, Transport},
    integration::{Checked, Revoked, Sample},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Respond = Box<dyn Fn(&Request) -> Result<Response> + Send + Sync>;

/// An outside service that answers as scripted and remembers what it was asked.
#[derive(Default)]
pub struct Fake {
    rules: Mutex<Vec<(String, Respond)>>,
    requests: Mutex<Vec<Request>>,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Answers `GET /path` (method, blank, path with query) with a status and JSON; a string is sent as it is.
    pub fn on(self: &Arc<Self>, request: &str, status: u16, body: Value) -> Arc<Self> {
        self.on_with(request, move |_| {
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            Ok(respond(status, &[], text))
        })
    }

    /// The same with anything that can be computed from the request. Later rules win.
    pub fn on_with(
        self: &Arc<Self>,
        request: &str,
        answer: impl Fn(&Request) -> Result<Response> + Send + Sync + 'static,
    ) -> Arc<Self> {
        self.rules.lock().unwrap().insert(0, (request.into(), Box::new(answer)));
        self.clone()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// An answer for [`Fake::on_with`].
pub fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()))
        .collect();
    Response::new(StatusCode::from_u16(status).unwrap(), headers, body.into())
}

impl Transport for Fake {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        let query = request.url.query().map(|q| format!("?{q}")).unwrap_or_default();
        let line = format!("{} {}{query}", request.method, request.url.path());
        let answer = match self.rules.lock().unwrap().iter().find(|(rule, _)| *rule == line) {
            Some((_, answer)) => answer(&request),
            None => Err(Error::new(Kind::Error, format!("the test has no answer for `{line}`"))),
        };
        self.requests.lock().unwrap().push(request);
        Box::pin(async move { answer })
    }
}

/// An integration under test, with field values and an outside world.
pub struct Bench {
    integration: Integration,
    fields: BTreeMap<String, String>,
    account: Option<String>,
    ids: Ids,
    fake: Arc<Fake>,
    tokens: Option<Arc<dyn Tokens>>,
}

/// Tokens one after the other: the next when one was refused.
struct Given(Mutex<Vec<String>>);

impl Tokens for Given {
    fn access(&self) -> BoxFuture<'_, Result<String>> {
        let token = self.0.lock().unwrap().first().cloned();
        Box::pin(async move { token.ok_or_else(|| Error::new(Kind::Auth, "the test has no more tokens")) })
    }

    fn refused<'a>(&'a self, token: &'a str) -> BoxFuture<'a, ()> {
        self.0.lock().unwrap().retain(|known| known != token);
        Box::pin(async {})
    }
}

/// Starts a test of an integration: `check(forge()).with("token", "t")`.
pub fn check(integration: Integration) -> Bench {
    let fields = integration.fields.iter().filter_map(|f| Some((f.key.clone(), f.default.clone()?))).collect();
    Bench { integration, fields, account: None, ids: Ids::default(), fake: Fake::new(), tokens: None }
}

impl Bench {
    pub fn with(mut self, key: &str, value: &str) -> Self {
        assert!(self.integration.fields.iter().any(|f| f.key == key), "no field `{key}` is declared");
        self.fields.insert(key.into(), value.into());
        self
    }

    pub fn account(mut self, login: &str) -> Self {
        self.account = Some(login.into());
        self
    }

    /// What its parts are called for: a run with a target, a rehearsal.
    pub fn ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    /// Tokens of its grant: the first until it is refused, then the next.
    pub fn tokens(mut self, tokens: &[&str]) -> Self {
        self.tokens = Some(Arc::new(Given(Mutex::new(tokens.iter().map(|&token| token.to_owned()).collect()))));
        self
    }

    pub fn world(mut self, fake: &Arc<Fake>) -> Self {
        self.fake = fake.clone();
        self
    }

    pub fn host(&self) -> Host {
        Host::new(Context {
            integration: self.integration.name.clone(),
            connection: "default".into(),
            call: Uuid::nil(),
            fields: Arc::new(self.fields.clone()),
            names: Arc::new(self.integration.fields.iter().map(|f| (f.key.clone(), f.env.clone())).collect()),
            account: self.account.clone(),
            ids: self.ids.clone(),
            mode: self.ids.mode,
            trust: Trust::Trusted,
            idempotency_key: None,
            deadline: None,
            cancel: CancellationToken::new(),
            transport: self.fake.clone(),
            tokens: self.tokens.clone(),
            state: PathBuf::new(),
        })
    }

    /// Signs a sample and gives it to the webhook.
    pub fn receive(&self, sample: &Sample) -> Result<Received, Refusal> {
        let webhook = self.integration.webhook.as_ref().expect("the integration has a webhook");
        let body = Bytes::from(sample.body.to_string());
        let mut headers: HeaderMap = sample
            .headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(name.as_str()).unwrap(), HeaderValue::try_from(value.as_str()).unwrap())
            })
            .collect();
        let now = UNIX_EPOCH + Duration::from_secs(1_750_000_000);
        let signature = webhook.sign(&self.host(), Inbound::new(headers.clone(), body.clone(), now))?;
        headers.extend(signature);
        self.receive_raw(headers, body, now)
    }

    /// Gives a request to the webhook as it is.
    pub fn receive_raw(&self, headers: HeaderMap, body: Bytes, now: SystemTime) -> Result<Received, Refusal> {
        let webhook = self.integration.webhook.as_ref().expect("the integration has a webhook");
        webhook.receive(&self.host(), Inbound::new(headers, body, now))
    }

    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Value> {
        let tool = self.integration.tools.iter().find(|t| t.name == tool).expect("the tool exists");
        (tool.handler)(self.host(), arguments.into()).await
    }

    pub fn effect(&self, tool: &str) -> Effect {
        self.integration.tools.iter().find(|t| t.name == tool).expect("the tool exists").effect
    }

    pub async fn test(&self) -> Result<Checked> {
        let connector = self.integration.connector.as_ref().expect("the integration has a connector");
        Ok(serde_json::from_value(connector(self.host(), Value::Null.into()).await?)?)
    }

    pub async fn revoke(&self) -> Result<Revoked> {
        let revoke = self.integration.revoke.as_ref().expect("the integration revokes credentials");
        Ok(serde_json::from_value(revoke(self.host(), Value::Null.into()).await?)?)
    }

    pub async fn poll(&self, name: &str, cursor: &Cursor) -> Result<Polled> {
        let poll = self.integration.polls.iter().find(|p| p.name == name).expect("the poll exists");
        let cursor = serde_json::to_value(cursor)?;
        Ok(serde_json::from_value((poll.handler)(self.host(), cursor.into()).await?)?)
    }

    pub async fn missed(&self, gap: &Gap) -> Result<Missed> {
        let missed = self.integration.missed.as_ref().expect("the integration fetches what was missed");
        Ok(serde_json::from_value(missed(self.host(), serde_json::to_value(gap)?.into()).await?)?)
    }

    /// Tells every hook that watches such events, in order; the answer of the last one.
    pub async fn tell<E: HookEvent>(&self, event: E) -> Result<Value> {
        let event = serde_json::to_value(event)?;
        let hooks: Vec<_> = self.integration.hooks.iter().filter(|hook| hook.event == E::NAME).collect();
        assert!(!hooks.is_empty(), "no hook watches `{}`", E::NAME);
        let mut answer = Value::Null;
        for hook in hooks {
            answer = (hook.handler)(self.host(), event.clone().into()).await?;
        }
        Ok(answer)
    }

    pub async fn deliver(&self, target: &Target, text: &str) -> Result<Receipt> {
        let dispatcher = self.integration.dispatchers.values().next().expect("the integration has a dispatcher");
        let answer = (dispatcher.deliver)(self.host(), Dispatcher::call(target, &outbound(text))).await?;
        Ok(serde_json::from_value(answer)?)
    }

    pub async fn find(&self, target: &Target, text: &str) -> Result<Option<Receipt>> {
        let dispatcher = self.integration.dispatchers.values().next().expect("the integration has a dispatcher");
        let find = dispatcher.find.as_ref().expect("the dispatcher has a find");
        Ok(serde_json::from_value(find(self.host(), Dispatcher::call(target, &outbound(text))).await?)?)
    }

    pub async fn update(&self, target: &Target, text: &str, receipt: &Receipt) -> Result<()> {
        let dispatcher = self.integration.dispatchers.values().next().expect("the integration has a dispatcher");
        let update = dispatcher.update.as_ref().expect("the dispatcher has an update");
        update(self.host(), Dispatcher::update_call(target, &outbound(text), receipt)).await.map(drop)
    }
}

/// An outbox row of a test: its marker is `test-marker`.
pub fn outbound(text: &str) -> Outbound {
    Outbound {
        id: Uuid::nil(),
        marker: "test-marker".into(),
        text: text.into(),
        part: 1,
        parts: 1,
        attempt: 1,
        bot_id: "default".into(),
        bot_name: None,
        task_id: None,
        session_id: None,
        created_at: "2026-01-01T00:00:00Z".into(),
        client_actions: Vec::new(),
    }
}
