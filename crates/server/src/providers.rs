//! Who answers which model: the provider of the environment and those of the API, each with its key and its breaker.

use crate::{app::App, config::Config};
use anyhow::Result;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};
use tercel_models::{Breaker, Model, Options, Sink};
use tercel_sdk::{Error, Kind, chat, http};
use tercel_store::{Sealer, Store};

/// The provider that `LLM_*` configures.
pub const OF_ENVIRONMENT: &str = "default";
pub const REHEARSAL: &str = "rehearsal";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ProviderKind)]
pub enum ProviderKind {
    /// Any server that speaks OpenAI's chat completions.
    OpenAi,
    Anthropic,
    Ollama,
}

/// What a request has unless its bot says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProviderDefaults)]
pub struct Defaults {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
}

pub struct Provider {
    pub id: String,
    pub kind: ProviderKind,
    pub base_url: String,
    pub models: Vec<String>,
    pub defaults: Defaults,
    pub is_of_environment: bool,
    /// Why the stored key cannot be used.
    pub broken: Option<String>,
    pub api_key: Option<SecretString>,
    updated_at: i64,
    model: Arc<dyn Model>,
    breaker: Mutex<Breaker>,
}

pub struct Providers {
    /// The environment's first.
    all: RwLock<Arc<Vec<Arc<Provider>>>>,
    /// One reading at a time: an older one must not replace a newer one.
    reading: tokio::sync::Mutex<()>,
}

/// Who is asked for a model, under the name that it has there.
pub struct Chosen {
    asked: Asked,
}

enum Asked {
    Rehearsal(Arc<dyn Model>),
    Provider(Arc<Provider>, String),
    Nobody(String),
}

impl Providers {
    pub async fn open(config: &Config, store: &Store, sealer: &Sealer) -> Result<Self> {
        let of_environment = config.llm.base_url.as_ref().map(|url| {
            let kind = if is_anthropic(url) { ProviderKind::Anthropic } else { ProviderKind::OpenAi };
            let row = Provider {
                id: OF_ENVIRONMENT.into(),
                kind,
                base_url: url.clone(),
                models: vec![config.llm.model.clone()],
                defaults: Defaults::default(),
                is_of_environment: true,
                broken: None,
                api_key: config.llm.api_key.clone(),
                updated_at: 0,
                model: model(kind, url, config.llm.api_key.clone(), config),
                breaker: Mutex::default(),
            };
            Arc::new(row)
        });
        let providers = Self {
            all: RwLock::new(Arc::new(of_environment.into_iter().collect())),
            reading: tokio::sync::Mutex::default(),
        };
        providers.reload(config, store, sealer).await?;
        Ok(providers)
    }

    /// Reads the stored ones anew. Those that did not change keep what is known about them.
    pub async fn reload(&self, config: &Config, store: &Store, sealer: &Sealer) -> Result<()> {
        let _one = self.reading.lock().await;
        let known = self.all();
        let mut all: Vec<Arc<Provider>> = known.iter().filter(|one| one.is_of_environment).cloned().collect();
        for row in store.providers().await? {
            match known.iter().find(|one| one.id == row.id && one.updated_at == row.updated_at) {
                Some(same) => all.push(same.clone()),
                None => all.push(Arc::new(Provider::read(row, config, sealer)?)),
            }
        }
        *self.all.write().expect("no holder of this lock panics") = Arc::new(all);
        Ok(())
    }

    pub fn all(&self) -> Arc<Vec<Arc<Provider>>> {
        self.all.read().expect("no holder of this lock panics").clone()
    }

    pub fn find(&self, id: &str) -> Option<Arc<Provider>> {
        self.all().iter().find(|provider| provider.id == id).cloned()
    }

    /// The names that a model may have a price under: as it is asked for, with its provider, and as the provider knows it.
    pub fn names(&self, model: &str) -> Vec<String> {
        let mut names = vec![model.to_owned()];
        if let Some((provider, name)) = self.of_model(model) {
            names.extend([format!("{}/{name}", provider.id), name]);
        }
        names
    }

