//! A token for the code of a folder, which makes its requests itself.

use crate::{
    api::{
        auth::Identity,
        during::During,
        error::{Error, Result},
        integrations::unlocked,
        request::{Ids, Query},
    },
    app::App,
    consent::{Place, call},
};
use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use tercel_sdk::Kind;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// SHA-256, in hexadecimal digits, of a token that the service did not take: the answer is another one.
    #[serde(default)]
    refused: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Token {
    access_token: String,
}

/// Get a token that counts now, as the code of the integration itself
#[utoipa::path(get, path = "/api/v1/admin/integrations/{id}/connections/{name}/token", tag = "connections", operation_id = "connection_token", params(("id" = String, Path), ("name" = String, Path), Wanted), responses((status = 200, body = Token), (status = 403, description = "Only the code of the integration is given one"), (status = 409, description = "Nobody has agreed, or not any more"), (status = 502, description = "The service gives none now")))]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    during: During,
    Ids((id, name)): Ids<(String, String)>,
    Query(Wanted { refused }): Query<Wanted>,
) -> Result<Response> {
    let entry = unlocked(&app, &id)?;
    if identity.folder.as_ref().is_none_or(|folder| folder.integration != id) {
        return Err(Error::forbidden(format!("The tokens of `{id}` are for its own code only")));
    }
    // What is tested before it is saved: the connection may not be there yet.
    let lent = during.of(&app, &identity).and_then(|call| call.lent(&name));
    if lent.is_none() {
        super::there(&entry, &name)?;
    }
    if entry.integration.grant.is_none() {
        return Err(Error::invalid(format!("`{id}` has neither `oauth2` nor `service_account` below `http.auth`")));
    }
    if let Some(refused) = refused {
        app.consents.turns.refuse(&Place::new(&id, &name), refused).await;
    }
    let token = match lent {
        Some(tokens) => tokens.access().await,
        None => {
            let gone = || Error::not_found(format!("There is no connection `{name}`"));
            app.host(&id, &name, call()).ok_or_else(gone)?.token().await
        }
    };
    Ok(match token {
        Ok(access_token) => Json(Token { access_token }).into_response(),
        Err(error) => refusal(&error),
    })
}

/// Why there is none. By the code, the part that asked says why it failed: runs and answers wait for a consent.
fn refusal(error: &tercel_sdk::Error) -> Response {
    let status = match error.kind {
        Kind::Auth | Kind::NotConfigured => StatusCode::CONFLICT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let hint = error.hint.as_ref().map(|hint| format!(". {hint}")).unwrap_or_default();
    let detail = format!("{}{hint}", error.message);
    (status, Json(json!({"detail": detail, "code": error.kind.as_str()}))).into_response()
}
