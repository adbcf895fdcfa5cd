//! Model providers: which there are, how they are, and their keys, which come in and never out.

use super::{
    auth::{ADMIN, Identity},
    error::{Error, Result},
    request::{Body, Ids, name, present},
};
use crate::{
    app::App,
    providers::{Defaults, OF_ENVIRONMENT, Provider, ProviderKind, REHEARSAL, place},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_store::MASK;

/// Models of one provider.
const MOST_MODELS: usize = 1000;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    /// `^[A-Za-z0-9_-]{1,64}$`: what stands before the slash in `provider/model`
    id: String,
    #[serde(flatten)]
    settings: ProviderSettings,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct ProviderSettings {
    kind: ProviderKind,
    /// The usual address of the kind when absent; another one is given with the scope `admin`.
    base_url: Option<String>,
    /// Absent or masked: the stored one stays. Null or empty: it is removed.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    api_key: Option<Option<String>>,
    /// Names that this provider answers for when they stand without a provider.
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    defaults: Defaults,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownProvider {
    id: String,
    kind: ProviderKind,
    base_url: String,
    /// Masked; null when there is none.
    api_key: Option<String>,
    models: Vec<String>,
    defaults: Defaults,
    /// `env` (the LLM_* settings) or `db`.
    source: String,
    /// `closed`: it is asked. `open`: it has failed five times in a row and is left alone for half a minute.
    /// `half_open`: one request tries.
    state: String,
    /// Failures in a row, counted up to five.
    failures: usize,
    /// Why the stored key cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct TestedProvider {
    ok: bool,
    /// `ok`, or why not: `auth`, `network`, `not_found`, …
    code: String,
    message: String,
    hint: Option<String>,
    /// What the provider says it has.
    models: Vec<String>,
}

/// Model providers and how they are
#[utoipa::path(get, path = "/api/v1/providers", tag = "providers", responses((status = 200, body = Vec<ShownProvider>)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Vec<ShownProvider>> {
    Json(app.providers.all().iter().map(|provider| shown(provider)).collect())
}

/// Add a model provider
#[utoipa::path(post, path = "/api/v1/providers", tag = "providers", request_body = NewProvider, responses((status = 201, body = ShownProvider), (status = 409, description = "The id is taken")))]
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Body(new): Body<NewProvider>,
) -> Result<(StatusCode, Json<ShownProvider>)> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if new.id.is_empty() || new.id.len() > 64 || !new.id.chars().all(valid) {
        return Err(Error::invalid("id: it has 1 to 64 letters, digits, `_` or `-`"));
    }
    if [OF_ENVIRONMENT, REHEARSAL].contains(&new.id.as_str()) {
        return Err(Error::conflict(format!("The id `{}` belongs to the server itself; take another", new.id)));
    }
    if app.providers.find(&new.id).is_some() {
        return Err(Error::conflict(format!("There is a provider `{}` already; PUT changes it", new.id)));
    }
    Ok((StatusCode::CREATED, save(&app, &identity, &new.id, new.settings, None).await?))
}

/// Show a model provider
#[utoipa::path(get, path = "/api/v1/providers/{id}", tag = "providers", params(("id" = String, Path)), responses((status = 200, body = ShownProvider)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<ShownProvider>> {
    Ok(Json(shown(&*find(&app, &id)?)))
}

/// Replace a model provider
///
/// Without `api_key` the stored key stays, unless the address changes: a key is for the place it was entered for.
#[utoipa::path(put, path = "/api/v1/providers/{id}", tag = "providers", params(("id" = String, Path)), request_body = ProviderSettings, responses((status = 200, body = ShownProvider)))]
pub async fn put(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Ids(id): Ids<String>,
    Body(settings): Body<ProviderSettings>,
) -> Result<Json<ShownProvider>> {
    let old = changeable(&app, &id)?;
    save(&app, &identity, &id, settings, Some(&old)).await
}

/// Remove a model provider
#[utoipa::path(delete, path = "/api/v1/providers/{id}", tag = "providers", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<StatusCode> {
    changeable(&app, &id)?;
    app.store.delete_provider(&id).await?;
    reload(&app).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask a model provider which models it has: that costs nothing and needs the key
#[utoipa::path(post, path = "/api/v1/providers/{id}/test", tag = "providers", params(("id" = String, Path)), responses((status = 200, body = TestedProvider)))]
pub async fn test(State(app): State<Arc<App>>, Ids(id): Ids<String>) -> Result<Json<TestedProvider>> {
    let provider = find(&app, &id)?;
    if let Some(problem) = &provider.broken {
        return Err(Error::conflict(format!("{problem}. Enter the key again")));
    }
    let http = app.plain_http(Some(&provider.base_url), None, &app.stopping);
    let catalog = app.catalog();
    let tested = match tercel_models::models(&provider.as_configured(), &http).await {
        Ok(models) => {
            let models: Vec<String> = models.iter().map(|name| catalog.redactor.text(name).into_owned()).collect();
            let message = format!("It answers and has {} models", models.len());
            TestedProvider { ok: true, code: "ok".into(), message, hint: None, models }
        }
        Err(error) => {
            let error = catalog.redactor.error(provider.in_its_words(error));
            let (code, models) = (error.kind.as_str().into(), Vec::new());
            TestedProvider { ok: false, code, message: error.message, hint: error.hint, models }
        }
    };
    Ok(Json(tested))
}

