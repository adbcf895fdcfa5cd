//! How a request says whose it is.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::HeaderName;
use tercel_sdk::{Host, Result, http::Builder};

/// Names are those of fields; an unset one leaves out what it would say.
#[derive(Debug, Clone)]
pub enum Auth {
    Bearer(String),
    Basic {
        user: String,
        password: Option<String>,
    },
    Header {
        name: HeaderName,
        prefix: String,
        secret: String,
    },
    Query {
        name: String,
        prefix: String,
        secret: String,
    },
    /// Tokens that the server gets: by OAuth or for a service account.
    Granted,
}

impl Auth {
    /// With the token that was used, if the server got one.
    pub async fn sign(&self, host: &Host, builder: Builder) -> Result<(Builder, Option<String>)> {
        let builder = match self {
            Self::Bearer(key) => match host.optional(key) {
                Some(secret) => builder.bearer(secret.trim()),
                None => builder,
            },
            Self::Basic { user, password } => match host.optional(user) {
                Some(user) => {
                    let password = password.as_ref().and_then(|key| host.optional(key)).unwrap_or_default();
                    builder.secret_header(
                        "authorization",
                        &format!("Basic {}", BASE64.encode(format!("{user}:{password}"))),
                    )
                }
                None => builder,
            },
            Self::Header { name, prefix, secret } => match host.optional(secret) {
                Some(secret) => builder.secret_header(name.as_str(), &format!("{prefix}{}", secret.trim())),
                None => builder,
            },
            Self::Query { name, prefix, secret } => match host.optional(secret) {
                Some(secret) => builder.query(&[(name, &format!("{prefix}{}", secret.trim()))]),
                None => builder,
            },
            Self::Granted => {
                let token = host.token().await?;
                return Ok((builder.bearer(&token), Some(token)));
            }
        };
        Ok((builder, None))
    }
}
