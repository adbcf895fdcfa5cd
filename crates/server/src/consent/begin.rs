//! Beginning to ask a person: an address to open, or a code to type.

use super::{
    Place,
    asking::{self, Asking, Way},
    wanted,
};
use crate::{
    app::App,
    catalog::Values,
    connection::draft::{Changes, new_secret},
    tokens::ask,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tercel_sdk::{
    Error, Host, Kind, Result,
    grant::{Flow, OAuth},
};
use tercel_store::now;
use url::Url;

/// Where every person comes back to, whatever they agreed to.
pub const CALLBACK: &str = "/api/v1/oauth/callback";
/// How long a person may take in the browser.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The same where the service says a time, at the most.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Seconds between two questions where the service says nothing, and the least.
const INTERVAL: u64 = 5;

/// Asks for the consent to what the integration does. `values` are those that the tokens are got with; `changes` of them
/// are saved when the person has agreed, and only the account with this id may, if there is one: then it is asked once, and
/// not while somebody is asked who may be anybody.
///
/// # Errors
/// When the integration asks nobody, when values are missing, and what the service says no with.
pub async fn begin(
    app: &Arc<App>,
    place: &Place,
    values: &Values,
    changes: Changes,
    account_id: Option<String>,
) -> Result<Asking> {
    let beginning = app.consents.beginning.of(place);
    let _turn = beginning.lock().await;
    let before = place.values(app).and_then(|values| values.asking);
    match before.as_ref().filter(|asking| asking.is_open()) {
        Some(open) if account_id.is_some() && open.account_id == account_id => return Ok(Asking::clone(open)),
        Some(open) if account_id.is_some() && open.account_id.is_none() => {
            let message = format!("Somebody else is asked for their consent to what `{}` does", place.name());
            return Err(Error::new(Kind::Error, message).hint("Try again when they have answered, or in an hour"));
        }
        _ => {}
    }
    let Some((oauth, host)) = wanted(app, place, values)? else {
        let message = format!("Nobody has to agree to what `{}` does: connect it with its values", place.integration);
        return Err(Error::new(Kind::Unsupported, message));
    };
    host.field(&oauth.client_id)?;
    if let Some(key) = &oauth.client_secret {
        host.field(key)?;
    }
    let id = new_secret();
    let (way, life) = match oauth.flow {
        Flow::Device => device(&host, &oauth).await?,
        _ => (code(app, &host, &oauth, &id)?, PATIENCE),
    };
    let began_at = now();
    let ends_at = began_at.saturating_add(i64::try_from(life.as_micros()).unwrap_or(i64::MAX));
    let asking = Asking { id, way, changes, began_at, ends_at, account_id, agreed: None, end: None };
    let kept = asking::put(app, place, &asking).await;
    kept.map_err(|error| Error::new(Kind::Error, format!("It could not be stored: {error}")))?;
    if let Some(before) = before {
        asking::take_back(app, place, &before).await;
    }
    tracing::info!(
        integration = place.integration,
        connection = place.connection,
        "Somebody is asked for their consent"
    );
    Ok(asking)
}

/// Without an address of its own the server is where the browser is, or the person tells where they landed: services take
/// no other address without https.
pub fn redirect(app: &App) -> String {
    let own = app.config.base_url.clone();
    let base = own.unwrap_or_else(|| format!("http://127.0.0.1:{}", app.config.listen.port()));
    format!("{base}{CALLBACK}")
}

fn code(app: &App, host: &Host, oauth: &OAuth, state: &str) -> Result<Way> {
    let address = oauth.authorize.as_deref().unwrap_or_default();
    let mut url: Url = address
        .parse()
        .ok()
        .filter(|url: &Url| ["http", "https"].contains(&url.scheme()))
        .ok_or_else(|| Error::schema(format!("`{address}` is no address where a person could agree")))?;
    let (redirect, verifier) = (redirect(app), new_secret());
    let challenge = BASE64.encode(Sha256::digest(&verifier));
    let scopes = oauth.scopes.join(" ");
    let own = [
        ("response_type", "code"),
        ("client_id", host.field(&oauth.client_id)?.trim()),
        ("redirect_uri", &redirect),
        ("scope", &scopes),
        ("state", state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let given: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let more = given.iter().chain(&oauth.params).map(|(name, value)| (name.as_str(), value.as_str()));
    // What the flow stands on is not for an integration to say.
    let more: Vec<_> = more.filter(|(name, _)| own.iter().all(|(own, _)| own != name)).collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(more)
        .extend_pairs(own.into_iter().filter(|(_, value)| !value.is_empty()));
    Ok(Way::Code { url: url.into(), redirect, verifier })
}

#[derive(Deserialize)]
struct Answer {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(default, alias = "verification_url_complete")]
    verification_uri_complete: Option<String>,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    interval: Option<Value>,
}

async fn device(host: &Host, oauth: &OAuth) -> Result<(Way, Duration)> {
    let mut form = Vec::new();
    if !oauth.scopes.is_empty() {
        form.push(("scope", oauth.scopes.join(" ")));
    }
    form.extend(oauth.params.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let address = oauth.device.as_deref().unwrap_or_default();
    let response = ask::answer(host, oauth, address, form).await.map_err(|no| no.error)?;
    let answer: Answer = serde_json::from_slice(&response.body)
        .map_err(|_| Error::schema("The service gives no code that a person could type"))?;
    let seconds = |said: &Option<Value>| ask::seconds(said.as_ref()?);
    let life = seconds(&answer.expires_in).map_or(PATIENCE, Duration::from_secs).min(LONGEST);
    let is_address = |text: &str| text.parse::<Url>().is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if !is_address(&answer.verification_uri) {
        return Err(Error::schema("The service names no address where the code could be typed"));
    }
    let way = Way::Device {
        url: answer.verification_uri,
        complete_url: answer.verification_uri_complete.filter(|url| is_address(url)),
        user_code: tercel_sdk::text::cut(&answer.user_code, 100),
        device_code: answer.device_code,
        interval: seconds(&answer.interval).unwrap_or(INTERVAL).clamp(1, 300),
    };
    Ok((way, life))
}
