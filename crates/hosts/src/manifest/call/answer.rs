//! What a service answered, as texts see it.

use crate::manifest::template::{Value, value};
use minijinja::value::{Enumerator, Object};
use std::sync::{Arc, OnceLock};
use tercel_sdk::{Result, http::Response};

/// `response`: `status`, `headers`, `json`, `text`.
#[derive(Debug, Clone)]
pub struct Answer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    response: Response,
    json: OnceLock<Value>,
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
        self.0.response.json::<serde::de::IgnoredAny>().map(|_| ())
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
            "json" => self
                .0
                .json
                .get_or_init(|| {
                    let parsed = serde_json::from_slice::<serde_json::Value>(&response.body);
                    parsed.map_or(Value::UNDEFINED, |json| value(&json))
                })
                .clone(),
            "text" => response.text().into_owned().into(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&NAMES)
    }
}