    /// `provider/model`, or a bare name: the environment's own model, else that of the first provider that lists it, else
    /// whatever the environment's provider makes of it.
    fn of_model(&self, name: &str) -> Option<(Arc<Provider>, String)> {
        let all = self.all();
        if let Some((id, rest)) = name.split_once('/')
            && let Some(provider) = all.iter().find(|provider| provider.id == id)
        {
            return Some((provider.clone(), rest.to_owned()));
        }
        let lists = |provider: &&Arc<Provider>| provider.models.iter().any(|model| model == name);
        let provider = all.iter().find(lists).or_else(|| all.iter().find(|provider| provider.is_of_environment))?;
        Some((provider.clone(), name.to_owned()))
    }
}

impl App {
    /// Who answers for this model. Without any provider that is the rehearsal.
    pub fn chosen(&self, model: &str, rehearsed: bool) -> Chosen {
        let asked = match self.providers.of_model(model) {
            _ if rehearsed || model == REHEARSAL => Asked::Rehearsal(self.rehearsal.clone()),
            Some((provider, name)) => Asked::Provider(provider, name),
            None if self.providers.all().is_empty() => Asked::Rehearsal(self.rehearsal.clone()),
            None => Asked::Nobody(model.to_owned()),
        };
        Chosen { asked }
    }
}

impl Chosen {
    pub fn id(&self) -> &str {
        match &self.asked {
            Asked::Rehearsal(model) => model.id(),
            Asked::Provider(provider, _) if provider.is_of_environment => provider.model.id(),
            Asked::Provider(provider, _) => &provider.id,
            Asked::Nobody(_) => "none",
        }
    }

    pub fn is_rehearsal(&self) -> bool {
        matches!(self.asked, Asked::Rehearsal(_))
    }

    /// The address that it may be called at, private or not: the operator gave it.
    pub fn base_url(&self) -> Option<&str> {
        match &self.asked {
            Asked::Provider(provider, _) => Some(&provider.base_url),
            _ => None,
        }
    }

    /// # Errors
    /// As [`Model::answer`] does; `not_asked` when the provider has failed too often just now.
    pub async fn answer(
        &self,
        http: &http::Client,
        request: &chat::Request,
        sink: &dyn Sink,
    ) -> Result<chat::Answer, Error> {
        let (provider, name) = match &self.asked {
            Asked::Rehearsal(model) => return model.answer(http, request, sink).await,
            Asked::Provider(provider, name) => (provider, name),
            Asked::Nobody(model) => {
                return Err(Error::not_configured(format!("No provider has the model `{model}`")).hint(
                    "Name it `provider/model`, add it to the models of a provider, or set LLM_BASE_URL and LLM_MODEL",
                ));
            }
        };
        if let Some(broken) = &provider.broken {
            return Err(Error::not_configured(format!("The key of provider `{}`: {broken}", provider.id)));
        }
        let permit = provider.enter()?;
        let answered = provider.model.answer(http, &provider.completed(request, name), sink).await;
        permit.end(&answered);
        answered.map_err(|error| provider.in_its_words(error))
    }
}

impl Provider {
    /// `closed`, `open` or `half_open`, and the failures since the last success.
    pub fn health(&self) -> (&'static str, usize) {
        let breaker = self.breaker();
        (breaker.name(Instant::now()), breaker.failures())
    }

    /// As the adapters know it.
    pub fn as_configured(&self) -> tercel_models::Provider {
        configured(self.kind, &self.base_url, self.api_key.clone())
    }

    /// The adapters speak of the environment's settings.
    pub fn in_its_words(&self, mut error: Error) -> Error {
        if self.is_of_environment {
            return error;
        }
        for text in std::iter::once(&mut error.message).chain(&mut error.hint) {
            *text = text
                .replace("LLM_API_KEY", &format!("the api_key of provider `{}`", self.id))
                .replace("LLM_BASE_URL", &format!("the base_url of provider `{}`", self.id));
        }
        error
    }

