//! A token that counts now: the one at hand, or a new one. One asks for all who need it.

use super::{Consent, KEY, Place, over, stored, turns::Turns};
use crate::{app::App, succession, tokens::ask};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tercel_sdk::{Error, Host, Kind, Result, grant::OAuth};
use tercel_store::now;
use tokio::sync::OwnedMutexGuard;

/// Between two attempts to store what a service gave: at first, and at the most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What is known of a consent beside what is stored, for whoever may renew it.
#[derive(Default)]
pub struct Known {
    /// A token that the service did not take, by its digest.
    refused: Option<String>,
    /// A renewal that could not be stored. What is stored is worth nothing any more.
    unsaved: Option<Renewal>,
}

/// A consent before and after.
#[derive(Clone)]
struct Renewal {
    from: Arc<Consent>,
    to: Arc<Consent>,
}

impl Turns<Known> {
    /// The service did not take a token with this digest: the next is another.
    pub async fn refuse(&self, place: &Place, digest: String) {
        self.of(place).lock().await.refused = Some(digest);
    }
}

impl Known {
    /// What came of the consent that is stored and could not be stored itself yet.
    pub fn unsaved_of(&self, stored: &Consent) -> Option<Arc<Consent>> {
        self.unsaved.as_ref().filter(|renewal| stored.is_same(&renewal.from)).map(|renewal| renewal.to.clone())
    }

    /// Another consent is stored now, or none.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Stores a renewal in the place of what it came from. Answers `false` where there is something else by now; then it
    /// is worth nothing.
    async fn settle(&mut self, app: &App, place: &Place) -> anyhow::Result<bool> {
        let Some(Renewal { from, to }) = self.unsaved.clone() else { return Ok(true) };
        let renewed = |there: Consent| {
            // That it was stored may not have been heard.
            let is_right = there.is_same(&from) || there.is_same(&to);
            let Consent { account, account_id, .. } = there;
            is_right.then(|| Consent { account, account_id, ..Consent::clone(&to) })
        };
        let is_stored = stored::change(app, place, KEY, renewed).await?;
        self.forget();
        Ok(is_stored)
    }
}

/// # Errors
/// `not_configured` when nobody has agreed, `auth` when the consent is over, and why it cannot be renewed now.
pub async fn access(app: &Arc<App>, host: &Host, oauth: &OAuth) -> Result<String> {
    if let Some(obstacle) = succession::obstacle(app) {
        return Err(Error::new(Kind::Network, obstacle));
    }
    let place = Place::of(host);
    let turn = app.consents.turns.of(&place).lock_owned().await;
    let stored = place.values(app).and_then(|values| values.consent);
    let consent = match stored.and_then(|stored| turn.unsaved_of(&stored)) {
        Some(unsaved) => unsaved,
        None => current(app, &place, host, oauth)?,
    };
    let is_refused = turn.refused.as_ref() == Some(&digest(&consent.access));
    if !is_refused && consent.is_fresh(now()) {
        return Ok(consent.access.clone());
    }
    // On its own: who asked may be given up in the middle, and what the service gives would be lost.
    let renewing = renew(app.clone(), place, turn, consent, oauth.clone(), is_refused);
    match app.work.spawn(renewing).await {
        Ok(renewed) => renewed,
        Err(_) => Err(Error::new(Kind::Network, "The token could not be renewed: the server stops")),
    }
}

