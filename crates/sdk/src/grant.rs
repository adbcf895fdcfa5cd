//! Tokens that somebody's consent, or a key file, lets the server get. They are the server's: no part keeps one.

use crate::{Host, Result};
use futures::future::BoxFuture;
use std::sync::Arc;

/// What an integration needs tokens for, with the values of a connection in it.
pub type Grants = Arc<dyn Fn(&Host) -> Result<Grant> + Send + Sync>;

/// How tokens are got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    OAuth(OAuth),
    /// A key file of Google's.
    ServiceAccount {
        /// The field that holds it.
        key: String,
        scopes: Vec<String>,
    },
}

/// OAuth 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    pub flow: Flow,
    /// Where a person agrees.
    pub authorize: Option<String>,
    pub token: String,
    /// Where a device begins.
    pub device: Option<String>,
    pub revoke: Option<String>,
    /// The field that holds the client's id.
    pub client_id: String,
    pub client_secret: Option<String>,
    pub send: Authenticates,
    pub scopes: Vec<String>,
    /// More parameters for `authorize`.
    pub params: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Authorization code, always with PKCE.
    Code,
    Device,
    ClientCredentials,
}

/// How the client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticates {
    Basic,
    Form,
    /// It has no secret.
    None,
}

/// Gets tokens for one connection.
pub trait Tokens: Send + Sync {
    /// One that is good now.
    ///
    /// # Errors
    /// `not_configured` when nobody has agreed yet, `auth` when the consent is gone.
    fn access(&self) -> BoxFuture<'_, Result<String>>;

    /// The service does not take this one any more: the next is another.
    fn refused<'a>(&'a self, token: &'a str) -> BoxFuture<'a, ()>;
}
