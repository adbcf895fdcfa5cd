//! Sends what is in the outbox: claims rows that are due, tries each once, commits how it ended.

mod beginning;
mod core;
mod notices;
mod outcome;
mod send;
mod way;

pub use self::{
    beginning::{Grown, grow},
    core::{TYPES, webhook_secret},
    notices::{settle, settle_all},
    outcome::{Verdict, verdict, wait},
};

use crate::{
    app::App,
    queue::{Queue, work_on},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tercel_sdk::{Error, Kind, Target, dispatch::STREAM};
use tercel_store::{AttemptEnd, OutboxRow, now};
use tokio::sync::Notify;

/// What of a target says which message an answer is about, and not where it goes.
const ABOUT: &str = "about";

/// What rows have in common that must arrive in order: the dispatch type and the address, without secrets.
pub fn key(target: &Target) -> String {
    let mut masked = tercel_store::seal::mask_secrets(Value::Object(target.config.clone()));
    // How an answer is shown says nothing about where.
    masked.as_object_mut().and_then(|config| config.shift_remove(STREAM));
    // Keys in order, so that the same address is the same however it was written.
    let sorted: std::collections::BTreeMap<_, _> =
        masked.as_object().into_iter().flatten().filter(|(name, _)| *name != ABOUT).collect();
    let digest = Sha256::digest(serde_json::to_vec(&sorted).unwrap_or_default());
    let connection = target.connection.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
    format!("{}{connection}:{}", target.kind, hex::encode(&digest[..16]))
}

/// Rows that this process has on their way, by dispatch type.
#[derive(Default)]
pub struct Senders(Mutex<HashMap<String, usize>>);

impl Senders {
    fn begin(&self, rows: &[OutboxRow]) {
        let mut busy = self.lock();
        rows.iter().for_each(|row| *busy.entry(row.dispatch_type.clone()).or_default() += 1);
    }

    /// Answers how many of them there were.
    fn end(&self, kind: &str) -> usize {
        let mut busy = self.lock();
        let Some(count) = busy.get_mut(kind) else { return 0 };
        let before = *count;
        *count -= 1;
        busy.retain(|_, count| *count > 0);
        before
    }

    /// Dispatch types that have their share of the room, and how many rows of one type may begin besides.
    fn full(&self, share: usize) -> (Vec<String>, usize) {
        let busy = self.lock();
        let full = busy.iter().filter(|(_, count)| **count >= share).map(|(kind, _)| kind.clone()).collect();
        let most = busy.values().filter(|count| **count < share).max().copied().unwrap_or_default();
        (full, share - most)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// Sends until the server stops.
pub async fn send_all(app: Arc<App>) {
    work_on::<Rows>(app).await;
}

struct Rows;

impl Queue for Rows {
    type Item = OutboxRow;

    fn room(app: &App) -> usize {
        app.config.capacity.sending.max(1)
    }

    fn bell(app: &App) -> &Notify {
        &app.store.wake().outbox
    }

    async fn claim(app: &App, limit: usize) -> tercel_store::Result<(Vec<OutboxRow>, Option<i64>)> {
        let (full, most) = app.senders.full(share(app));
        let leaving = app.store.claim_outbox_but(limit.min(most) as i64, full).await?;
        app.senders.begin(&leaving.rows);
        Ok((leaving.rows, leaving.next_at))
    }

    async fn work(app: Arc<App>, row: OutboxRow) {
        let kind = row.dispatch_type.clone();
        send::send(&app, row).await;
        if app.senders.end(&kind) == share(&app) {
            // When the end was committed the type still counted as full.
            app.store.wake().outbox.notify_one();
        }
    }

    /// A row that was taken counts as begun, and nobody could tell later that it was not.
    async fn put_back(app: &App, row: OutboxRow) {
        let error = Error::new(Kind::Network, "The server stopped before it was sent");
        let end = AttemptEnd::Retry { at: now(), error: send::json(&error), unknown: row.unknown };
        send::commit(app, &row, end).await;
        app.senders.end(&row.dispatch_type);
    }
}

/// What one dispatch type may have on its way, so that a service that hangs does not hold up the others.
fn share(app: &App) -> usize {
    (Rows::room(app) * 3 / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Environment},
        inject,
    };
    use serde_json::json;

    #[test]
    fn answers_to_one_address_are_in_order_whichever_messages_they_are_about() {
        let key = |config| key(&Target::new("forge", config));
        let first = key(json!({"room": "r", "about": "1"}));
        assert_eq!(first, key(json!({"about": "2", "room": "r"})));
        assert_ne!(first, key(json!({"room": "s", "about": "1"})));
    }

    #[tokio::test]
    async fn what_was_taken_when_the_server_stops_goes_back_as_not_sent() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let mut environment = Environment::default();
        environment.set("TERCEL_DATA_DIR", directory.path().to_str().unwrap());
        environment.set("LLM_BASE_URL", "http://127.0.0.1:1/v1");
        environment.set("LLM_MODEL", "m");
        let app = App::open(Config::from(environment).unwrap(), Vec::new()).await.unwrap();
        let target = app.seal_target(&Target::new("webhook", json!({"url": "https://receiver.example"})));
        let (session, _) = app.store.open_session("a:b", "default", "", None, Some(target)).await.unwrap();
        let input = inject::Input { notify: true, ..inject::Input::new(session.id, "hello".into()) };
        inject::inject(&app, input).await.unwrap();

        let row = Rows::claim(&app, 9).await.unwrap().0.remove(0);
        Rows::put_back(&app, row.clone()).await;
        let back = app.store.outbox_row(row.id).await.unwrap().unwrap();
        assert_eq!((back.state.as_str(), back.unknown, back.rehearse), ("pending", false, false));
        let attempts = app.store.attempts(row.id).await.unwrap();
        assert_eq!(attempts[0].outcome.as_deref(), Some("not_sent"));
        assert_eq!(Rows::claim(&app, 9).await.unwrap().0.len(), 1, "the next start sends it");
    }

    #[test]
    fn a_dispatch_type_has_its_share_and_others_the_rest() {
        let senders = Senders(Mutex::new(HashMap::from([("slow".into(), 3), ("quick".into(), 1)])));
        assert_eq!(senders.full(3), (vec!["slow".to_owned()], 2));
        assert_eq!(senders.end("slow"), 3);
        assert_eq!(senders.full(3), (vec![], 1));
    }

    #[test]
    fn the_same_address_is_one_queue_whatever_its_token() {
        let a = Target::new("chat", json!({"channel_id": "C1", "token": "x"}));
        let b = Target::new("chat", json!({"token": "y", "channel_id": "C1"}));
        let c = Target::new("chat", json!({"channel_id": "C2", "token": "x"}));
        let growing = Target::new("chat", json!({"channel_id": "C1", "token": "x", "stream": true}));
        assert_eq!(key(&a), key(&growing));
        let d = Target { connection: Some("work".into()), ..a.clone() };
        assert_eq!(key(&a), key(&b));
        assert_ne!(key(&a), key(&c));
        assert_ne!(key(&a), key(&d), "another account's");
    }
}
