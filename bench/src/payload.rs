//! Webhook requests as GitHub sends and signs them, every one of them different.

mod body;

use crate::http::Body;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::Request;
use sha2::Sha256;
use std::sync::atomic::{AtomicU64, Ordering};
use tercel_store::Uuid;

pub const SECRET: &str = "hush-the-webhook-secret-of-the-bench";
pub const PATH: &str = "/integrations/github/webhook";
/// Repositories that the events are spread over.
const REPOSITORIES: u64 = 64;
/// No more bytes of signed requests are held at once.
const POOL: usize = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What the integration reads, and little more: about 1.5 kB.
    Small,
    /// What GitHub really sends: about 25 kB.
    Real,
}

impl Size {
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "1.5 kB",
            Self::Real => "25 kB",
        }
    }
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// `pull_request.synchronize`: a message in the conversation of that pull request.
    Stored,
    /// `pull_request.opened`: a conversation, a message and a task.
    Runs,
}

impl Fate {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Runs => "run",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Stored => "synchronize",
            Self::Runs => "opened",
        }
    }
}

/// A payload in which the number, the id and the repository are left open.
pub struct Template {
    fate: Fate,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Number,
    Id,
    Repository,
}

/// What fills a template.
pub struct Event {
    pub number: u64,
    pub repository: String,
    pub body: Vec<u8>,
}

const HOLES: [(&str, Piece); 4] = [
    ("\"@id@\"", Piece::Id),
    ("\"@number@\"", Piece::Number),
    ("@number@", Piece::Number),
    ("@repository@", Piece::Repository),
];

impl Template {
    pub fn new(size: Size, fate: Fate) -> Self {
        let text = match size {
            Size::Small => body::small(fate.action()),
            Size::Real => body::real(fate.action()),
        }
        .to_string();
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some((at, hole, piece)) = HOLES
            .into_iter()
            .filter_map(|(hole, piece)| Some((rest.find(hole)?, hole, piece)))
            .min_by_key(|found| found.0)
        {
            pieces.extend([Piece::Text(rest[..at].into()), piece]);
            rest = &rest[at + hole.len()..];
        }
        pieces.push(Piece::Text(rest.into()));
        Self { fate, pieces }
    }

    /// The next event, unlike all others of this process.
    pub fn event(&self) -> Event {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = match self.fate {
            // Pushes go to the same pull request again and again; every opened one is new.
            Fate::Stored => 1 + n / REPOSITORIES % 256,
            Fate::Runs => n,
        };
        let repository = format!("bench/repository-{}", n % REPOSITORIES);
        let (shown, id) = (number.to_string(), (1_000_000_000 + n).to_string());
        let mut body = Vec::with_capacity(32 << 10);
        for piece in &self.pieces {
            body.extend_from_slice(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Number => shown.as_bytes(),
                Piece::Id => id.as_bytes(),
                Piece::Repository => repository.as_bytes(),
            });
        }
        Event { number, repository, body }
    }

    /// Signed requests, as many as are asked for and memory allows.
    pub fn requests(&self, count: usize) -> Vec<Request<Body>> {
        let size = self.event().body.len();
        (0..count.min(POOL / size)).map(|_| self.request()).collect()
    }

    pub fn request(&self) -> Request<Body> {
        let body = self.event().body;
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key may have any length");
        mac.update(&body);
        Request::builder()
            .method("POST")
            .uri(PATH)
            .header("host", "127.0.0.1")
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("content-type", "application/json")
            .header("x-github-event", "pull_request")
            .header("x-github-delivery", Uuid::new_v4().to_string())
            .header("x-github-hook-id", "292430182")
            .header("x-hub-signature-256", format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
            .body(Full::new(Bytes::from(body)))
            .expect("the headers are plain text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check(size: Size, fate: Fate) -> (usize, Value) {
        let event = Template::new(size, fate).event();
        (event.body.len(), serde_json::from_slice(&event.body).unwrap())
    }

    #[test]
    fn payloads_have_the_size_that_is_said() {
        let small = check(Size::Small, Fate::Stored).0;
        let real = check(Size::Real, Fate::Runs).0;
        assert!((1_300..1_700).contains(&small), "{small}");
        assert!((23_000..27_000).contains(&real), "{real}");
    }

    #[test]
    fn every_hole_is_filled_and_nothing_is_sent_twice() {
        for size in [Size::Small, Size::Real] {
            let (first, second) = (check(size, Fate::Runs).1, check(size, Fate::Runs).1);
            assert!(!first.to_string().contains('@') || size == Size::Real, "{first:#}");
            assert!(!first.to_string().contains("@number@") && !first.to_string().contains("@id@"));
            assert!(!first.to_string().contains("@repository@"));
            assert_ne!(first["pull_request"]["id"], second["pull_request"]["id"]);
            assert_ne!(first["pull_request"]["number"], second["pull_request"]["number"]);
            assert_eq!(first["action"], "opened");
        }
    }
}
