//! Asking a token server: with the client's own credentials, with the key of a service account, or with what a person gave.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tercel_sdk::{
    Error, Host, Kind, Result,
    grant::{Authenticates, Flow, Grant, OAuth},
    http::{Builder, Response},
    jwt::{self, Algorithm},
};
use url::form_urlencoded::{self, byte_serialize};

/// Services that do not say how long a token counts mean about this; one that counts shorter is refused and got anew.
pub const USUAL: Duration = Duration::from_secs(3_600);
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
const PATIENCE: Duration = Duration::from_secs(15);
/// By which a service account asks.
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub struct Got {
    pub secret: String,
    /// As the service says it.
    pub life: Option<Duration>,
    /// With which the next one is got.
    pub refresh: Option<String>,
    /// What it is good for, if that is not what was asked for.
    pub scope: Option<String>,
}

/// Why there is no token.
pub struct No {
    /// By which programs tell the reasons apart, where the token server gave one.
    pub code: Option<String>,
    pub error: Error,
}

impl No {
    /// Nothing is decided: the same may be asked again.
    pub fn may_pass(&self) -> bool {
        let is_away = matches!(self.error.kind, Kind::Network | Kind::Timeout | Kind::RateLimited);
        is_away || self.error.status.is_some_and(|status| status >= 500)
    }
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        Self { code: None, error }
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Some write it as text.
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// For a grant that nobody has to agree to.
///
/// # Errors
/// What the token server says no with.
pub async fn token(host: &Host, grant: &Grant) -> Result<Got> {
    match grant {
        Grant::OAuth(oauth) if oauth.flow == Flow::ClientCredentials => {
            let mut form = vec![("grant_type", "client_credentials".to_owned())];
            if !oauth.scopes.is_empty() {
                form.push(("scope", oauth.scopes.join(" ")));
            }
            form.extend(oauth.params.iter().map(|(name, value)| (name.as_str(), value.clone())));
            client(host, oauth, form).await.map_err(|no| no.error)
        }
        Grant::OAuth(_) => Err(Error::not_configured("Somebody has to agree first")),
        Grant::ServiceAccount { key, scopes } => as_service_account(host, key, scopes).await,
    }
}

/// What the token server gives the client for this form.
///
/// # Errors
/// What it says no with.
pub async fn client(host: &Host, oauth: &OAuth, form: Vec<(&str, String)>) -> Result<Got, No> {
    Ok(read(&answer(host, oauth, &oauth.token, form).await?)?)
}

/// The same for any address of the service that only the client may ask.
///
/// # Errors
/// What it says no with.
pub async fn answer(host: &Host, oauth: &OAuth, address: &str, mut form: Vec<(&str, String)>) -> Result<Response, No> {
    let id = host.field(&oauth.client_id)?.trim();
    let secret = match &oauth.client_secret {
        Some(key) => host.field(key)?.trim(),
        None => "",
    };
    let mut request = host.http().post(address);
    match oauth.send {
        Authenticates::Basic => {
            // RFC 6749 has them encoded before they are put together.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let both = BASE64.encode(format!("{}:{}", encoded(id), encoded(secret)));
            request = request.secret_header("authorization", &format!("Basic {both}"));
        }
        Authenticates::Form => form.extend([("client_id", id.to_owned()), ("client_secret", secret.to_owned())]),
        Authenticates::None => form.push(("client_id", id.to_owned())),
    }
    let response = post(request, &form).await?;
    check(&response, || client_hint(host, oauth)).map_err(|no| match no.code.as_deref() {
        // The client is right, and what it sent is not, or not any more.
        Some("invalid_grant") => No { error: Error { hint: None, ..no.error }, ..no },
        _ => no,
    })?;
    Ok(response)
}

fn client_hint(host: &Host, oauth: &OAuth) -> String {
    let keys = [Some(&oauth.client_id), oauth.client_secret.as_ref()].into_iter().flatten();
    let names: Vec<&str> = keys.map(|key| host.name(key)).collect();
    format!("Look whether {} are those of the app", names.join(" and "))
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    token_uri: String,
}

async fn as_service_account(host: &Host, key: &str, scopes: &[String]) -> Result<Got> {
    let name = host.name(key).to_owned();
    let text = host.field(key)?;
    let unread = |what: String| {
        Error::new(Kind::NotConfigured, format!("{name} is no key file of a service account: {what}"))
            .hint("It is the whole JSON file that the console gives when a key is made")
    };
    // What serde says may repeat what is in it.
    let file: KeyFile = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => unread("it has no client_email, private_key or token_uri".into()),
        _ => unread(format!("it is no JSON (line {})", error.line())),
    })?;
    let now = Utc::now().timestamp();
    let claims = json!({
        "iss": file.client_email,
        "scope": scopes.join(" "),
        "aud": file.token_uri,
        "iat": now,
        "exp": now + 3_600,
    });
    let mut header = Map::new();
    header.extend(file.private_key_id.map(|id| ("kid".to_owned(), id.into())));
    let assertion = jwt::sign(Algorithm::Rs256, &header, &claims, file.private_key.as_bytes())
        .map_err(|error| unread(error.message))?;
    let form = [("grant_type", BEARER.to_owned()), ("assertion", assertion)];
    let hint = || {
        format!(
            "Look whether `{}` still exists and has this key, and whether the clock of this server is right",
            file.client_email
        )
    };
    let response = post(host.http().post(&file.token_uri), &form).await?;
    check(&response, hint).map_err(|no| no.error)?;
    read(&response)
}

