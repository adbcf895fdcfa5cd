//! Where notices are sent.

use super::{
    error::{Error, Result},
    request::Body,
    target::{self, Config},
};
use crate::{announce, app::App, outbox};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    /// With its `type`, as for a session.
    #[schema(value_type = Object)]
    dispatch_config: Config,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct NoticeTarget {
    /// Secrets are masked. Null: notices are sent nowhere.
    #[schema(value_type = Option<Object>)]
    dispatch_config: Option<Value>,
}

/// Show where notices are sent
#[utoipa::path(get, path = "/api/v1/notices/target", tag = "notices", responses((status = 200, body = NoticeTarget)))]
pub async fn show(State(app): State<Arc<App>>) -> Json<NoticeTarget> {
    Json(NoticeTarget { dispatch_config: announce::shown(&app) })
}

/// Send each new notice to a place, and a word when it is over
#[utoipa::path(put, path = "/api/v1/notices/target", tag = "notices", request_body = NewTarget, responses((status = 200, body = NoticeTarget)))]
pub async fn put(State(app): State<Arc<App>>, Body(body): Body<NewTarget>) -> Result<Json<NoticeTarget>> {
    let config = target::restored(&app, body.dispatch_config, app.announcer.target().as_deref());
    let target = target::whole(config)?;
    let catalog = app.catalog();
    let has_dispatcher = catalog.dispatcher(&target.kind).is_some();
    if !has_dispatcher && !outbox::TYPES.contains(&target.kind.as_str()) {
        return Err(Error::invalid(format!("dispatch_config.type: there is no dispatch type `{}`", target.kind)));
    }
    announce::send_to(&app, Some(&target)).await?;
    Ok(show(State(app)).await)
}

/// Send notices nowhere
#[utoipa::path(delete, path = "/api/v1/notices/target", tag = "notices", responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>) -> Result<StatusCode> {
    announce::send_to(&app, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
