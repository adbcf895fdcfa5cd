//! The link by which somebody agrees again. It needs no key: only the account that agreed before may agree by it.

use super::{Consent, Place, asking::Asking, begin};
use crate::{app::App, catalog::Values};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::Arc;
use tercel_sdk::{Error, Kind, Result};

const PURPOSE: &str = "oauth links";

/// Where somebody agrees again.
pub fn of(app: &App, place: &Place, consent: &Consent) -> String {
    let Place { integration, connection } = place;
    match consent.account_id {
        Some(_) => {
            let ticket = BASE64.encode(mac(app, place, consent).finalize().into_bytes());
            format!("{}/api/v1/oauth/agree/{integration}/{connection}/{ticket}", app.config.public_url())
        }
        // Nobody could tell whether it is the same account.
        None => format!("POST /api/v1/admin/integrations/{integration}/connections/{connection}/authorize"),
    }
}

/// The consent that somebody renews who has this link. Programs follow links, too: nothing is changed by it.
///
/// # Errors
/// `not_found` when the link is none or not any more.
pub fn follow(app: &App, place: &Place, ticket: &str) -> Result<Arc<Consent>> {
    read(app, place, ticket).map(|(_, consent)| consent)
}

/// What somebody is asked who goes on from there.
///
/// # Errors
/// The same, and when somebody else is asked already.
pub async fn begin(app: &Arc<App>, place: &Place, ticket: &str) -> Result<Asking> {
    let (values, consent) = read(app, place, ticket)?;
    begin::begin(app, place, &values, Vec::new(), consent.account_id.clone()).await
}

fn read(app: &App, place: &Place, ticket: &str) -> Result<(Values, Arc<Consent>)> {
    let none =
        || Error::new(Kind::NotFound, "This link does not count, or not any more: somebody may have agreed by now");
    let values = place.values(app).ok_or_else(none)?;
    let consent = values.consent.clone().filter(|consent| consent.account_id.is_some()).ok_or_else(none)?;
    let given = BASE64.decode(ticket).map_err(|_| none())?;
    mac(app, place, &consent).verify_slice(&given).map_err(|_| none())?;
    Ok((values, consent))
}

/// Another consent has another link, and so has one that is over.
fn mac(app: &App, place: &Place, consent: &Consent) -> Hmac<Sha256> {
    let key = app.sealer.derived(PURPOSE);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key may have any length");
    let over = consent.over.as_ref().map_or(0, |over| over.at);
    for part in [&place.integration, &place.connection, &consent.agreed_at.to_string(), &over.to_string()] {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part.as_bytes());
    }
    mac
}
