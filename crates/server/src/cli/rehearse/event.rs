//! The event of a rehearsal: found, and signed as its service would sign it.

use crate::{catalog::DEFAULT, config::Environment, outbound::rehearsal::PLACEHOLDER};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc, time::SystemTime};
use tercel_sdk::{
    Error, Field, Host, Inbound, Integration, Kind, Mode, Refusal, Trust,
    field::FieldType,
    host::{Context as Parts, Ids},
    http::{Request, Response, Transport},
    integration::Sample,
};
use tercel_store::Uuid;
use tokio_util::sync::CancellationToken;

pub struct Event {
    pub name: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How it is signed, where its sample says so.
    pub sign: Option<Value>,
}

/// The event that `--event` means: a shipped sample, a file like one, or a file that is the body.
pub fn find(integration: &Integration, named: &str, further: &[String]) -> Result<Event> {
    let mut event = match integration.samples.iter().find(|sample| sample.name == named) {
        Some(sample) => of_sample(named, sample.clone())?,
        None => of_file(integration, named)?,
    };
    complete(&mut event, further)?;
    Ok(event)
}

/// Headers that were given beside the event, and the type of its body.
fn complete(event: &mut Event, further: &[String]) -> Result<()> {
    for line in further {
        let (name, value) =
            line.split_once(':').with_context(|| format!("--header `{line}`: write it as `Name: value`"))?;
        put(&mut event.headers, name.trim(), value.trim())?;
    }
    if !event.headers.contains_key(header::CONTENT_TYPE) {
        put(&mut event.headers, "content-type", "application/json")?;
    }
    Ok(())
}

fn of_sample(name: &str, sample: Sample) -> Result<Event> {
    let mut headers = HeaderMap::new();
    for (name, value) in &sample.headers {
        put(&mut headers, name, value)?;
    }
    Ok(Event { name: name.into(), headers, body: sample.body.to_string().into(), sign: sample.sign })
}

fn of_file(integration: &Integration, named: &str) -> Result<Event> {
    let file = Path::new(named);
    if !file.is_file() {
        let samples: Vec<&str> = integration.samples.iter().map(|sample| sample.name.as_str()).collect();
        let there = match samples.as_slice() {
            [] => "it has none: fixtures/<name>.json is one".into(),
            samples => format!("the samples are: {}", samples.join(", ")),
        };
        bail!("`{named}` is neither a file nor a sample of `{}`; {there}", integration.name);
    }
    let bytes = std::fs::read(file).with_context(|| format!("{named} cannot be read"))?;
    of_bytes(file, bytes)
}

/// A file like a sample, or one that is the body.
fn of_bytes(file: &Path, bytes: Vec<u8>) -> Result<Event> {
    let named = file.display();
    let json: Value = serde_json::from_slice(&bytes).with_context(|| format!("{named} is not JSON"))?;
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if json["headers"].is_object() && json.get("body").is_some() {
        let sample = serde_json::from_value(json).with_context(|| format!("{named} is not a sample"))?;
        return of_sample(name, sample);
    }
    Ok(Event { name: name.into(), headers: HeaderMap::new(), body: bytes.into(), sign: None })
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<()> {
    let name = HeaderName::try_from(name).with_context(|| format!("`{name}` cannot be the name of a header"))?;
    let value = HeaderValue::try_from(value).with_context(|| format!("The value of `{name}` cannot be sent"))?;
    headers.insert(name, value);
    Ok(())
}

/// Gives values to what is not set. Where reads go out, only what is needed to sign: a made-up token would be refused.
pub fn fill(integration: &Integration, environment: &mut Environment, event: &Event, live_reads: bool) {
    for field in placeholders(integration, environment, event, live_reads) {
        environment.set(&field.env, placeholder(&field));
    }
}

fn placeholder(field: &Field) -> &'static str {
    match field.kind {
        FieldType::Url => "https://rehearsal.invalid",
        FieldType::Number => "1",
        FieldType::Checkbox => "true",
        FieldType::Text | FieldType::Password => PLACEHOLDER,
    }
}

fn placeholders(integration: &Integration, environment: &Environment, event: &Event, live_reads: bool) -> Vec<Field> {
    let is_unset = |field: &&Field| field.default.is_none() && environment.get(&field.env).is_none();
    let unset: Vec<Field> =
        integration.fields.iter().filter(|field| field.required || field.secret).filter(is_unset).cloned().collect();
    if !live_reads {
        return unset;
    }
    let signs = |fields: &[Field]| {
        let mut environment = environment.clone();
        fields.iter().for_each(|field| environment.set(&field.env, placeholder(field)));
        sign(integration, &environment, event).is_ok()
    };
    if signs(&[]) {
        return Vec::new();
    }
    unset
        .iter()
        .find(|field| signs(std::slice::from_ref(field)))
        .map_or_else(|| unset.clone(), |field| vec![field.clone()])
}

