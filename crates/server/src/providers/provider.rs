//! One provider: its key, its breaker, and a request on its way to it.

use super::{Defaults, ProviderKind};
use crate::config::Config;
use anyhow::Result;
use secrecy::SecretString;
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tercel_models::{Breaker, Model, Options, Sink};
use tercel_sdk::{Error, Kind, chat, http};
use tercel_store::Sealer;

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
    pub updated_at: i64,
    model: Arc<dyn Model>,
    breaker: Mutex<Breaker>,
}

impl Provider {
    /// The one that `LLM_*` configures.
    pub fn of_environment(url: &str, config: &Config) -> Self {
        let kind = if is_anthropic(url) { ProviderKind::Anthropic } else { ProviderKind::OpenAi };
        Self {
            id: super::OF_ENVIRONMENT.into(),
            kind,
            base_url: url.to_owned(),
            models: vec![config.llm.model.clone()],
            defaults: Defaults::default(),
            is_of_environment: true,
            broken: None,
            api_key: config.llm.api_key.clone(),
            updated_at: 0,
            model: model(kind, url, config.llm.api_key.clone(), config),
            breaker: Mutex::default(),
        }
    }

    /// Asks it for a model under the name that it has there.
    pub async fn ask(
        self: &Arc<Self>,
        http: &http::Client,
        request: &chat::Request,
        name: &str,
        sink: &dyn Sink,
    ) -> Result<chat::Answer, Error> {
        if let Some(broken) = &self.broken {
            return Err(Error::not_configured(format!("The key of provider `{}`: {broken}", self.id)));
        }
        let permit = self.enter()?;
        let answered = self.model.answer(http, &self.completed(request, name), sink).await;
        permit.end(&answered);
        answered.map_err(|error| self.in_its_words(error))
    }

    /// `closed`, `open` or `half_open`, and the failures since the last success.
    pub fn health(&self) -> (&'static str, usize) {
        let breaker = self.breaker();
        (breaker.name(Instant::now()), breaker.failures())
    }

    /// How it is spoken to.
    pub fn interface(&self) -> &str {
        self.model.id()
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

    pub fn read(row: tercel_store::Provider, config: &Config, sealer: &Sealer) -> Result<Self> {
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
