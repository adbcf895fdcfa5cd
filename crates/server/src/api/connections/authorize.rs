//! Asking a person for their consent to what a connection does.

use super::{Draft, Outcome, drafted, key, secrets_stay};
use crate::{
    api::{
        auth::Identity,
        error::{Error, Result},
        integrations::{find, unlocked},
        oauth::{self, Taken},
        request::{Body, Ids},
        time::Time,
    },
    app::App,
    catalog::Values,
    connection::{self, draft::Draft as Drafted, name},
    consent::{
        Ended, Place,
        asking::{Asking as Open, CODE, DEVICE, Way},
        begin, wanted,
    },
};
use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tercel_sdk::{Kind, grant::Flow};

/// What a person has to do.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Asking {
    /// `code`: open `url` in a browser, which comes back here; `device`: open `url` anywhere and type `user_code`.
    flow: String,
    url: String,
    /// The same with the code in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_code: Option<String>,
    /// Where the browser comes back to: the service has to know it. Where nothing listens for the person, post the address
    /// that they landed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<String>,
    expires_at: Time,
    /// Secrets that were made for it, by field key: they are not shown again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    generated: BTreeMap<String, String>,
}

/// Somebody is asked, or was.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Asked {
    /// `code` or `device`.
    flow: String,
    expires_at: Time,
    /// Why nothing came of it; absent while it is open.
    ended: Option<End>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct End {
    /// `forbidden`, `expired`, `auth`, …
    code: String,
    message: String,
    at: Time,
}

/// What a person agreed to.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Consent {
    /// `code` or `device`.
    flow: String,
    /// `none`, `agreed`, or `over`: somebody has to agree again.
    state: &'static str,
    /// Why it is over.
    why: Option<String>,
    agreed_at: Option<Time>,
    account: Option<String>,
    scopes: Vec<String>,
    /// What is asked for by now and was not agreed to.
    lacks: Vec<String>,
    /// The address that the service has to know.
    redirect: String,
    /// Whether somebody is asked. Who has the address or the code decides which account it is, so that only the one who
    /// asks is given them.
    asking: Option<Asked>,
}

/// Ask for the consent of a person, who agrees at the service
///
/// The values are saved when they have agreed. Whoever was asked before is not any more.
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/authorize", tag = "connections", operation_id = "authorize_connection", params(("id" = String, Path), ("name" = String, Path)), request_body = Draft, responses((status = 200, body = Asking), (status = 422, description = "Values are missing, or nobody has to agree"), (status = 502, description = "The service gives no code")))]
pub async fn begin(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids((id, name)): Ids<(String, String)>,
    Body(Draft(given)): Body<Draft>,
) -> Result<Json<Asking>> {
    let entry = unlocked(&app, &id)?;
    name::check(&name).map_err(Error::invalid)?;
    let Drafted { values, changes, generated } = drafted(&identity, &entry, &name, given)?;
    secrets_stay(&entry, &name, &changes, key)?;
    for field in entry.integration.fields.iter().filter(|field| field.required) {
        if values.fields.get(&field.key).is_none_or(|value| value.trim().is_empty()) {
            return Err(Error::invalid(format!("{}: it is required", field.key)));
        }
    }
    let asking = begin::begin(&app, &Place::new(&id, &name), &values, changes, None).await.map_err(|error| {
        let hint = error.hint.map(|hint| format!(". {hint}")).unwrap_or_default();
        let words = format!("{}{hint}", error.message);
        match error.kind {
            Kind::Unsupported | Kind::NotConfigured => Error::invalid(words),
            Kind::Error => Error::unavailable(words),
            _ => Error::bad_gateway(words),
        }
    })?;
    Ok(Json(Asking { generated, ..Asking::from(&asking) }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Landed {
    /// The whole address that the browser shows after the person has agreed.
    address: String,
}

/// Tell what the service answered a person whose browser does not reach this server
#[utoipa::path(post, path = "/api/v1/admin/integrations/{id}/connections/{name}/authorize/landed", tag = "connections", operation_id = "authorization_landed", params(("id" = String, Path), ("name" = String, Path)), request_body = Landed, responses((status = 200, body = Outcome), (status = 422, description = "The address is not one that is waited for")))]
pub async fn landed(
    State(app): State<Arc<App>>,
    Ids((id, name)): Ids<(String, String)>,
    Body(body): Body<Landed>,
) -> Result<Json<Outcome>> {
    find(&app, &id)?;
    let answer = oauth::read(&body.address)?;
    match oauth::take(&app, answer, Some(&Place::new(&id, &name))).await {
        Taken::Unknown => Err(Error::invalid("address: nobody waits for this answer, or not any more; begin again")),
        Taken::Ended(_, Ended::Agreed(outcome)) => Ok(Json(Outcome { saved: true, ..outcome.into() })),
        Taken::Ended(_, Ended::Failed(error) | Ended::Unreached(error)) => {
            Ok(Json(connection::Outcome::untold(error).into()))
        }
    }
}

impl Consent {
    pub fn of(app: &Arc<App>, place: &Place, values: &Values) -> Option<Self> {
        let (oauth, _) = wanted(app, place, values).ok()??;
        let consent = values.consent.as_deref();
        let over = consent.and_then(|consent| consent.over.as_ref());
        Some(Self {
            flow: if oauth.flow == Flow::Device { DEVICE } else { CODE }.into(),
            state: match (consent, over) {
                (None, _) => "none",
                (_, Some(_)) => "over",
                _ => "agreed",
            },
            why: over.map(|over| over.why.clone()),
            agreed_at: consent.map(|consent| Time(consent.agreed_at)),
            account: consent.and_then(|consent| consent.account.clone()),
            scopes: consent.map(|consent| consent.scopes.clone()).unwrap_or_default(),
            lacks: consent.map(|consent| consent.lacks(&oauth)).unwrap_or_default(),
            redirect: begin::redirect(app),
            asking: values.asking.as_deref().map(Asked::from),
        })
    }
}

impl From<&Open> for Asked {
    fn from(open: &Open) -> Self {
        let end = open.end.as_ref();
        Self {
            flow: open.way.flow().into(),
            expires_at: Time(open.ends_at),
            ended: end.map(|end| End { code: end.code.clone(), message: end.message.clone(), at: Time(end.at) }),
        }
    }
}

impl From<&Open> for Asking {
    fn from(open: &Open) -> Self {
        let (flow, expires_at, generated) = (open.way.flow().into(), Time(open.ends_at), BTreeMap::new());
        match open.way.clone() {
            Way::Code { url, redirect, .. } => {
                Self { flow, url, complete_url: None, user_code: None, redirect: Some(redirect), expires_at, generated }
            }
            Way::Device { url, complete_url, user_code, .. } => {
                Self { flow, url, complete_url, user_code: Some(user_code), redirect: None, expires_at, generated }
            }
        }
    }
}
