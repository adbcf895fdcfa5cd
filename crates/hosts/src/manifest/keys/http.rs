//! How the service is called.

use super::{
    place::{At, Entries},
    text::{Expr, Json, Text},
    units::Span,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tercel_sdk::{Kind, rate::Rate};

/// What all requests have in common.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// What paths are put behind.
    pub base: Option<Text>,
    pub auth: Option<At<Auth>>,
    /// Headers of every request.
    pub headers: Entries<Json>,
    /// How often the service may be asked.
    pub rate: Option<Rate>,
    /// For whom that rate is; for each connection unless this says `host`.
    pub per: Per,
    /// How long one request may take.
    pub timeout: Option<Span>,
    /// What failures mean, the first that fits; otherwise the status says it.
    pub errors: Vec<Failure>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    #[default]
    Connection,
    Host,
}

/// How a request says whose it is. Names are those of fields; without a value of an optional one the request says nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer …`
    Bearer(At<String>),
    Basic(Basic),
    /// In a header of its own.
    Header(Named),
    /// In a parameter of the address.
    Query(Named),
    Oauth2(Box<Oauth2>),
    ServiceAccount(ServiceAccount),
}

/// A name and a password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    pub user: At<String>,
    pub password: Option<At<String>>,
}

/// A secret under a name of the service's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub name: At<String>,
    pub secret: At<String>,
    /// What stands before the secret: `Token `.
    #[serde(default)]
    pub prefix: String,
}

/// OAuth 2: the tokens are the server's, and no template sees them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    pub flow: Flow,
    pub authorize: Option<Text>,
    pub token: Text,
    pub device: Option<Text>,
    pub revoke: Option<Text>,
    pub client: OauthClient,
    #[serde(default)]
    pub scopes: Vec<String>,
    /// More parameters for `authorize`.
    #[serde(default)]
    pub params: Entries<Json>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Authorization code, with PKCE.
    Code,
    Device,
    ClientCredentials,
}

/// Who asks for tokens. Names are those of fields.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthClient {
    pub id: At<String>,
    pub secret: Option<At<String>>,
    #[serde(default)]
    pub send: Send,
}

/// How the client says who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Send {
    #[default]
    Basic,
    Form,
    None,
}

/// A service account of Google's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccount {
    /// The field that holds the key file.
    pub key: At<String>,
    pub scopes: Vec<String>,
}

/// What a failure means.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub when: Expr,
    pub code: Code,
    /// What is said instead of what the service answered.
    pub message: Option<Text>,
    /// What to do about it.
    pub hint: Option<String>,
    /// After how many seconds it can be tried again, where no `Retry-After` says it.
    pub retry_after: Option<Expr>,
}

/// What an answer without what was looked for means.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otherwise {
    pub code: Code,
    pub message: Text,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Why something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    NotConfigured,
    Auth,
    Forbidden,
    NotFound,
    Network,
    Timeout,
    RateLimited,
    Schema,
    Unsupported,
    UnknownOutcome,
    Error,
}

impl From<Code> for Kind {
    fn from(code: Code) -> Self {
        match code {
            Code::NotConfigured => Self::NotConfigured,
            Code::Auth => Self::Auth,
            Code::Forbidden => Self::Forbidden,
            Code::NotFound => Self::NotFound,
            Code::Network => Self::Network,
            Code::Timeout => Self::Timeout,
            Code::RateLimited => Self::RateLimited,
            Code::Schema => Self::Schema,
            Code::Unsupported => Self::Unsupported,
            Code::UnknownOutcome => Self::UnknownOutcome,
            Code::Error => Self::Error,
        }
    }
}
