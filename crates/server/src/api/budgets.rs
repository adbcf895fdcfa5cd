//! Who may spend how much, and what happens then.

use super::{
    auth::Identity,
    error::{Error, Result},
    request::{Body, Id, Idempotency, Ids, name},
    time::Time,
    usage::{dollars, millionths},
};
use crate::{
    app::App,
    budgets::{HOUR, KINDS, Limit, Period, SERVER, action, name_of},
    ceilings,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_store::{Uuid, now};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    /// `server`, `bot:<id>`, `integration:<name>` or `channel:<client_id>`; `*` in place of the name stands for each that
    /// has no budget of its own.
    scope: String,
    period: Period,
    /// Runs, tokens and dollars in each period; absent: any number. With none of them, a default is lifted.
    runs: Option<i64>,
    tokens: Option<i64>,
    cost_usd: Option<f64>,
    /// What becomes of messages then. `park`: their runs wait; `digest`: one run in each session answers them together
    /// when there is room again; `store` (when absent): they are kept and not answered.
    #[schema(pattern = "^(park|digest|store)$")]
    action: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Budget {
    /// Null for a default that comes from the environment.
    id: Option<Uuid>,
    scope: String,
    period: Period,
    runs: Option<i64>,
    tokens: Option<i64>,
    cost_usd: Option<f64>,
    action: &'static str,
    /// The setting that a default comes from.
    setting: Option<&'static str>,
    /// What was spent in the present period; null for a budget of each.
    spent: Option<SpentNow>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct SpentNow {
    since: Time,
    runs: i64,
    tokens: i64,
    cost_usd: f64,
}

/// List budgets, those of the environment last
#[utoipa::path(get, path = "/api/v1/budgets", tag = "budgets", responses((status = 200, body = Vec<Budget>)))]
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<Budget>>> {
    let mut all = Vec::new();
    for limit in app.ceilings.rules().all() {
        all.push(shown(&app, limit).await?);
    }
    Ok(Json(all))
}

/// Make a budget; it counts at once, for what was spent before, too
#[utoipa::path(
    post,
    path = "/api/v1/budgets",
    tag = "budgets",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key within a day is the same call")),
    request_body = NewBudget,
    responses((status = 201, body = Budget), (status = 409, description = "The scope has one for this period")),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    Body(body): Body<NewBudget>,
) -> Result<(StatusCode, Json<Budget>)> {
    let id = super::new_id(&identity, "budgets", key.as_deref());
    let row = row(id, body)?;
    if let Some(made) = app.store.budgets().await?.into_iter().find(|made| made.id == id) {
        return match (tercel_store::Budget { created_at: made.created_at, ..row }) == made {
            true => Ok((StatusCode::CREATED, Json(find(&app, id).await?))),
            false => Err(Error::reused("budget")),
        };
    }
    app.store.create_budget(row).await?;
    ceilings::reload(&app).await?;
    Ok((StatusCode::CREATED, Json(find(&app, id).await?)))
}

/// Show a budget
#[utoipa::path(get, path = "/api/v1/budgets/{id}", tag = "budgets", params(("id" = Uuid, Path)), responses((status = 200, body = Budget)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Budget>> {
    find(&app, id).await.map(Json)
}

/// Replace a budget; what waits for it goes on where it can
#[utoipa::path(put, path = "/api/v1/budgets/{id}", tag = "budgets", params(("id" = Uuid, Path)), request_body = NewBudget, responses((status = 200, body = Budget), (status = 409, description = "The scope has another one for this period")))]
pub async fn put(State(app): State<Arc<App>>, Ids(id): Id, Body(body): Body<NewBudget>) -> Result<Json<Budget>> {
    app.store.update_budget(row(id, body)?).await?;
    ceilings::reload(&app).await?;
    find(&app, id).await.map(Json)
}

/// Delete a budget; a default counts again
#[utoipa::path(delete, path = "/api/v1/budgets/{id}", tag = "budgets", params(("id" = Uuid, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids(id): Id) -> Result<StatusCode> {
    app.store.delete_budget(id).await?;
    ceilings::reload(&app).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn row(id: Uuid, body: NewBudget) -> Result<tercel_store::Budget> {
    let NewBudget { scope, period, runs, tokens, cost_usd, action: what } = body;
    name("scope", &scope, 512)?;
    let is_known = match scope.split_once(':') {
        Some((kind, name)) => KINDS.contains(&kind) && !name.is_empty(),
        None => scope == SERVER,
    };
    if !is_known {
        return Err(Error::invalid(
            "scope: server, bot:<id>, integration:<name> or channel:<client_id> is expected, with * for each",
        ));
    }
    for (field, value) in [("runs", runs), ("tokens", tokens)] {
        if value.is_some_and(|value| value < 0) {
            return Err(Error::invalid(format!("{field}: it is not less than 0")));
        }
    }
    let what = what.unwrap_or_else(|| "store".into());
    if action(&what).is_none() {
        return Err(Error::invalid("action: park, digest or store is expected"));
    }
    Ok(tercel_store::Budget {
        id,
        scope,
        period: period.as_str().into(),
        runs,
        tokens,
        cost: cost_usd.map(|dollars| millionths("cost_usd", dollars)).transpose()?,
        action: what,
        created_at: now(),
    })
}

async fn find(app: &App, id: Uuid) -> Result<Budget> {
    let rules = app.ceilings.rules();
    let limit = rules.all().iter().find(|limit| limit.id == Some(id));
    shown(app, limit.ok_or_else(|| Error::not_found(format!("There is no budget {id}")))?).await
}

async fn shown(app: &App, limit: &Limit) -> Result<Budget> {
    let since = limit.period.since(ceilings::this_hour());
    let spent = match limit.scope.ends_with(":*") {
        true => None,
        false => {
            let counts = app.store.spent(&limit.scope, since).await?;
            let (tokens, cost_usd) = (counts.tokens(), dollars(counts.cost));
            Some(SpentNow { since: Time(since * HOUR), runs: counts.runs, tokens, cost_usd })
        }
    };
    Ok(Budget {
        id: limit.id,
        scope: limit.scope.clone(),
        period: limit.period,
        runs: limit.runs,
        tokens: limit.tokens,
        cost_usd: limit.cost.map(dollars),
        action: name_of(limit.action),
        setting: limit.setting,
        spent,
    })
}