fn find(app: &App, id: &str) -> Result<Arc<Provider>> {
    app.providers.find(id).ok_or_else(|| Error::not_found(format!("There is no provider `{id}`")))
}

fn changeable(app: &App, id: &str) -> Result<Arc<Provider>> {
    let provider = find(app, id)?;
    match provider.is_of_environment {
        true => Err(Error::conflict("LLM_BASE_URL, LLM_MODEL and LLM_API_KEY configure this one; change them there")),
        false => Ok(provider),
    }
}

async fn save(
    app: &Arc<App>,
    identity: &Identity,
    id: &str,
    settings: ProviderSettings,
    old: Option<&Provider>,
) -> Result<Json<ShownProvider>> {
    let ProviderSettings { kind, base_url, api_key, models, defaults } = settings;
    let usual = match kind {
        ProviderKind::OpenAi => "https://api.openai.com/v1",
        ProviderKind::Anthropic => "https://api.anthropic.com",
        ProviderKind::Ollama => "http://127.0.0.1:11434",
    };
    let base_url = base_url.unwrap_or_else(|| usual.to_owned());
    check(&base_url, &models, &defaults)?;
    // It may be an address that only this server reaches.
    let is_known = base_url == usual || old.is_some_and(|old| old.base_url == base_url);
    if !is_known && !identity.scopes.allow(ADMIN) {
        return Err(Error::forbidden("base_url: only a key with the scope `admin` gives another address"));
    }
    let sealed = match api_key {
        Some(Some(key)) if key != MASK => {
            let key = key.trim();
            if key.len() > 4096 || key.chars().any(char::is_control) {
                return Err(Error::invalid("api_key: at most 4096 characters, none of them a control character"));
            }
            (!key.is_empty()).then(|| app.sealer.seal(&place(id), key))
        }
        Some(None) => None,
        _ => kept(app, id, &base_url, old).await?,
    };
    let json = |value: serde_json::Result<String>| value.map_err(Error::internal);
    let row = tercel_store::Provider {
        id: id.to_owned(),
        kind: serde_json::to_value(kind).map_err(Error::internal)?.as_str().unwrap_or_default().to_owned(),
        base_url,
        sealed_api_key: sealed,
        models: json(serde_json::to_string(&models))?,
        defaults: json(serde_json::to_string(&defaults))?,
        updated_at: 0,
    };
    app.store.put_provider(row).await?;
    reload(app).await?;
    // What waits for a model may have one now; if not, it waits again.
    app.store.resume_tasks(None, "a change of the model providers").await?;
    Ok(Json(shown(&*find(app, id)?)))
}

fn check(base_url: &str, models: &[String], defaults: &Defaults) -> Result<()> {
    let address = base_url.parse::<url::Url>().ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    match address {
        Some(url) if !url.has_host() => return Err(Error::invalid("base_url: it has no host")),
        Some(url) if !url.username().is_empty() || url.password().is_some() || url.query().is_some() => {
            return Err(Error::invalid(
                "base_url: a password or a query does not belong there; `api_key` is kept sealed",
            ));
        }
        Some(_) => {}
        None => return Err(Error::invalid("base_url: expected an address that begins with https:// or http://")),
    }
    if models.len() > MOST_MODELS {
        return Err(Error::invalid(format!("models: at most {MOST_MODELS} are taken")));
    }
    models.iter().try_for_each(|model| name("models", model, 200))?;
    if defaults.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
        return Err(Error::invalid("defaults.temperature: it lies between 0 and 2"));
    }
    if defaults.max_tokens == Some(0) {
        return Err(Error::invalid("defaults.max_tokens: it is at least 1"));
    }
    Ok(())
}

/// The stored key, for the same address only: who may change an address must not get the key sent there.
async fn kept(app: &App, id: &str, base_url: &str, old: Option<&Provider>) -> Result<Option<String>> {
    let Some(old) = old else { return Ok(None) };
    let rows = app.store.providers().await?;
    let sealed = rows.into_iter().find(|row| row.id == id).and_then(|row| row.sealed_api_key);
    let origin = |url: &str| url.parse::<url::Url>().map(|url| url.origin()).ok();
    if sealed.is_some() && origin(base_url) != origin(&old.base_url) {
        return Err(Error::invalid("api_key: the address is another one, so enter the key again"));
    }
    Ok(sealed)
}

async fn reload(app: &App) -> Result<()> {
    app.providers.reload(&app.config, &app.store, &app.sealer).await?;
    // Its key is a secret of the snapshot from now on.
    app.reload().await?;
    Ok(())
}

fn shown(provider: &Provider) -> ShownProvider {
    let (state, failures) = provider.health();
    ShownProvider {
        id: provider.id.clone(),
        kind: provider.kind,
        base_url: crate::providers::without_password(&provider.base_url),
        api_key: (provider.api_key.is_some() || provider.broken.is_some()).then(|| MASK.to_owned()),
        models: provider.models.clone(),
        defaults: provider.defaults.clone(),
        source: if provider.is_of_environment { "env" } else { "db" }.into(),
        state: state.into(),
        failures,
        problem: provider.broken.clone(),
    }
}
