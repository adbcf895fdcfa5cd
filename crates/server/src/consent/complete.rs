//! A person has agreed: their tokens are saved with what they were asked for, the connection is tested, what waited goes on.

use super::{
    Consent, Place,
    asking::{self, ASKING, Asking, Way},
    over,
    stored::{self, sealed},
    wanted,
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry},
    connection::{
        self,
        draft::{Draft, Fault, draft},
        files, save,
    },
    tokens::ask,
};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_sdk::{Error, Host, Kind, Result, grant::OAuth};
use tercel_store::{NewSetting, Saved};

/// What became of it.
pub enum Ended {
    /// With what the test of the connection said.
    Agreed(connection::Outcome),
    Failed(Error),
    /// The service could not be asked; the same can be tried again.
    Unreached(Error),
}

/// A browser came back with this code.
pub async fn complete(app: &Arc<App>, place: &Place, asking: &Asking, code: &str) -> Ended {
    // Whoever comes twice at the same time is served one after the other.
    let completing = app.consents.completing.of(place);
    let _turn = completing.lock().await;
    let Some(asking) = place.values(app).and_then(|values| values.asking).filter(|open| open.id == asking.id) else {
        return Ended::Failed(nobody_waits());
    };
    let (Way::Code { redirect, verifier, .. }, true) = (&asking.way, asking.is_open()) else {
        return Ended::Failed(Error::new(Kind::Error, "This was answered before, or its time is over"));
    };
    let form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", redirect.clone()),
        ("code_verifier", verifier.clone()),
    ];
    match exchange(app, place, &asking, form).await {
        Ok(ended) => ended,
        Err(no) if no.may_pass() => Ended::Unreached(no.error),
        Err(no) => give_up(app, place, &asking, no.error).await,
    }
}

/// Gets the tokens and saves what there is to save.
///
/// # Errors
/// What the service says no with; then nothing is saved.
pub(super) async fn exchange(
    app: &Arc<App>,
    place: &Place,
    asking: &Asking,
    form: Vec<(&str, String)>,
) -> Result<Ended, ask::No> {
    let (entry, Draft { mut values, changes, .. }) = drafted(app, place, asking)?;
    let gone = || Error::new(Kind::Unsupported, format!("`{}` asks for nobody's consent any more", place.name()));
    let (oauth, host) = wanted(app, place, &values)?.ok_or_else(gone)?;
    let mut consent = match &asking.agreed {
        Some(consent) => consent.clone(),
        None => match asking::is_still_open(app, place, asking).await {
            Ok(true) => Consent::new(ask::client(&host, &oauth, form).await?, &oauth, &host),
            Ok(false) => return Ok(Ended::Failed(nobody_waits())),
            Err(error) => {
                let message = format!("What the service gives could not be stored now: {error:#}");
                return Err(Error::new(Kind::Network, message).into());
            }
        },
    };
    values.draft = Some(Arc::new(consent.clone()));
    let asked = connection::asked_with(app, &place.integration, &place.connection, &values).await;
    if let Ok(checked) = &asked.result {
        (consent.account, consent.account_id) = (checked.account.clone(), checked.account_id.clone());
    }
    if let Some(expected) = &asking.account_id
        && consent.account_id.as_ref() != Some(expected)
    {
        let agreed = Agreed { consent, host, oauth };
        return refuse(app, place, asking, agreed, asked.result.err()).await;
    }
    let mut changes = save::sealed_all(app, &entry, &place.connection, changes);
    changes.push(sealed(app, place, super::KEY, Some(&consent)));
    changes.push(sealed::<Asking>(app, place, ASKING, None));
    match save(app, place, &entry, asking, changes).await {
        Ok(true) => {}
        Ok(false) => {
            over::revoke(&host, &oauth, &consent).await;
            return Ok(Ended::Failed(nobody_waits()));
        }
        // The tokens are gone with it: the service would not take the code again.
        Err(error) => {
            let error = Error::new(Kind::Error, format!("It could not be stored: {error:#}"));
            return Ok(give_up(app, place, asking, error).await);
        }
    }
    tracing::info!(integration = place.integration, connection = place.connection, "Somebody agreed");
    over::forget(app, place).await;
    let tested = connection::fits_with(app, &place.integration, &place.connection, &values, asked).await;
    // Somebody may have disconnected it again.
    if place.values(app).and_then(|values| values.consent).is_some_and(|now| now.agreed_at == consent.agreed_at) {
        connection::keep(app, &place.integration, &place.connection, &tested, Saved::Now).await;
    }
    Ok(Ended::Agreed(tested))
}

