//! Tokens that integrations are known by at their services: got when one is needed, kept in memory, renewed in time. One
//! asks for all who wait.

pub mod ask;

use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tercel_sdk::{
    Host, Result,
    grant::{Grant, Grants, Tokens},
};
use tokio::sync::Mutex as Turn;

/// What stands for a token where nothing goes out.
const REHEARSED: &str = "rehearsed";
/// Drafts of connections leave some behind.
const MOST: usize = 500;

/// All that are known.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<Key, Arc<Slot>>>);

/// Integration, connection, and a digest of what the token is got with: other values are another token.
type Key = (String, String, [u8; 32]);

type Slot = Turn<Option<Token>>;

struct Token {
    secret: String,
    renew_at: Instant,
}

/// Gets tokens for one call.
pub struct Supply {
    kept: Arc<Kept>,
    grants: Grants,
    /// For asking: it has no tokens itself.
    pub host: Host,
    pub rehearses: bool,
}

impl Supply {
    pub fn new(kept: Arc<Kept>, grants: Grants, host: Host, rehearses: bool) -> Self {
        Self { kept, grants, host, rehearses }
    }

    /// What the tokens are got with.
    ///
    /// # Errors
    /// When an address cannot be made of the values.
    pub fn grant(&self) -> Result<Grant> {
        (self.grants)(&self.host)
    }

    fn slot(&self) -> Result<(Grant, Arc<Slot>)> {
        let grant = self.grant()?;
        let credentials = credentials(&grant).map(|key| self.host.optional(key).unwrap_or_default());
        let mut digest = Sha256::new();
        for part in [format!("{grant:?}").as_str()].into_iter().chain(credentials) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let key = (self.host.integration().to_owned(), self.host.connection().to_owned(), digest.finalize().into());
        let mut all = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > MOST {
            all.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|token| is_good(&token)));
        }
        Ok((grant, all.entry(key).or_default().clone()))
    }
}

impl Tokens for Supply {
    fn access(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(async move {
            if self.rehearses {
                return Ok(REHEARSED.into());
            }
            let (grant, slot) = self.slot()?;
            let mut kept = slot.lock().await;
            if let Some(token) = kept.as_ref().filter(|_| is_good(&kept)) {
                return Ok(token.secret.clone());
            }
            let asked = Instant::now();
            let got = ask::token(&self.host, &grant).await?;
            let life = got.life.unwrap_or(ask::USUAL);
            let token = kept.insert(Token { renew_at: asked + life - early(life), secret: got.secret });
            tracing::debug!(integration = self.host.integration(), "Got a token for {} s", life.as_secs());
            Ok(token.secret.clone())
        })
    }

    fn refused<'a>(&'a self, token: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Ok((_, slot)) = self.slot() else { return };
            let mut kept = slot.lock().await;
            // Somebody else may have got another meanwhile.
            if kept.as_ref().is_some_and(|kept| kept.secret == token) {
                *kept = None;
            }
        })
    }
}

fn is_good(token: &Option<Token>) -> bool {
    token.as_ref().is_some_and(|token| token.renew_at > Instant::now())
}

/// Before its end, so that one that is sent still counts when it arrives.
fn early(life: Duration) -> Duration {
    Duration::from_secs(60).min(life / 5)
}

/// The fields whose values decide about the token.
fn credentials(grant: &Grant) -> impl Iterator<Item = &str> {
    let keys = match grant {
        Grant::OAuth(oauth) => [Some(&oauth.client_id), oauth.client_secret.as_ref()],
        Grant::ServiceAccount { key, .. } => [Some(key), None],
    };
    keys.into_iter().flatten().map(String::as_str)
}

#[cfg(test)]
mod tests;
