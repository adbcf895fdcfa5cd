//! Where people come back to after they have agreed at a service, and where they begin to agree again. What they see is a page.

use super::{
    error::{Error, Result},
    request::{Ids, Query},
};
use crate::{
    app::App,
    consent::{
        Ended, Place,
        asking::{self, Asking, Way},
        complete, link,
    },
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tercel_sdk::Kind;

/// What a service adds to the address.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Answer {
    #[serde(default)]
    pub state: Option<String>,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub error_description: Option<String>,
}

/// Come back from a service with what the person said there
#[utoipa::path(get, path = "/api/v1/oauth/callback", tag = "connections", operation_id = "oauth_callback", params(Answer), responses((status = 200, description = "A page: the connection works", content_type = "text/html"), (status = 400, description = "A page: nothing came of it", content_type = "text/html"), (status = 502, description = "A page: the service cannot be reached now, the same address works later", content_type = "text/html")))]
pub async fn callback(State(app): State<Arc<App>>, Query(answer): Query<Answer>) -> Response {
    let (status, title, text) = said(take(&app, answer, None).await);
    page(status, title, &text)
}

/// Open the link of a notice, from which somebody agrees again
#[utoipa::path(get, path = "/api/v1/oauth/agree/{id}/{name}/{ticket}", tag = "connections", operation_id = "oauth_link", params(("id" = String, Path), ("name" = String, Path), ("ticket" = String, Path)), responses((status = 200, description = "A page with a button that begins", content_type = "text/html"), (status = 400, description = "A page: this cannot be done", content_type = "text/html")))]
pub async fn link(
    State(app): State<Arc<App>>,
    Ids((integration, connection, ticket)): Ids<(String, String, String)>,
) -> Response {
    let place = Place::new(&integration, &connection);
    match link::follow(&app, &place, &ticket) {
        Ok(consent) => {
            let who = consent.account.as_ref().map(|who| format!(" as {who}")).unwrap_or_default();
            let text = format!("{} is connected{who}, and only that account can agree here", place.name());
            let button = "<form method=\"post\"><button>Agree at the service</button></form>";
            page_with(StatusCode::OK, "Agree again", &text, button)
        }
        Err(error) => cannot(error),
    }
}

/// Begin to agree again, by the button behind the link of a notice
#[utoipa::path(post, path = "/api/v1/oauth/agree/{id}/{name}/{ticket}", tag = "connections", operation_id = "oauth_agree", params(("id" = String, Path), ("name" = String, Path), ("ticket" = String, Path)), responses((status = 200, description = "A page with the code to type", content_type = "text/html"), (status = 303, description = "On to the service"), (status = 400, description = "A page: this cannot be done", content_type = "text/html")))]
pub async fn agree(
    State(app): State<Arc<App>>,
    Ids((integration, connection, ticket)): Ids<(String, String, String)>,
) -> Response {
    match link::begin(&app, &Place::new(&integration, &connection), &ticket).await {
        Ok(asking) => match &asking.way {
            Way::Code { url, .. } => (StatusCode::SEE_OTHER, [(header::LOCATION, url.clone())]).into_response(),
            Way::Device { url, user_code, .. } => {
                page(StatusCode::OK, "Type this code", &format!("Open {url} and type {user_code}"))
            }
        },
        Err(error) => cannot(error),
    }
}

fn cannot(error: tercel_sdk::Error) -> Response {
    let text = [Some(error.message), error.hint].into_iter().flatten().collect::<Vec<_>>().join(". ");
    page(StatusCode::BAD_REQUEST, "This cannot be done", &text)
}

/// What became of it, and of which connection.
pub enum Taken {
    /// Nobody knows this state.
    Unknown,
    Ended(Place, Ended),
}

/// `only`: of this connection.
pub async fn take(app: &Arc<App>, answer: Answer, only: Option<&Place>) -> Taken {
    let found = asking::with_state(app, answer.state.as_deref().unwrap_or_default());
    let Some((place, asking)) = found.filter(|(place, _)| only.is_none_or(|only| only == place)) else {
        return Taken::Unknown;
    };
    // On its own: whoever asked may hang up in the middle, and what the service gave would be lost.
    let at_work = (app.clone(), place.clone());
    let ended = app.work.spawn(async move { answered(&at_work.0, &at_work.1, &asking, answer).await }).await;
    let stopped = |_| Ended::Unreached(tercel_sdk::Error::new(Kind::Network, "The server stopped in the middle"));
    Taken::Ended(place, ended.unwrap_or_else(stopped))
}