    fn read(row: tercel_store::Provider, config: &Config, sealer: &Sealer) -> Result<Self> {
        let kind: ProviderKind = serde_json::from_value(row.kind.into())?;
        let opened = row.sealed_api_key.map(|sealed| sealer.open(&place(&row.id), &sealed)).transpose();
        let (api_key, broken) = match opened {
            Ok(key) => (key.map(SecretString::from), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Self {
            kind,
            models: serde_json::from_str(&row.models)?,
            defaults: serde_json::from_str(&row.defaults)?,
            is_of_environment: false,
            broken,
            updated_at: row.updated_at,
            model: model(kind, &row.base_url, api_key.clone(), config),
            api_key,
            breaker: Mutex::default(),
            id: row.id,
            base_url: row.base_url,
        })
    }

    /// The request as this provider shall get it.
    fn completed<'r>(&self, request: &'r chat::Request, name: &str) -> Cow<'r, chat::Request> {
        let temperature = request.temperature.or(self.defaults.temperature);
        let max_tokens = request.max_tokens.or(self.defaults.max_tokens);
        match request.model == name && temperature == request.temperature && max_tokens == request.max_tokens {
            true => Cow::Borrowed(request),
            false => Cow::Owned(chat::Request { model: name.into(), temperature, max_tokens, ..request.clone() }),
        }
    }

    fn enter(self: &Arc<Self>) -> Result<Permit, Error> {
        match self.breaker().enter(Instant::now()) {
            Ok(()) => Ok(Permit { provider: self.clone(), ended: false }),
            Err(wait) => {
                metrics::counter!("tercel_provider_passed_over_total", "provider" => self.id.clone()).increment(1);
                let message = format!("The provider `{}` has just failed again and again: it is left alone", self.id);
                let wait = wait.max(Duration::from_secs(1));
                Err(Error::new(Kind::Network, message)
                    .hint(format!("It is tried again in {} seconds", wait.as_secs()))
                    .retry_after(Some(wait))
                    .not_asked())
            }
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request on its way. Dropped without an end it has decided nothing.
struct Permit {
    provider: Arc<Provider>,
    ended: bool,
}

impl Permit {
    fn end(mut self, answered: &Result<chat::Answer, Error>) {
        self.ended = true;
        // Who refuses is there.
        let is_trouble = |error: &Error| {
            matches!(error.kind, Kind::Network | Kind::Timeout | Kind::UnknownOutcome | Kind::Error)
                && !matches!(error.status, Some(400..=499))
        };
        let mut breaker = self.provider.breaker();
        match answered {
            Err(error) if is_trouble(error) => breaker.failed(Instant::now()),
            _ => breaker.succeeded(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.ended {
            self.provider.breaker().abandoned(Instant::now());
        }
    }
}

/// Where a key is bound to, for its seal.
pub fn place(id: &str) -> String {
    format!("providers/{id}/api_key")
}

/// The stored keys, for whoever takes secrets out of texts. One that cannot be opened is no secret that could appear.
pub async fn keys(store: &Store, sealer: &Sealer) -> tercel_store::Result<Vec<String>> {
    let open = |row: tercel_store::Provider| sealer.open(&place(&row.id), row.sealed_api_key.as_deref()?).ok();
    Ok(store.providers().await?.into_iter().filter_map(open).collect())
}

fn configured(kind: ProviderKind, base_url: &str, api_key: Option<SecretString>) -> tercel_models::Provider {
    let base_url = base_url.to_owned();
    match kind {
        ProviderKind::OpenAi => tercel_models::Provider::OpenAi { base_url, api_key },
        ProviderKind::Anthropic => tercel_models::Provider::Anthropic { base_url, api_key },
        ProviderKind::Ollama => tercel_models::Provider::Ollama { base_url, api_key },
    }
}

fn model(kind: ProviderKind, base_url: &str, api_key: Option<SecretString>, config: &Config) -> Arc<dyn Model> {
    let options = Options { timeout: config.model_timeout, ..Options::default() };
    tercel_models::from_config(configured(kind, base_url, api_key), options)
}

fn is_anthropic(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| url.host_str() == Some("api.anthropic.com"))
}

/// An address as it may be shown: one from the environment may have a password in it.
pub fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(parsed) if parsed.username().is_empty() && parsed.password().is_none() && parsed.query().is_none() => {
            url.to_owned()
        }
        Ok(parsed) => format!("{}{}", parsed.origin().ascii_serialization(), parsed.path()),
        Err(_) => "an address".into(),
    }
}
