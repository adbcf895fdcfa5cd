//! What a service answered, as texts see it.

use crate::manifest::template::{Reads, Value, value};
use http::{StatusCode, header::CONTENT_TYPE};
use minijinja::value::{Enumerator, Object};
use std::sync::{Arc, OnceLock};
use tercel_sdk::{Result, http::Response, xml};
use url::Url;

/// `response`: `status`, `headers`, `json`, `xml`, `text`.
#[derive(Debug, Clone)]
pub struct Answer {
    inner: Arc<Inner>,
    /// What was looked for in it.
    found: Value,
}

#[derive(Debug)]
struct Inner {
    response: Response,
    /// What was asked for.
    url: Url,
    json: OnceLock<serde_json::Result<Value>>,
    xml: OnceLock<Result<Value>>,
}

pub const NAMES: [&str; 5] = ["status", "headers", "json", "xml", "text"];

impl Answer {
    pub fn new(response: Response, url: Url) -> Self {
        let inner = Inner { response, url, json: OnceLock::new(), xml: OnceLock::new() };
        Self { inner: Arc::new(inner), found: Value::UNDEFINED }
    }

    pub fn with(self, found: Option<Value>) -> Self {
        Self { found: found.unwrap_or_default(), ..self }
    }

    pub fn response(&self) -> &Response {
        &self.inner.response
    }

    pub fn value(&self) -> Value {
        Value::from_object(self.clone())
    }

    /// # Errors
    /// When the body is something else than what it is read as.
    pub fn must_be(&self, reads: Reads) -> Result<()> {
        if reads.json && self.inner.json().is_err() {
            // It says best what is wrong.
            self.inner.response.json::<serde_json::Value>()?;
        }
        match reads.xml {
            true => self.inner.xml().clone().map(|_| ()),
            false => Ok(()),
        }
    }
}

impl Inner {
    /// One JSON in each line is a list.
    fn json(&self) -> &serde_json::Result<Value> {
        self.json.get_or_init(|| {
            let body = &self.response.body;
            let parsed = match self.is_lines() {
                false => serde_json::from_slice(body),
                true => serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>().collect(),
            };
            parsed.map(|json: serde_json::Value| value(&json))
        })
    }

    fn xml(&self) -> &Result<Value> {
        self.xml.get_or_init(|| {
            let mut xml = xml::parse(&self.response.body)?;
            if self.response.status == StatusCode::MULTI_STATUS {
                make_whole(&mut xml, &self.url);
            }
            Ok(value(&xml))
        })
    }

    fn is_lines(&self) -> bool {
        let kind = self.response.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
            .contains(&kind.as_str())
    }
}

/// What WebDAV names is whole addresses afterwards: names are given as seen from what was asked for.
fn make_whole(xml: &mut serde_json::Value, url: &Url) {
    match xml {
        serde_json::Value::Object(map) => {
            for (name, child) in map {
                let hrefs = child.as_array_mut().filter(|_| name == "href").into_iter().flatten();
                for href in hrefs.filter_map(|href| href.get_mut("text")) {
                    if let Some(whole) = href.as_str().and_then(|text| url.join(text).ok()) {
                        *href = whole.as_str().into();
                    }
                }
                make_whole(child, url);
            }
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(|item| make_whole(item, url)),
        _ => {}
    }
}

impl Object for Answer {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let response = &self.inner.response;
        Some(match key.as_str()? {
            "status" => response.status.as_u16().into(),
            "headers" => {
                let headers = response.headers.iter();
                Value::from_pairs(headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))))
            }
            "json" => self.inner.json().as_ref().map_or(Value::UNDEFINED, Value::clone),
            "xml" => self.inner.xml().as_ref().map_or(Value::UNDEFINED, Value::clone),
            "text" => response.text().into_owned().into(),
            "found" => self.found.clone(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&NAMES)
    }
}
