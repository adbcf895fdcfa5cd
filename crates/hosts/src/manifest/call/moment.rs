//! The time, as texts see it.

use chrono::{DateTime, SecondsFormat, Utc};
use minijinja::{
    Value,
    value::{Object, ObjectRepr},
};
use std::{fmt, sync::Arc};

/// `now` and others: as text, `now.unix`, `now.date`.
#[derive(Debug)]
struct Moment(DateTime<Utc>);

pub fn now() -> Value {
    Value::from_object(Moment(Utc::now()))
}

/// Out of RFC 3339; nothing when it is no time.
pub fn at(text: &str) -> Value {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Value::from_object(Moment(time.to_utc())),
        Err(_) => Value::UNDEFINED,
    }
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "unix" => Some(self.0.timestamp().into()),
            "date" => Some(self.0.format("%Y-%m-%d").to_string().into()),
            _ => None,
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}
