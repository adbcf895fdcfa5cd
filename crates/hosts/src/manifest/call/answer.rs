//! What a service answered, as texts see it.

use crate::manifest::template::{Value, value};
use http::header::CONTENT_TYPE;
use minijinja::value::{Enumerator, Object};
use std::sync::{Arc, OnceLock};
use tercel_sdk::{Result, http::Response};

/// `response`: `status`, `headers`, `json`, `text`.
#[derive(Debug, Clone)]
pub struct Answer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    response: Response,
    json: OnceLock<serde_json::Result<Value>>,
}

pub const NAMES: [&str; 4] = ["status", "headers", "json", "text"];

impl Answer {
    pub fn new(response: Response) -> Self {
        Self(Arc::new(Inner { response, json: OnceLock::new() }))
    }

    pub fn response(&self) -> &Response {
        &self.0.response
    }

    pub fn value(&self) -> Value {
        Value::from_object(self.clone())
    }

    /// # Errors
    /// When the body is something else.
    pub fn must_be_json(&self) -> Result<()> {
        match self.0.json() {
            Ok(_) => Ok(()),
            // It says best what is wrong.
            Err(_) => self.0.response.json::<serde_json::Value>().map(|_| ()),
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

    fn is_lines(&self) -> bool {
        let kind = self.response.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
            .contains(&kind.as_str())
    }
}

impl Object for Answer {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let response = &self.0.response;
        Some(match key.as_str()? {
            "status" => response.status.as_u16().into(),
            "headers" => {
                let headers = response.headers.iter();
                Value::from_pairs(headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))))
            }
            "json" => self.0.json().as_ref().map_or(Value::UNDEFINED, Value::clone),
            "text" => response.text().into_owned().into(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&NAMES)
    }
}
