//! Asking for a token where nobody has to agree: with the client's own credentials, or with the key of a service account.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Map, json};
use std::time::Duration;
use tercel_sdk::{
    Error, Host, Kind, Result,
    grant::{Authenticates, Flow, Grant, OAuth},
    http::{Builder, Response},
    jwt::{self, Algorithm},
};
use url::form_urlencoded::{self, byte_serialize};

/// Services that do not say how long a token counts mean about this; one that counts shorter is refused and got anew.
const USUAL: Duration = Duration::from_secs(3_600);
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
const PATIENCE: Duration = Duration::from_secs(15);
/// By which a service account asks.
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub struct Got {
    pub secret: String,
    pub life: Duration,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Some write it as text.
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct No {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// # Errors
/// `not_configured` when a person has to agree first, else what the token server says no with.
pub async fn token(host: &Host, grant: &Grant) -> Result<Got> {
    match grant {
        Grant::OAuth(oauth) if oauth.flow == Flow::ClientCredentials => with_credentials(host, oauth).await,
        Grant::OAuth(_) => {
            let message = format!("`{}` is not connected: nobody has agreed yet", host.integration());
            Err(Error::not_configured(message).hint("Connect it on its card"))
        }
        Grant::ServiceAccount { key, scopes } => as_service_account(host, key, scopes).await,
    }
}

async fn with_credentials(host: &Host, oauth: &OAuth) -> Result<Got> {
    let id = host.field(&oauth.client_id)?.trim();
    let secret = match &oauth.client_secret {
        Some(key) => host.field(key)?.trim(),
        None => "",
    };
    let mut form = vec![("grant_type", "client_credentials".to_owned())];
    if !oauth.scopes.is_empty() {
        form.push(("scope", oauth.scopes.join(" ")));
    }
    form.extend(oauth.params.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mut request = host.http().post(&oauth.token);
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
    let hint = || {
        let name = |key: &str| host.name(key).to_owned();
        let names: Vec<String> =
            [Some(&oauth.client_id), oauth.client_secret.as_ref()].into_iter().flatten().map(|key| name(key)).collect();
        format!("Look whether {} are those of the app", names.join(" and "))
    };
    read(post(request, &form).await?, hint)
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
    read(post(host.http().post(&file.token_uri), &form).await?, hint)
}

async fn post(request: Builder, form: &[(&str, String)]) -> Result<Response> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = request.body("application/x-www-form-urlencoded", body).header("accept", "application/json");
    request.timeout(PATIENCE).repeatable().send().await
}

fn read(response: Response, hint: impl Fn() -> String) -> Result<Got> {
    if !response.status.is_success() {
        let status = response.status.as_u16();
        let said = response.json::<No>().ok().filter(|_| status < 500 && status != 429);
        return Err(match said {
            Some(no) => refused(&no).status(status).hint(hint()),
            None => match response.ok() {
                Err(error) => Error { message: format!("No token: {}", error.message), ..error },
                Ok(_) => Error::schema("No token, and no reason"),
            },
        });
    }
    // Some say no with a 200.
    if let Ok(no) = response.json::<No>() {
        return Err(refused(&no).hint(hint()));
    }
    let answer: Answer = serde_json::from_slice(&response.body)
        .map_err(|_| Error::schema("The token server says yes, and its answer has no token in it"))?;
    if answer.access_token.trim().is_empty() {
        return Err(Error::schema("The token server says yes, and its token is empty"));
    }
    let seconds = answer.expires_in.and_then(|said| said.as_u64().or_else(|| said.as_str()?.trim().parse().ok()));
    let life = seconds.map_or(USUAL, Duration::from_secs).min(LONGEST);
    Ok(Got { secret: answer.access_token, life })
}

fn refused(no: &No) -> Error {
    let kind = match no.error.as_str() {
        "invalid_client" | "unauthorized_client" | "invalid_grant" => Kind::Auth,
        "invalid_scope" | "access_denied" => Kind::Forbidden,
        "temporarily_unavailable" | "server_error" => Kind::Network,
        _ => Kind::Schema,
    };
    let cut = |text: &str| tercel_sdk::text::cut(text, 300);
    let more = no.error_description.as_deref().map_or_else(String::new, |said| format!(" ({})", cut(said)));
    Error::new(kind, format!("The token server says no: {}{more}", cut(&no.error)))
}
