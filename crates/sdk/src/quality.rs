//! What a good integration has. It is looked at without its service: whatever it asks is refused.

use crate::{
    Host, Inbound, Integration, Kind, Outcome, Result, Trust,
    field::FieldType,
    host::{Context, Ids},
    http::{Request, Response, Transport},
    integration::Sample,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Whether parts are called as well. Those that run in a process of their own are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    AtParts,
    AtWhatItSays,
}

/// Longer than this nothing thinks that asks nobody.
const PATIENCE: Duration = Duration::from_secs(2);
/// A word that every pattern of a setting would be asked for; it is long enough to be a secret.
const VALUE: &str = "refused-value-0123456789";

/// What it lacks, each in words; empty when it has all that a good one has.
pub async fn lacks(integration: &Integration, look: Look) -> Vec<String> {
    let mut lacks = Vec::new();
    let mut lack = |words: String| lacks.push(words);
    for field in integration.fields.iter().filter(|field| field.required) {
        let says = !field.help.is_empty() || !field.placeholder.is_empty() || field.default.is_some() || field.generate;
        if !says {
            lack(format!("where the value of `{}` comes from", field.key));
        }
    }
    let calls = !integration.dispatchers.is_empty() || !integration.tools.is_empty() || integration.sync.is_some();
    match &integration.connector {
        None if !integration.fields.is_empty() && (calls || !integration.polls.is_empty()) => {
            lack("a test of its connection".into());
        }
        Some(connector) if look == Look::AtParts => {
            let asked = connector(host(integration), Value::Null.into());
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(_)) => lack("a test of its connection that asks the service".into()),
                Ok(Err(error)) if error.kind == Kind::Auth && error.hint.is_some() => {}
                _ => lack("a reason, and what to do, when credentials are refused".into()),
            }
        }
        _ => {}
    }
    if let Some(webhook) = &integration.webhook {
        if look == Look::AtParts && !is_guarded(integration) {
            lack("a signature that is checked, or a reason why none is".into());
        }
        let had: Vec<String> = integration.samples.iter().flat_map(|sample| names(integration, sample)).collect();
        for event in webhook.events.iter().filter(|event| look == Look::AtParts && !had.contains(event)) {
            lack(format!("a fixture of the event `{event}`"));
        }
    }
    let receives =
        integration.webhook.is_some() || integration.routes.as_ref().is_some_and(|routes| routes.webhook.is_some());
    if receives && integration.samples.is_empty() {
        lack("a fixture of an event".into());
    }
    if integration.sync.as_ref().is_some_and(|sync| !sync.idempotent && sync.find.is_none()) {
        lack("a way to know a record that was pushed before".into());
    }
    if !integration.tools.is_empty() && integration.skills.is_empty() {
        lack("a skill for its tools".into());
    }
    let steps = |mark: &str| [1, 2].iter().all(|step| integration.readme.contains(&format!("\n{mark}{step}. ")));
    if !(steps("") || steps("## ")) {
        lack("a README that says in steps how it is connected".into());
    }
    if integration.icon.is_empty() || integration.icon == Integration::new("").icon {
        lack("an icon".into());
    }
    lacks
}

/// Whether a request without a signature is refused, or taken for a reason.
fn is_guarded(integration: &Integration) -> bool {
    let Some(webhook) = &integration.webhook else { return true };
    let request = Inbound::new(HeaderMap::new(), Bytes::from_static(b"{}"), SystemTime::now());
    let witness = request.witness();
    let received = webhook.receive(&host(integration), request);
    received.is_err() || witness.get().is_some_and(|witness| !witness.name.is_empty())
}

/// What is made of a sample that is signed as it has to be.
fn names(integration: &Integration, sample: &Sample) -> Vec<String> {
    let Some(webhook) = &integration.webhook else { return Vec::new() };
    let (host, now) = (host(integration), SystemTime::now());
    let body = Bytes::from(sample.body.to_string());
    let given = sample.headers.iter();
    let mut headers: HeaderMap = given
        .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?)))
        .collect();
    let Ok(signature) = webhook.sign(&host, Inbound::new(headers.clone(), body.clone(), now)) else {
        return Vec::new();
    };
    headers.extend(signature);
    match webhook.receive(&host, Inbound::new(headers, body, now)) {
        Ok(received) => match received.outcome {
            Outcome::Events(events) => {
                events.into_iter().filter_map(|event| event.name).chain([received.name]).collect()
            }
            _ => vec![received.name],
        },
        Err(_) => Vec::new(),
    }
}