/// The event's headers with the signature among them, by the values of the environment.
pub fn sign(integration: &Integration, environment: &Environment, event: &Event) -> Result<HeaderMap, Refusal> {
    let Some(webhook) = &integration.webhook else {
        return Err(Refusal::malformed(format!("The integration `{}` takes no webhooks", integration.name)));
    };
    let request = Inbound::new(event.headers.clone(), event.body.clone(), SystemTime::now());
    let mut headers = event.headers.clone();
    headers.extend(webhook.sign(&signer(integration, environment), request)?);
    Ok(headers)
}

/// A host for signing alone.
fn signer(integration: &Integration, environment: &Environment) -> Host {
    let value = |field: &Field| environment.get(&field.env).map(str::to_owned).or_else(|| field.default.clone());
    let fields: BTreeMap<_, _> =
        integration.fields.iter().filter_map(|field| Some((field.key.clone(), value(field)?))).collect();
    Host::new(Parts {
        integration: integration.name.clone(),
        connection: DEFAULT.into(),
        call: Uuid::now_v7(),
        fields: Arc::new(fields),
        names: Arc::new(integration.fields.iter().map(|f| (f.key.clone(), f.env.clone())).collect()),
        account: None,
        ids: Ids::default(),
        mode: Mode::Rehearse,
        trust: Trust::Trusted,
        idempotency_key: None,
        deadline: None,
        cancel: CancellationToken::new(),
        transport: Arc::new(Nowhere),
        tokens: None,
        state: PathBuf::new(),
    })
}

/// Signing is a computation: nothing goes out.
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: Request) -> BoxFuture<'_, tercel_sdk::Result<Response>> {
        Box::pin(async { Err(Error::new(Kind::Unsupported, "Nothing is sent while an event is signed")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// The first shipped integration that has both a webhook and a sample.
    fn shipped() -> (Integration, Sample) {
        let all = tercel_integrations::all();
        let found = all.into_iter().find(|one| one.webhook.is_some() && !one.samples.is_empty());
        let integration = found.expect("one is shipped");
        let sample = integration.samples[0].clone();
        (integration, sample)
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    #[test]
    fn an_event_is_a_sample_by_name_or_a_file_like_one() {
        let (integration, sample) = shipped();
        let by_name = find(&integration, &sample.name, &[]).unwrap();
        let copy = file(&serde_json::to_string(&sample).unwrap());
        let by_file = find(&integration, copy.path().to_str().unwrap(), &[]).unwrap();
        assert_eq!((by_name.headers, by_name.body), (by_file.headers, by_file.body));
    }

    #[test]
    fn any_other_file_is_the_body_as_it_is() {
        let (integration, _) = shipped();
        let body = file("{ \"a\": 1 }\n");
        let event = find(&integration, body.path().to_str().unwrap(), &["X-Event: push".into()]).unwrap();
        assert_eq!(event.body, "{ \"a\": 1 }\n");
        assert_eq!(
            (&event.headers["x-event"], &event.headers["content-type"]),
            (&"push".parse().unwrap(), &"application/json".parse().unwrap())
        );
    }

    #[test]
    fn what_cannot_be_an_event_is_refused_with_what_can_be() {
        let (integration, sample) = shipped();
        let said = |named: &str, header: &str| {
            let further: Vec<String> = (!header.is_empty()).then(|| header.to_owned()).into_iter().collect();
            format!("{:#}", find(&integration, named, &further).err().unwrap())
        };
        let unknown = said("no/such/event", "");
        assert!(unknown.contains("`no/such/event`") && unknown.contains(&sample.name), "{unknown}");
        let broken = file("{");
        assert!(said(broken.path().to_str().unwrap(), "").contains("is not JSON"));
        assert!(said(&sample.name, "no colon").contains("Name: value"));
        assert!(said(&sample.name, "a b: c").contains("`a b`"));
    }

    #[test]
    fn with_placeholders_every_sample_can_be_signed() {
        let (integration, _) = shipped();
        for sample in &integration.samples {
            let event = find(&integration, &sample.name, &[]).unwrap();
            for live_reads in [false, true] {
                let mut environment = Environment::default();
                fill(&integration, &mut environment, &event, live_reads);
                let headers = sign(&integration, &environment, &event).unwrap();
                let webhook = integration.webhook.as_ref().unwrap();
                let request = Inbound::new(headers, event.body.clone(), SystemTime::now());
                assert!(webhook.receive(&signer(&integration, &environment), request).is_ok(), "{}", sample.name);
            }
        }
    }

    #[test]
    fn a_value_that_is_set_gets_no_placeholder() {
        let (integration, sample) = shipped();
        let event = find(&integration, &sample.name, &[]).unwrap();
        let mut environment = Environment::default();
        integration.fields.iter().for_each(|field| environment.set(&field.env, "set"));
        assert!(placeholders(&integration, &environment, &event, false).is_empty());
    }
}
