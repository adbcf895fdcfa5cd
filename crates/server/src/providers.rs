//! Who answers which model: the provider of the environment and those of the API, each with its key and its breaker.

mod provider;

pub use provider::{Provider, place};

use crate::{app::App, config::Config};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, RwLock};
use tercel_models::{Model, Sink};
use tercel_sdk::{Error, chat, http};
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
        let of_environment = config.llm.base_url.as_ref().map(|url| Arc::new(Provider::of_environment(url, config)));
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
            Asked::Provider(provider, _) if provider.is_of_environment => provider.interface(),
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
        provider.ask(http, request, name, sink).await
    }
}

/// The stored keys, for whoever takes secrets out of texts. One that cannot be opened is no secret that could appear.
pub async fn keys(store: &Store, sealer: &Sealer) -> tercel_store::Result<Vec<String>> {
    let open = |row: tercel_store::Provider| sealer.open(&place(&row.id), row.sealed_api_key.as_deref()?).ok();
    Ok(store.providers().await?.into_iter().filter_map(open).collect())
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
