//! What went out, to whom, on whose behalf: one row for each request on the wire or refused before it.

use super::{Scope, address::HostPort};
use http::Method;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tercel_sdk::{Kind, http::Request};
use tokio::sync::mpsc::Sender;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// Microseconds since 1970.
    pub at: i64,
    pub integration: Option<String>,
    pub connection: Option<String>,
    pub task: Option<Uuid>,
    pub method: String,
    /// With its port.
    pub host: String,
    /// Without the query. A part that looks like a token is `…`: some services take it there.
    pub path: String,
    pub status: Option<u16>,
    pub error: Option<Kind>,
    /// Of the body.
    pub sent_bytes: u64,
    /// Of the body, after decompression.
    pub received_bytes: u64,
    pub duration_ms: u64,
}

pub struct Ledger {
    rows: Sender<Egress>,
}

impl Ledger {
    pub fn new(rows: Sender<Egress>) -> Self {
        Self { rows }
    }

    /// Begins a row. It is written when the record is dropped, also when the call is.
    pub fn begin(&self, scope: &Scope, request: &Request, place: &HostPort) -> Record {
        // What it is when the caller walks away.
        let broken_off = if request.is_idempotent() { Kind::Network } else { Kind::UnknownOutcome };
        self.open(scope, &request.method, request.url.path(), place, broken_off)
    }

    /// The same for what is no request of ours. `broken_off` is its outcome when nobody says another.
    pub fn open(&self, scope: &Scope, method: &Method, path: &str, place: &HostPort, broken_off: Kind) -> Record {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Record {
            rows: self.rows.clone(),
            started: Instant::now(),
            row: Egress {
                at: i64::try_from(at.as_micros()).unwrap_or(i64::MAX),
                integration: scope.integration.clone(),
                connection: scope.connection.clone(),
                task: scope.task,
                method: method.to_string(),
                host: place.to_string(),
                path: shown(path, '/'),
                status: None,
                error: Some(broken_off),
                sent_bytes: 0,
                received_bytes: 0,
                duration_ms: 0,
            },
        }
    }
}

/// A row that is not finished.
pub struct Record {
    rows: Sender<Egress>,
    started: Instant,
    row: Egress,
}

impl Record {
    pub fn sent(&mut self, bytes: usize) {
        self.row.sent_bytes = bytes as u64;
    }

    pub fn received(&mut self, bytes: usize) {
        self.row.received_bytes += bytes as u64;
    }

    pub fn answered(&mut self, status: u16) {
        (self.row.status, self.row.error) = (Some(status), None);
    }

    pub fn failed(&mut self, kind: Kind) {
        self.row.error = Some(kind);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.row.duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = match (self.row.error, self.row.status) {
            (Some(kind), _) => kind.as_str(),
            (None, Some(200..300)) => "ok",
            (None, Some(300..400)) => "redirect",
            (None, Some(500..)) => "status_5xx",
            (None, _) => "status_4xx",
        };
        let integration = self.row.integration.clone().unwrap_or_else(|| "none".into());
        metrics::counter!("tercel_outbound_requests_total", "integration" => integration, "outcome" => outcome)
            .increment(1);
        if self.rows.try_send(self.row.clone()).is_err() {
            metrics::counter!("tercel_outbound_ledger_dropped_total").increment(1);
        }
    }
}

/// A path or query whose parts that look like tokens are replaced: better one id too few than one token too many.
pub fn shown(text: &str, separator: char) -> String {
    let parts: Vec<&str> = text.split(separator).map(|part| if is_tokenlike(part) { "…" } else { part }).collect();
    parts.join(&separator.to_string())
}

fn is_tokenlike(part: &str) -> bool {
    let mixed = |run: &str| {
        run.len() > 12 && run.contains(|c: char| c.is_ascii_digit()) && run.contains(|c: char| c.is_ascii_alphabetic())
    };
    part.len() >= 20 && (part.contains(':') || part.split(|c: char| !c.is_ascii_alphanumeric()).any(mixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_path_is_not_kept() {
        let token = format!("{}{}", "Ab3", "x7Kq9Zr2Lm5Np8Tv1Wy4B");
        assert_eq!(shown(&format!("/services/T0/B0/{token}"), '/'), "/services/T0/B0/…");
        assert_eq!(shown("/bot12345678:AA-bb_cc-dd_ee/sendMessage", '/'), "/…/sendMessage");
        assert_eq!(shown(&format!("a=1&key={token}"), '&'), "a=1&…");
    }

    #[test]
    fn ordinary_paths_are_kept() {
        for path in [
            "/",
            "/repos/octo/hello-world-2026/pulls/1",
            "/v1/pages/0192f3a4-5b6c-7d8e-9f01-23456789abcd",
            "/api/services/notify/mobile_app_my_phone_2",
        ] {
            assert_eq!(shown(path, '/'), path);
        }
    }
}