async fn post(request: Builder, form: &[(&str, String)]) -> Result<Response> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = request.body("application/x-www-form-urlencoded", body).header("accept", "application/json");
    request.timeout(PATIENCE).repeatable().send().await
}

/// Whether the token server says yes. Some say no with a 200.
fn check(response: &Response, hint: impl Fn() -> String) -> Result<(), No> {
    let status = response.status.as_u16();
    let said = response.json::<Said>().ok().filter(|_| status < 500 && status != 429);
    if let Some(said) = said {
        let error = refused(&said).hint(hint());
        let error = if response.status.is_success() { error } else { error.status(status) };
        return Err(No { code: Some(said.error), error });
    }
    match response.clone().ok() {
        Ok(_) => Ok(()),
        Err(error) => Err(Error { message: format!("No token: {}", error.message), ..error }.into()),
    }
}

fn read(response: &Response) -> Result<Got> {
    let answer: Answer = serde_json::from_slice(&response.body)
        .map_err(|_| Error::schema("The token server says yes, and its answer has no token in it"))?;
    if answer.access_token.trim().is_empty() {
        return Err(Error::schema("The token server says yes, and its token is empty"));
    }
    let life = answer.expires_in.as_ref().and_then(seconds).map(|said| Duration::from_secs(said).min(LONGEST));
    let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    Ok(Got { secret: answer.access_token, life, refresh: filled(answer.refresh_token), scope: filled(answer.scope) })
}

/// Some write numbers as text.
pub fn seconds(said: &Value) -> Option<u64> {
    said.as_u64().or_else(|| said.as_str()?.trim().parse().ok())
}

fn refused(said: &Said) -> Error {
    let kind = match said.error.as_str() {
        "invalid_client" | "unauthorized_client" | "invalid_grant" => Kind::Auth,
        "invalid_scope" | "access_denied" => Kind::Forbidden,
        "temporarily_unavailable" | "server_error" => Kind::Network,
        _ => Kind::Schema,
    };
    let cut = |text: &str| tercel_sdk::text::cut(text, 300);
    let more = said.error_description.as_deref().map_or_else(String::new, |more| format!(" ({})", cut(more)));
    Error::new(kind, format!("The token server says no: {}{more}", cut(&said.error)))
}
