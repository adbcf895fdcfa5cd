//! Sends what is in the outbox: claims rows that are due, tries each once, commits how it ended.

mod core;
mod outcome;
mod send;

pub use self::core::webhook_secret;

use crate::app::App;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tercel_sdk::Target;
use tercel_store::now;
use tokio::sync::Semaphore;

/// What rows have in common that must arrive in order: the dispatch type and the address, without secrets.
pub fn key(target: &Target) -> String {
    let masked = tercel_store::seal::mask_secrets(Value::Object(target.config.clone()));
    // Keys in order, so that the same address is the same however it was written.
    let sorted: std::collections::BTreeMap<_, _> = masked.as_object().into_iter().flatten().collect();
    let digest = Sha256::digest(serde_json::to_vec(&sorted).unwrap_or_default());
    format!("{}:{}", target.kind, hex::encode(&digest[..16]))
}

/// Sends until the server stops.
pub async fn send_all(app: Arc<App>) {
    let room = Arc::new(Semaphore::new(app.config.capacity.sending.max(1)));
    loop {
        let first = tokio::select! {
            permit = room.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = app.stopping.cancelled() => return,
        };
        let limit = room.available_permits() + 1;
        let leaving = match app.store.claim_outbox(limit as i64).await {
            Ok(leaving) => leaving,
            Err(tercel_store::Error::Stopping) => return,
            Err(error) => {
                tracing::error!("The outbox cannot be read: {error}");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => continue,
                    () = app.stopping.cancelled() => return,
                }
            }
        };
        let all = leaving.rows.len() == limit;
        let mut first = Some(first);
        for row in leaving.rows {
            let permit = match first.take() {
                Some(permit) => permit,
                None => room.clone().acquire_owned().await.expect("the semaphore is never closed"),
            };
            let app = app.clone();
            app.clone().work.spawn(async move {
                send::send(&app, row).await;
                drop(permit);
            });
        }
        drop(first);
        if all {
            continue;
        }
        let due = leaving.next_at.map(|at| Duration::from_micros((at - now()).max(0) as u64));
        tokio::select! {
            () = app.store.wake().outbox.notified() => {}
            () = tokio::time::sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => {}
            () = app.stopping.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_address_is_one_queue_whatever_its_token() {
        let a = Target::new("chat", json!({"channel_id": "C1", "token": "x"}));
        let b = Target::new("chat", json!({"token": "y", "channel_id": "C1"}));
        let c = Target::new("chat", json!({"channel_id": "C2", "token": "x"}));
        assert_eq!(key(&a), key(&b));
        assert_ne!(key(&a), key(&c));
    }
}
