//! What a part can see and do: made anew for every call.

use crate::{Error, Result, Target, grant::Tokens, http};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Whether what a part does shall happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Live,
    /// Writes are withheld and shown; reads come from the integration's fixtures.
    Rehearse,
}

/// Whether text was written by somebody the operator trusts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    Untrusted,
    #[default]
    Trusted,
}

/// What the call belongs to, as far as it belongs to anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    pub delivery: Option<Uuid>,
    pub session: Option<Uuid>,
    pub task: Option<Uuid>,
    pub channel: Option<Uuid>,
    pub bot: Option<String>,
    pub client_id: Option<String>,
    /// Places that people speak from whom nobody vouches for, as far as they have a say in this run: the one whose event
    /// began it, else those whose events were said before it (`forge:owner/repo`). An empty name: nobody knows where.
    pub strangers: Vec<String>,
    /// By which connection of which integration the event came that began the run.
    pub source: Option<(String, String)>,
    /// Where the run's answer goes. Its secrets are masked.
    pub target: Option<Target>,
    pub mode: Mode,
    /// Names of tools that the run has because its event said so.
    pub injected_tools: Vec<String>,
}

/// Everything a host is made from. The server and the testing helpers build it; parts read it through [`Host`].
#[derive(Clone)]
pub struct Context {
    pub integration: String,
    pub connection: String,
    /// Of this one call: code in another process names it in what it asks of the server meanwhile.
    pub call: Uuid,
    /// Resolved values of the connection's fields, by field key. A field without a value is absent.
    pub fields: Arc<BTreeMap<String, String>>,
    /// Environment name of each declared field, for messages.
    pub names: Arc<BTreeMap<String, String>>,
    /// Who the connection's credentials belong to, as its last successful check said.
    pub account: Option<String>,
    pub ids: Ids,
    pub mode: Mode,
    pub trust: Trust,
    /// The same for every repetition of this call.
    pub idempotency_key: Option<String>,
    pub deadline: Option<Instant>,
    pub cancel: CancellationToken,
    pub transport: Arc<dyn http::Transport>,
    /// Gets tokens for the connection, where its integration has a grant.
    pub tokens: Option<Arc<dyn Tokens>>,
    /// A directory of the integration's own that lasts.
    pub state: PathBuf,
}

#[derive(Clone)]
pub struct Host(Arc<Context>);

impl Host {
    pub fn new(context: Context) -> Self {
        Self(Arc::new(context))
    }

    /// The value of a field; the error names the setting to fill in.
    pub fn field(&self, key: &str) -> Result<&str> {
        self.optional(key).ok_or_else(|| {
            let name = self.name(key);
            Error::not_configured(format!("{name} is not set"))
                .hint(format!("Set {name} in the environment or in the settings of `{}`", self.0.integration))
        })
    }

    /// The value of a field, when it has one.
    pub fn optional(&self, key: &str) -> Option<&str> {
        self.0.fields.get(key).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// The only way out: address policy, limits, ledger and rehearsal live there.
    pub fn http(&self) -> http::Client {
        http::Client::new(self.0.transport.clone())
    }

    /// A token of the connection's grant that is good now.
    ///
    /// # Errors
    /// `not_configured` when nobody has agreed yet, `auth` when the consent is gone.
    pub async fn token(&self) -> Result<String> {
        match &self.0.tokens {
            Some(tokens) => tokens.access().await,
            None => {
                let message = format!("`{}` is not connected: nobody has agreed yet", self.0.integration);
                Err(Error::not_configured(message).hint("Connect it on its card"))
            }
        }
    }

    /// Tells that the service did not take this token. The next is another, if one can be had.
    pub async fn token_refused(&self, token: &str) {
        if let Some(tokens) = &self.0.tokens {
            tokens.refused(token).await;
        }
    }

    /// What a field is called in the settings.
    pub fn name<'a>(&'a self, key: &'a str) -> &'a str {
        self.0.names.get(key).map_or(key, String::as_str)
    }

    pub fn integration(&self) -> &str {
        &self.0.integration
    }

    pub fn connection(&self) -> &str {
        &self.0.connection
    }

    pub fn call(&self) -> Uuid {
        self.0.call
    }

    pub fn account(&self) -> Option<&str> {
        self.0.account.as_deref()
    }

    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    pub fn trust(&self) -> Trust {
        self.0.trust
    }

    pub fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    pub fn cancelled(&self) -> &CancellationToken {
        &self.0.cancel
    }

    pub fn state(&self) -> &std::path::Path {
        &self.0.state
    }
}

/// What can be the first argument of a part.
pub trait FromHost: Sized + Send + 'static {
    fn from_host(host: &Host) -> Result<Self>;
}

impl FromHost for Host {
    fn from_host(host: &Host) -> Result<Self> {
        Ok(host.clone())
    }
}