/// Answers whether the person was still asked; otherwise nothing is saved.
async fn save(
    app: &Arc<App>,
    place: &Place,
    entry: &Entry,
    asking: &Asking,
    changes: Vec<NewSetting>,
) -> anyhow::Result<bool> {
    let turns = app.consents.turns.of(place);
    let mut turn = turns.lock().await;
    let of_open = |there: Asking| asking.is_open_as(&there).then(|| changes.clone());
    let is_saved = stored::change_all(app, place, ASKING, of_open).await?;
    if is_saved {
        turn.forget();
        save::take_effect(app, entry, &place.connection).await?;
        if place.connection == DEFAULT {
            files::follow(app, &place.integration);
        }
    }
    Ok(is_saved)
}

struct Agreed {
    consent: Consent,
    host: Host,
    oauth: OAuth,
}

/// Whoever agreed is not known to be who may. What another account agreed to is taken back; what is perhaps of the right
/// one is not, and is kept while the test may still say so.
async fn refuse(
    app: &Arc<App>,
    place: &Place,
    asking: &Asking,
    Agreed { consent, host, oauth }: Agreed,
    failed: Option<Error>,
) -> Result<Ended, ask::No> {
    let error = match (failed.map(ask::No::from), &consent.account_id) {
        (Some(no), _) if no.may_pass() && asking::keep(app, place, asking, &consent).await.is_ok_and(|kept| kept) => {
            return Err(no);
        }
        (Some(no), _) => {
            Error { message: format!("Nobody can tell which account agreed: {}", no.error.message), ..no.error }
        }
        (None, None) => Error::new(Kind::Forbidden, "Nobody can tell which account agreed: the test does not say it"),
        (None, Some(id)) => {
            over::revoke(&host, &oauth, &consent).await;
            let name = |consent: &Consent| consent.account.clone();
            let who = name(&consent).unwrap_or_else(|| id.clone());
            let connected = place.values(app).and_then(|values| values.consent).and_then(|consent| name(&consent));
            let connected = connected.map_or_else(|| "another account".into(), |name| format!("`{name}`"));
            let message = format!("`{who}` agreed, and `{}` is connected as {connected}", place.name());
            let hint = "Agree with that account; another one is connected by who may change connections";
            Error::new(Kind::Forbidden, message).hint(hint)
        }
    };
    Ok(give_up(app, place, asking, error).await)
}

fn nobody_waits() -> Error {
    Error::new(Kind::Error, "Somebody began anew meanwhile, or disconnected it")
}

/// The connection as it is with what was given when the person was asked.
fn drafted(app: &App, place: &Place, asking: &Asking) -> Result<(Arc<Entry>, Draft)> {
    let gone = || Error::new(Kind::NotFound, format!("There is no integration `{}` any more", place.integration));
    let entry = app.catalog().integrations.get(&place.integration).cloned().ok_or_else(gone)?;
    let given = asking.changes.iter().map(|(key, value)| (key.clone(), value.clone().into()));
    let given: Map<String, Value> = given.collect();
    let draft = draft(&entry, &place.connection, &given).map_err(|fault| {
        let words = match fault {
            Fault::Unknown(key) => format!("`{}` has no field `{key}` any more", place.integration),
            Fault::Wrong(wrong) => wrong.to_string(),
        };
        Error::new(Kind::NotConfigured, words)
    })?;
    Ok((entry, draft))
}

async fn give_up(app: &Arc<App>, place: &Place, asking: &Asking, error: Error) -> Ended {
    if let Err(failed) = asking::end(app, place, asking, error.kind.as_str(), &error.message).await {
        tracing::error!("That nobody agreed could not be stored: {failed:#}");
    }
    Ended::Failed(error)
}
