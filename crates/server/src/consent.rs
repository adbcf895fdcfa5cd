//! What a person has agreed to at a service: tokens of a connection, kept sealed and renewed until they are taken back.

pub mod asking;
pub mod begin;
mod complete;
mod device;
pub mod link;
pub mod over;
pub mod renew;
pub mod stored;
pub mod supply;
pub mod turns;
pub mod watch;

pub use asking::{ASKING, Asking};
pub use complete::{Ended, complete};

use crate::{
    app::{App, Call},
    catalog::Values,
    tokens::ask::Got,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tercel_sdk::{
    Checked, Error, Host, Result,
    grant::{Flow, Grant, OAuth},
};
use tercel_store::{Uuid, now};

/// Where it stands among the values of its connection; no field has a dot in its key.
pub const KEY: &str = "oauth.consent";

/// What is kept of a connection beside the values of its fields.
pub const KEYS: [&str; 2] = [KEY, ASKING];

#[derive(Clone, Serialize, Deserialize)]
pub struct Consent {
    access: String,
    refresh: Option<String>,
    got_at: i64,
    /// Microseconds that the access token counts; absent where it counts until the service says no.
    life: Option<i64>,
    pub agreed_at: i64,
    /// What was asked for when the person agreed.
    asked: Vec<String>,
    /// What the person agreed to, as far as the service says it.
    pub scopes: Vec<String>,
    /// Who agreed, if the test of the connection says it: a name, which somebody else may take, too.
    pub account: Option<String>,
    /// The same as nobody else is called.
    pub account_id: Option<String>,
    /// Tells the client that it was given to from others.
    client: String,
    /// It does not count any more.
    pub over: Option<Over>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Over {
    pub at: i64,
    pub why: String,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub integration: String,
    pub connection: String,
}

impl Place {
    pub fn new(integration: &str, connection: &str) -> Self {
        Self { integration: integration.into(), connection: connection.into() }
    }

    pub fn of(host: &Host) -> Self {
        Self::new(host.integration(), host.connection())
    }

    /// How people are told which connection is meant.
    pub fn name(&self) -> String {
        crate::connection::name::of(&self.integration, &self.connection)
    }

    pub fn values(&self, app: &App) -> Option<Values> {
        app.catalog().integrations.get(&self.integration)?.values(&self.connection).cloned()
    }
}

impl Consent {
    pub fn new(got: Got, oauth: &OAuth, host: &Host) -> Self {
        let asked = oauth.scopes.clone();
        Self {
            access: got.secret,
            refresh: got.refresh,
            got_at: now(),
            life: got.life.map(micros),
            agreed_at: now(),
            scopes: got.scope.map_or_else(|| asked.clone(), |said| words(&said)),
            asked,
            account: None,
            account_id: None,
            client: client(oauth, host),
            over: None,
        }
    }

    /// With what a renewal brought. Services that keep the refresh token do not send it again.
    fn renewed(&self, got: Got) -> Self {
        Self {
            access: got.secret,
            refresh: got.refresh.or_else(|| self.refresh.clone()),
            got_at: now(),
            life: got.life.map(micros),
            scopes: got.scope.map_or_else(|| self.scopes.clone(), |said| words(&said)),
            ..self.clone()
        }
    }

    /// Whether it is the same, and not one that came of it.
    fn is_same(&self, other: &Self) -> bool {
        let [one, other] = [self, other].map(|consent| (consent.agreed_at, consent.got_at, &consent.access));
        one == other
    }

    fn ended(&self, why: &str) -> Self {
        let over = Some(Over { at: now(), why: why.into() });
        Self { access: String::new(), refresh: None, over, ..self.clone() }
    }

    /// Early enough that a token that is sent still counts when it arrives. A clock that was put back says nothing.
    fn is_fresh(&self, at: i64) -> bool {
        let early = |life: i64| micros(Duration::from_secs(60)).min(life / 5);
        self.life.is_none_or(|life| at >= self.got_at && at - self.got_at < life - early(life))
    }

    /// Whether a service may still take the token.
    fn may_count(&self, at: i64) -> bool {
        self.life.is_none_or(|life| at >= self.got_at && at - self.got_at < life)
    }

    /// What is asked for now and was not when the person agreed.
    pub fn lacks(&self, oauth: &OAuth) -> Vec<String> {
        let asked: BTreeSet<&String> = self.asked.iter().collect();
        oauth.scopes.iter().filter(|scope| !asked.contains(scope)).cloned().collect()
    }

    pub fn secrets(&self) -> impl Iterator<Item = String> {
        [Some(self.access.clone()), self.refresh.clone()].into_iter().flatten()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Tokens are worth nothing to another client, or at another service.
fn client(oauth: &OAuth, host: &Host) -> String {
    let id = host.optional(&oauth.client_id).unwrap_or_default().trim();
    let mut digest = Sha256::new();
    for part in [id, &oauth.token] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    hex::encode(&digest.finalize()[..8])
}

/// Whether a person has to agree to what an integration does.
pub fn is_needed(oauth: &OAuth) -> bool {
    oauth.flow != Flow::ClientCredentials
}

/// What a person has to agree to for a connection with these values, and the host that asks for it.
///
/// # Errors
/// When an address cannot be made of the values.
pub fn wanted(app: &Arc<App>, place: &Place, values: &Values) -> Result<Option<(OAuth, Host)>> {
    let catalog = app.catalog();
    let Some(entry) = catalog.integrations.get(&place.integration) else { return Ok(None) };
    let Some(grants) = entry.integration.grant.clone() else { return Ok(None) };
    let gone = || Error::new(tercel_sdk::Kind::NotFound, format!("There is no connection `{}`", place.name()));
    let host = app.host_with(&place.integration, &place.connection, values, call()).ok_or_else(gone)?;
    Ok(match grants(&host)? {
        Grant::OAuth(oauth) if is_needed(&oauth) => Some((oauth, host)),
        _ => None,
    })
}

/// Tells the service that nothing counts any more that anybody agreed to for a connection: not what it has, and not what was
/// kept of somebody who is asked. Answers whether what it has does not; nothing where there is none, or it cannot be told.
pub async fn take_back(app: &Arc<App>, place: &Place) -> Option<Result<()>> {
    let turns = app.consents.turns.of(place);
    // What is being renewed is another one afterwards.
    let turn = turns.lock().await;
    let values = place.values(app)?;
    let (oauth, host) = wanted(app, place, &values).ok()??;
    if let Some(kept) = values.asking.as_ref().and_then(|asking| asking.agreed.as_ref()) {
        over::revoke(&host, &oauth, kept).await;
    }
    let stored = values.consent?;
    let newest = turn.unsaved_of(&stored).unwrap_or(stored);
    over::revoke(&host, &oauth, &newest).await
}

/// A test that passed says who agreed, where that was not known.
pub async fn name(app: &App, place: &Place, tested: &Values, checked: &Checked) {
    let is_news = |consent: &Consent| {
        let is_nameless = consent.account.is_none() && checked.account.is_some();
        consent.over.is_none() && consent.account_id.is_none() && (checked.account_id.is_some() || is_nameless)
    };
    let Some(consent) = tested.consent.as_deref().filter(|consent| is_news(consent)) else { return };
    let named = |there: Consent| {
        let Checked { account, account_id, .. } = checked.clone();
        (there.agreed_at == consent.agreed_at && is_news(&there)).then_some(Consent { account, account_id, ..there })
    };
    if let Err(error) = stored::change(app, place, KEY, named).await {
        tracing::warn!("Who agreed to what `{}` does could not be stored: {error:#}", place.name());
    }
}

/// For asking the service about tokens: no code of a folder is called.
pub fn call() -> Call {
    Call { id: Some(Uuid::now_v7()), ..Call::default() }
}

#[cfg(test)]
mod tests;
