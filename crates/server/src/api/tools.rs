//! Tools, called by hand.

use super::{
    auth::Identity,
    error::{Error, Result},
    page::{List, Page, Piece},
    request::{Body, Ids},
};
use crate::{
    app::{App, Call},
    catalog::OwnedTool,
    connection::choice,
    runner,
};
use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::Effect;
use tercel_store::Uuid;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Tool {
    name: String,
    integration: String,
    description: String,
    /// JSON Schema of the arguments.
    #[schema(value_type = Object)]
    parameters: Value,
    /// `read`, `write` or `destroy`.
    #[schema(value_type = String)]
    effect: tercel_sdk::Effect,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// As the tool's schema has them; none when absent.
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Value,
    /// Which of several connections is used; the usual one when absent.
    connection: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ToolAnswer {
    ok: bool,
    #[schema(value_type = Option<Object>)]
    result: Value,
    /// `code`, `message`, `hint`.
    #[schema(value_type = Option<Object>)]
    error: Value,
}

impl From<&OwnedTool> for Tool {
    fn from(owned: &OwnedTool) -> Self {
        let tool = &owned.tool;
        Self {
            name: tool.name.clone(),
            integration: owned.integration.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            effect: tool.effect,
        }
    }
}

/// List the tools by name
#[utoipa::path(get, path = "/api/v1/tools", tag = "tools", params(Piece), responses((status = 200, body = Vec<Tool>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    page: Page,
) -> Result<List<Tool>> {
    let catalog = app.catalog();
    let is_open = |owned: &&OwnedTool| {
        identity.folder.as_ref().is_none_or(|folder| folder.may_call(&catalog, &owned.tool.name).is_ok())
    };
    let is_next = |owned: &&OwnedTool| page.text().is_none_or(|after| owned.tool.name.as_str() > after);
    let tools: Vec<Tool> = catalog.tools.values().filter(is_next).filter(is_open).map(Tool::from).collect();
    let (tools, next) = page.cut(tools, |tool| tool.name.clone());
    Ok(page.list(tools, next))
}

/// Call a tool
///
/// A tool that fails is an answer, too: `ok` is false, `error` says why.
#[utoipa::path(
    post,
    path = "/api/v1/tools/{name}/call",
    tag = "tools",
    params(("name" = String, Path)),
    request_body = ToolCall,
    responses((status = 200, body = ToolAnswer), (status = 422, description = "The arguments do not fit")),
)]
pub async fn call(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(name): Ids<String>,
    Body(body): Body<ToolCall>,
) -> Result<Json<ToolAnswer>> {
    let owned = find(&app, &name)?;
    if let Some(folder) = &identity.folder {
        folder.may_call(&app.catalog(), &name)?;
    }
    let given = if body.arguments.is_null() { Value::Object(Default::default()) } else { body.arguments };
    let checked = tercel_agent::arguments::check(&owned.tool.spec(), given);
    if let Some(problem) = checked.problem {
        return Err(Error::invalid(problem));
    }
    if owned.tool.effect != Effect::Read {
        super::is_not_held(&app)?;
    }
    let call = Call {
        idempotency_key: Some(format!("call/{}", Uuid::now_v7())),
        timeout: Some(app.config.limits.tool),
        ..Call::default()
    };
    let gone = || Error::not_found(format!("The integration `{}` is not there any more", owned.integration));
    let connection = choice::named(&app, &owned.integration, body.connection.as_deref());
    let connection = connection.map_err(|error| Error::not_found(error.message))?;
    let host = app.host(&owned.integration, &connection, call).ok_or_else(gone)?;
    Ok(Json(match runner::execute(&app, &owned.tool, host, checked.arguments).await {
        Ok(result) => ToolAnswer { ok: true, result, error: Value::Null },
        Err(error) => {
            let error = serde_json::to_value(error).map_err(Error::internal)?;
            ToolAnswer { ok: false, result: Value::Null, error }
        }
    }))
}

fn find(app: &App, name: &str) -> Result<OwnedTool> {
    let catalog = app.catalog();
    let known = catalog.tools.keys().map(String::as_str);
    catalog.tools.get(name).cloned().ok_or_else(|| {
        match catalog.obstacle_of_tool(name) {
            Some((entry, why)) if entry.listed.is_locked() => return Error::locked(why),
            Some((_, why)) => return Error::unavailable(why),
            None => {}
        }
        let near = tercel_agent::nearest(name, known.clone());
        match near.is_empty() {
            false => Error::not_found(format!("There is no tool `{name}`; did you mean {}?", near.join(" or "))),
            true => Error::not_found(format!("There is no tool `{name}`; GET /api/v1/tools lists them")),
        }
    })
}