async fn answered(app: &Arc<App>, place: &Place, asking: &Asking, answer: Answer) -> Ended {
    match (answer.code, answer.error) {
        (Some(code), None) if !code.is_empty() => complete(app, place, asking, &code).await,
        (_, error) => {
            let error = error.unwrap_or_else(|| "no code".into());
            let more = answer.error_description.map(|more| format!(" ({})", tercel_sdk::text::cut(&more, 300)));
            let message = match error.as_str() {
                "access_denied" => "The person said no".to_owned(),
                other => format!("The service says no: {}", tercel_sdk::text::cut(other, 100)),
            };
            let message = format!("{message}{}", more.unwrap_or_default());
            refuse(app, place, asking, message).await
        }
    }
}

async fn refuse(app: &Arc<App>, place: &Place, asking: &Asking, message: String) -> Ended {
    let kind = Kind::Forbidden;
    if asking.is_open()
        && let Err(error) = asking::end(app, place, asking, kind.as_str(), &message).await
    {
        tracing::error!("That nobody agreed could not be stored: {error:#}");
    }
    Ended::Failed(tercel_sdk::Error::new(kind, message))
}

fn said(taken: Taken) -> (StatusCode, &'static str, String) {
    match taken {
        Taken::Unknown => {
            let text = "Nobody waits for this answer, or not any more. Begin again where you began";
            (StatusCode::BAD_REQUEST, "This is not known here", text.into())
        }
        Taken::Ended(place, Ended::Agreed(outcome)) => match outcome.result {
            Ok(checked) => {
                let who = checked.account.map(|who| format!(" as {who}")).unwrap_or_default();
                (StatusCode::OK, "Connected", format!("{} is connected{who}. You can close this page", place.name()))
            }
            Err(error) => {
                let text = format!("What you agreed to is kept, and the test of {} fails: {error}", place.name());
                (StatusCode::OK, "Agreed, and not working yet", text)
            }
        },
        Taken::Ended(place, Ended::Failed(error)) => {
            let hint = error.hint.map(|hint| format!(". {hint}")).unwrap_or_default();
            let text = format!("{} is not connected: {}{hint}", place.name(), error.message);
            (StatusCode::BAD_REQUEST, "Nothing came of it", text)
        }
        Taken::Ended(place, Ended::Unreached(error)) => {
            let text =
                format!("{} is not connected yet: {}. Load this page again in a while", place.name(), error.message);
            (StatusCode::BAD_GATEWAY, "The service cannot be reached", text)
        }
    }
}

/// What a person sees. Nothing of it is anybody else's: no script, no style of others, no word to where a link leads.
fn page(status: StatusCode, title: &str, text: &str) -> Response {
    page_with(status, title, text, "")
}

/// The same with a form of ours. Where that leads on to is another address, and browsers differ in whether they forbid it with
/// the form's own.
fn page_with(status: StatusCode, title: &str, text: &str, form: &str) -> Response {
    let (title, text) = (escaped(title), escaped(text));
    let forms = if form.is_empty() { "; form-action 'none'" } else { "" };
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} · Tercel</title><style>{STYLE}</style>\
         <header>Tercel</header><h1>{title}</h1><p>{text}.</p>{form}</html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'{forms}");
    (status, headers, [(header::CONTENT_SECURITY_POLICY, policy)], body).into_response()
}

const STYLE: &str = "\
    :root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}\
    body{max-width:32rem;margin:15vh auto 0;padding:0 1.5rem;overflow-wrap:anywhere}\
    header{opacity:.6}\
    h1{font-size:1.6rem;line-height:1.25;margin:.25rem 0 .75rem}\
    button{font:inherit;margin-top:.5rem;padding:.6rem 1.2rem;border:0;border-radius:.4rem;background:#2453b3;color:#fff}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// What a person copied out of the address line.
///
/// # Errors
/// When it is no address.
pub fn read(address: &str) -> Result<Answer> {
    let wrong =
        || Error::invalid("address: the whole address is expected that the browser shows after you have agreed");
    let url: url::Url = address.trim().parse().map_err(|_| wrong())?;
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let answer = Answer {
        state: value("state"),
        code: value("code"),
        error: value("error"),
        error_description: value("error_description"),
    };
    if answer.state.is_none() { Err(wrong()) } else { Ok(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_puts_into_an_address_is_only_text_on_the_page() {
        assert_eq!(escaped("<img src=x onerror='a'>\"&"), "&lt;img src=x onerror=&#39;a&#39;&gt;&quot;&amp;");
    }
}
