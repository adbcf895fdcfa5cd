//! Recording: everything goes out as always, and is written down.

use super::{Call, Exchange, REDACTED, Recording, Request, Response, kept};
use futures::future::BoxFuture;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tercel_sdk::{
    Integration, Result,
    http::{self, Transport},
};

/// Headers that texts of manifests may read; others say how the service is run.
const HEADERS: [&str; 5] = ["content-type", "etag", "link", "location", "retry-after"];
/// What tells that a value is not for everybody, whatever it is.
const PRIVATE: [&str; 4] = ["token", "secret", "password", "authorization"];

/// A way out that writes down what goes through it.
pub struct Recorder {
    inner: Arc<dyn Transport>,
    exchanges: Mutex<Vec<Exchange>>,
}

impl Recorder {
    pub fn over(inner: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { inner, exchanges: Mutex::default() })
    }

    /// What was written down, without what `redact` takes out of texts. The result is that of playing it back.
    ///
    /// # Errors
    /// When the part does not make the same of what is left.
    pub async fn recording(
        &self,
        integration: &Integration,
        call: Call,
        fields: BTreeMap<String, String>,
        redact: impl Fn(&str) -> String,
    ) -> Result<Recording, super::Wrong> {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for exchange in &mut exchanges {
            exchange.request.path = redact(&exchange.request.path);
            clean(&mut exchange.request.body, &redact);
            clean(&mut exchange.response.body, &redact);
            exchange.response.headers.values_mut().for_each(|value| *value = redact(value));
        }
        let mut recording = Recording { call, fields, exchanges, result: Value::Null };
        recording.result = super::play::played(integration, &recording).await?;
        Ok(recording)
    }
}

impl Transport for Recorder {
    fn send(&self, request: http::Request) -> BoxFuture<'_, Result<http::Response>> {
        Box::pin(async move {
            let asked = asked(&request);
            let response = self.inner.send(request).await?;
            let headers =
                response.headers.iter().filter(|(name, _)| HEADERS.contains(&name.as_str()) || is_own(name.as_str()));
            let answered = Response {
                status: response.status.as_u16(),
                headers: headers
                    .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
                    .collect(),
                body: kept(&response.body),
            };
            let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
            exchanges.push(Exchange { request: asked, response: answered });
            Ok(response)
        })
    }
}

/// Headers of the service's own, but for those that name a request or a limit, which are others every time.
fn is_own(name: &str) -> bool {
    name.starts_with("x-") && !["id", "rate", "limit", "trace", "time"].iter().any(|word| name.contains(word))
}

/// A request as it is kept and compared.
pub fn asked(request: &http::Request) -> Request {
    let url = &request.url;
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    Request { method: request.method.to_string(), path, body: kept(&request.body) }
}

fn clean(value: &mut Value, redact: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(list) => list.iter_mut().for_each(|item| clean(item, redact)),
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                let key = key.to_lowercase();
                match item {
                    Value::String(text) if PRIVATE.iter().any(|word| key.contains(word)) => *text = REDACTED.into(),
                    _ => clean(item, redact),
                }
            }
        }
        _ => {}
    }
}
