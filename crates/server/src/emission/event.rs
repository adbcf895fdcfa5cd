//! An event as it is sent.

use crate::app::App;
use bytes::Bytes;
use chrono::DateTime;
use serde_json::{Value, json};
use tercel_sdk::{hook, host::Ids};
use tercel_store::{HookEvent, Uuid, now};

pub struct Event {
    pub name: &'static str,
    pub body: Bytes,
    at: i64,
}

impl Event {
    /// No secret of ours goes out with it.
    pub fn new(app: &App, name: &'static str, event: &Value) -> Self {
        let event = app.catalog().redactor.json(event.clone());
        let at = now();
        Self { name, body: body(name, at, event).into(), at }
    }

    pub fn row(&self, ids: &Ids) -> HookEvent {
        HookEvent {
            seq: 0,
            id: Uuid::now_v7(),
            event: self.name.into(),
            origin: None,
            bot_id: ids.bot.clone(),
            channel_id: ids.channel,
            body: String::from_utf8_lossy(&self.body).into_owned(),
            created_at: self.at,
        }
    }
}

pub fn body(name: &str, at: i64, event: Value) -> String {
    let (context, data) = hook::split(event);
    let timestamp = DateTime::from_timestamp_micros(at).unwrap_or_default().to_rfc3339();
    json!({"event": name, "timestamp": timestamp, "context": context, "data": data}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_sent_as_it_is_documented() {
        let event = json!({"context": {"bot_id": "b"}, "tool_name": "search", "duration_ms": 450});
        let sent = body("after_tool_call", 1_774_967_400_000_000, event);
        let expected = r#"{"event":"after_tool_call","timestamp":"2026-03-31T14:30:00+00:00","context":{"bot_id":"b"},"data":{"tool_name":"search","duration_ms":450}}"#;
        assert_eq!(sent, expected);
    }
}