struct Refuses;

impl Transport for Refuses {
    fn send(&self, _request: Request) -> BoxFuture<'_, Result<Response>> {
        let body = Bytes::from_static(br#"{"error": "unauthorized", "message": "Unauthorized"}"#);
        Box::pin(async move { Ok(Response::new(StatusCode::UNAUTHORIZED, HeaderMap::new(), body)) })
    }
}

/// With a value for everything that needs one.
fn host(integration: &Integration) -> Host {
    let value = |field: &crate::Field| match (&field.default, field.options.first(), field.kind) {
        (Some(default), ..) => Some(default.clone()),
        (_, Some(option), _) => Some(option.clone()),
        (.., FieldType::Url) => Some("https://refuses.invalid".to_owned()),
        (.., FieldType::Number) => Some("1".to_owned()),
        _ => (field.required || field.secret).then(|| VALUE.to_owned()),
    };
    let fields: BTreeMap<String, String> =
        integration.fields.iter().filter_map(|field| Some((field.key.clone(), value(field)?))).collect();
    Host::new(Context {
        integration: integration.name.clone(),
        connection: "quality".into(),
        call: Uuid::nil(),
        fields: Arc::new(fields),
        names: Arc::new(integration.fields.iter().map(|field| (field.key.clone(), field.env.clone())).collect()),
        account: None,
        ids: Ids::default(),
        mode: Ids::default().mode,
        trust: Trust::Untrusted,
        idempotency_key: None,
        deadline: None,
        cancel: CancellationToken::new(),
        transport: Arc::new(Refuses),
        tokens: None,
        state: PathBuf::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checked, Depth, Error, Field, Received, Refusal, Scheme, inbound::Dedupe};

    fn receive(host: Host, request: Inbound) -> Result<Received, Refusal> {
        let signed = request.signed(&Scheme::bearer(host.field("secret")?))?;
        let event = crate::Event::stored("desk:a", String::from_utf8_lossy(signed.body()));
        let outcome = Outcome::Events(vec![event]);
        Ok(Received { dedupe: Dedupe::Body, name: "opened".into(), outcome })
    }

    async fn refused(host: Host) -> Result<Checked> {
        let answer = host.http().get("https://desk.example/me").send().await?;
        answer.ok().map_err(|error: Error| error.hint("Make a new token"))?;
        Ok(Checked { depth: Depth::Auth, account: None, account_id: None, message: String::new() })
    }

    async fn pleased(_host: Host) -> Result<Checked> {
        Ok(Checked { depth: Depth::Auth, account: None, account_id: None, message: "Fine".into() })
    }

    fn good() -> Integration {
        Integration::new("desk")
            .icon("Bell")
            .field(Field::password("secret", "Secret").required().help("From the settings"))
            .webhook(receive)
            .connector(refused)
            .readme("# Desk\n\n1. One\n2. Two\n")
            .sample("opened", r#"{"headers": {}, "body": {"a": 1}}"#)
    }

    #[tokio::test]
    async fn one_that_has_all_of_it_lacks_nothing() {
        assert_eq!(lacks(&good(), Look::AtParts).await, [] as [&str; 0]);
    }

    #[tokio::test]
    async fn each_lack_is_said() {
        let check = async |integration: Integration, said: &str| {
            let lacks = lacks(&integration, Look::AtParts).await;
            assert_eq!(lacks.len(), 1, "{lacks:?}");
            assert!(lacks[0].contains(said), "{lacks:?}");
        };
        check(good().icon("Plug"), "an icon").await;
        check(good().readme("# Desk"), "README").await;
        check(good().field(Field::text("url", "Address").required()), "the value of `url`").await;
        check(good().connector(pleased), "asks the service").await;
        let mut silent = good();
        silent.samples.clear();
        check(silent, "a fixture").await;
        let mut more = good();
        more.webhook.as_mut().unwrap().events = vec!["opened".into(), "closed".into()];
        check(more, "`closed`").await;
    }
}
