//! The keys by which a repeated delivery is known.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use sha2::{Digest, Sha256};
use tercel_sdk::{Dedupe, Outcome};
use tercel_store::now;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

pub fn keys(integration: &str, connection: &str, dedupe: &Dedupe, body: &[u8]) -> Vec<(String, i64)> {
    let time = now();
    let key = |by: &str, what: &[u8]| {
        short_key("delivery", &[integration.as_bytes(), connection.as_bytes(), by.as_bytes(), what])
    };
    let by_id = |id: &str| (key("id", id.as_bytes()), time + 30 * DAY);
    let by_body = |span: i64| (key("body", &Sha256::digest(body)), time + span);
    match dedupe {
        Dedupe::Never => Vec::new(),
        Dedupe::Body => vec![by_body(MINUTE)],
        Dedupe::SignedId(id) => vec![by_id(id)],
        Dedupe::Within(id, span) => {
            let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX).min(30 * DAY);
            vec![(key("id", id.as_bytes()), time + span)]
        }
        Dedupe::UnsignedId(id) => vec![by_id(id), by_body(DAY)],
    }
}

/// One delivery may have come by a poll before, if all of it is one event.
pub(super) fn key_of_event(integration: &str, connection: &str, outcome: &Outcome) -> Option<(String, i64)> {
    let Outcome::Events(events) = outcome else { return None };
    let [event] = &events[..] else { return None };
    Some(key_of_news(integration, connection, event.id.as_ref()?))
}

pub(super) fn key_of_news(integration: &str, connection: &str, id: &str) -> (String, i64) {
    (format!("event/{integration}/{connection}/{id}"), now() + 30 * DAY)
}

/// 128 bits stand for all of it: there is a key for every delivery of 30 days, and each lies on a page of its own.
pub(super) fn short_key(kind: &str, pieces: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
    format!("{kind}/{}", BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]))
}
