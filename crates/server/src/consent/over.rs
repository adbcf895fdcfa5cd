//! A consent that does not count any more: people are told where to agree again, and what needs it waits until they have.

use super::{Consent, KEY, Place, link, stored, wanted};
use crate::{app::App, ceilings, connection::name, tokens::ask};
use std::sync::Arc;
use tercel_sdk::{Error, Host, Kind, grant::OAuth};
use tercel_store::{Ceiling, NewNotice};

const NOTICE: &str = "consent:";
/// What the scope begins with that runs wait for. It is a ceiling that is reached until somebody agrees.
const SCOPE: &str = "consent:";

/// Marks it, and tells people. Answers what whoever needed it is told.
pub async fn end(app: &Arc<App>, place: &Place, consent: &Consent, why: &str) -> Error {
    let ended = |there: Consent| there.is_same(consent).then(|| there.ended(why));
    match stored::change(app, place, KEY, ended).await {
        Ok(true) => {}
        Ok(false) => {
            let message = format!("Somebody agreed anew to what `{}` does: try again", place.name());
            return Error::new(Kind::Network, message);
        }
        Err(error) => tracing::error!("That a consent is over could not be stored: {error:#}"),
    }
    let consent = of(app, place).map_or_else(|| consent.ended(why), |consent| Consent::clone(&consent));
    tell(app, place, &consent).await;
    error(app, place, &consent)
}

/// What somebody is told who needs a consent that is over.
pub fn error(app: &App, place: &Place, consent: &Consent) -> Error {
    let why = consent.over.as_ref().map_or("it was taken back", |over| over.why.as_str());
    Error::new(Kind::Auth, format!("The consent for `{}` does not count any more: {why}", place.name()))
        .hint(format!("Somebody has to agree again: {}", link::of(app, place, consent)))
}

pub async fn tell(app: &App, place: &Place, consent: &Consent) {
    let error = error(app, place, consent);
    app.raise(NewNotice {
        key: format!("{NOTICE}{}", place.name()),
        severity: "error",
        title: format!("Somebody has to agree again to what `{}` does", place.name()),
        detail: format!("{}. Runs that need it wait", error.message),
        repair: error.hint,
    })
    .await;
}

/// More is asked for than somebody agreed to.
pub async fn lacks(app: &App, place: &Place, consent: &Consent, scopes: &[String]) {
    app.raise(NewNotice {
        key: format!("{NOTICE}{}", place.name()),
        severity: "warning",
        title: format!("`{}` asks for more than somebody agreed to", place.name()),
        detail: format!("New are {}. What was agreed to works until then", scopes.join(", ")),
        repair: Some(format!("Agree to it: {}", link::of(app, place, consent))),
    })
    .await;
}

/// There is nothing to tell any more, and what waits goes on.
pub async fn forget(app: &App, place: &Place) {
    app.close_notice(&format!("{NOTICE}{}", place.name())).await;
    ceilings::look(app);
    app.polls.notify_one();
}

/// The consent of a connection that is over, if it is, and if it is still needed: a new version may do without.
pub fn of(app: &Arc<App>, place: &Place) -> Option<Arc<Consent>> {
    let values = place.values(app)?;
    let consent = values.consent.clone().filter(|consent| consent.over.is_some())?;
    (!matches!(wanted(app, place, &values), Ok(None))).then_some(consent)
}

/// What runs of a connection wait for.
pub fn scope(place: &Place) -> String {
    format!("{SCOPE}{}", place.name())
}

/// Lets nothing through that waits for this scope while nobody has agreed.
pub fn ceiling(app: &Arc<App>, scope: &str, hour: i64) -> Option<Ceiling> {
    let (integration, connection) = name::read(scope.strip_prefix(SCOPE)?);
    of(app, &Place::new(integration, connection))?;
    Some(Ceiling::closed(scope.to_owned(), hour))
}

/// Tells the service that the tokens shall not count any more. Answers whether they do not; nothing where it cannot be told.
pub async fn revoke(host: &Host, oauth: &OAuth, consent: &Consent) -> Option<Result<(), Error>> {
    let address = oauth.revoke.as_deref()?;
    let (token, kind) = match &consent.refresh {
        Some(refresh) => (refresh, "refresh_token"),
        None => (&consent.access, "access_token"),
    };
    if token.is_empty() {
        return None;
    }
    let form = vec![("token", token.clone()), ("token_type_hint", kind.to_owned())];
    Some(match ask::answer(host, oauth, address, form).await {
        Ok(response) => response.ok().map(|_| ()),
        Err(no) => Err(no.error),
    })
}