/// The service did not take this token: the next is another.
pub async fn refused(app: &App, host: &Host, token: &str) {
    app.consents.turns.refuse(&Place::of(host), digest(token)).await;
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

fn current(app: &App, place: &Place, host: &Host, oauth: &OAuth) -> Result<Arc<Consent>> {
    let nobody = |message: String| {
        let Place { integration, connection } = place;
        Error::not_configured(message).hint(format!(
            "Begin with POST /api/v1/admin/integrations/{integration}/connections/{connection}/authorize"
        ))
    };
    let consent = place.values(app).and_then(|values| values.consent);
    let consent = consent.ok_or_else(|| nobody(format!("Nobody has agreed to what `{}` does", place.name())))?;
    if consent.client != super::client(oauth, host) {
        return Err(nobody(format!("Somebody agreed to what `{}` did with another client", place.name())));
    }
    match consent.over {
        Some(_) => Err(over::error(app, place, &consent)),
        None => Ok(consent),
    }
}

async fn renew(
    app: Arc<App>,
    place: Place,
    mut turn: OwnedMutexGuard<Known>,
    consent: Arc<Consent>,
    oauth: OAuth,
    is_refused: bool,
) -> Result<String> {
    let Some(refresh) = consent.refresh.clone() else {
        let why = if is_refused { "the service does not take the token" } else { "its time is over" };
        return Err(over::end(&app, &place, &consent, &format!("{why}, and it gave none to renew it with")).await);
    };
    let gone = || Error::new(Kind::NotFound, format!("There is no connection `{}`", place.name()));
    let host = app.host(&place.integration, &place.connection, super::call()).ok_or_else(gone)?;
    let form = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh)];
    let got = match may_renew(&app, &place, &mut turn, &consent).await {
        Ok(()) => ask::client(&host, &oauth, form).await,
        Err(error) => Err(error.into()),
    };
    match got {
        Ok(got) => {
            let renewed = Arc::new(consent.renewed(got));
            tracing::debug!(integration = place.integration, connection = place.connection, "Renewed the token");
            turn.unsaved = Some(Renewal { from: consent, to: renewed.clone() });
            match turn.settle(&app, &place).await {
                Ok(true) => {}
                Ok(false) => return Err(changed(&place)),
                Err(error) => {
                    tracing::error!("A renewed token could not be stored, and is tried again: {error:#}");
                    app.work.spawn(keep(app.clone(), place));
                }
            }
            Ok(renewed.access.clone())
        }
        Err(no) if no.code.as_deref() == Some("invalid_grant") => {
            turn.forget();
            Err(over::end(&app, &place, &consent, &no.error.message).await)
        }
        // It was renewed early, and still counts.
        Err(no) if !is_refused && consent.may_count(now()) => {
            let (integration, connection) = (&place.integration, &place.connection);
            tracing::warn!(integration, connection, "The token could not be renewed yet: {}", no.error);
            Ok(consent.access.clone())
        }
        Err(no) => Err(no.error),
    }
}

/// Services that replace a token take the one before it no more: it is not given away where the next could be lost.
async fn may_renew(app: &App, place: &Place, turn: &mut Known, consent: &Consent) -> Result<()> {
    let may = async {
        let is_settled = turn.settle(app, place).await?;
        Ok::<_, anyhow::Error>(is_settled && stored::is_still(app, place, KEY, |there| consent.is_same(there)).await?)
    };
    match may.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(changed(place)),
        Err(error) => {
            let message =
                format!("The token of `{}` is not renewed while nothing can be stored: {error:#}", place.name());
            Err(Error::new(Kind::Network, message))
        }
    }
}

fn changed(place: &Place) -> Error {
    Error::new(
        Kind::Network,
        format!("Somebody agreed anew to what `{}` does, or disconnected it: try again", place.name()),
    )
}

/// Until it is stored, something else is, or the server stops.
async fn keep(app: Arc<App>, place: Place) {
    let (mut pause, longest) = PAUSES;
    loop {
        let stops = tokio::select! {
            () = app.stopping.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        };
        let turns = app.consents.turns.of(&place);
        let settled = turns.lock().await.settle(&app, &place).await;
        match settled {
            Ok(_) => return,
            Err(error) if stops => {
                tracing::error!("The renewed token of `{}` is lost: it could not be stored: {error:#}", place.name());
                return;
            }
            Err(_) => pause = (pause * 2).min(longest),
        }
    }
}
