//! Addresses that are filled in: a value never leads to another place than the manifest says.

use super::Service;
use crate::manifest::template::{Encoding, Expression, Scope, Template, Vault, is_dotted};
use tercel_sdk::{Error, Host, Result};
use url::Url;

/// An address of a manifest.
#[derive(Debug, Clone)]
pub struct Address {
    pub start: Start,
    /// What follows: empty, or begins with `/` or `?`.
    pub rest: Option<Template>,
}

/// Where an address begins. Only what the operator or the writer of the manifest said decides about the host.
#[derive(Debug, Clone)]
pub enum Start {
    /// `http.base`
    Base,
    /// Written out: `https://api.example`.
    Written(String),
    /// The value of a field.
    Field(String),
    /// `http.base` itself, made of fields.
    Whole(Template),
    /// An address out of an answer: its host has to be one that the integration has anyway.
    Found(Expression),
}

impl Service {
    /// The address, with the secrets that are in it.
    pub fn address(&self, host: &Host, address: &Address, scope: &Scope, vault: &Vault) -> Result<Url> {
        let start = match &address.start {
            Start::Base => match &self.base {
                Some(base) => self.address(host, base, scope, vault)?.into(),
                None => return Err(Error::schema("The manifest has no `http.base` for its paths")),
            },
            _ => self.start(host, address, scope, vault)?,
        };
        let rest = match &address.rest {
            Some(rest) => vault.reveal(&self.engine.render(rest, scope)?, Encoding::Segment)?.0,
            None => String::new(),
        };
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        if path.split('/').any(is_dotted) {
            return Err(Error::schema("A value of this address would lead to another one: `.` and `..` are no names"));
        }
        let joined = match rest.is_empty() {
            true => start,
            false => format!("{}{rest}", start.trim_end_matches('/')),
        };
        parse(&joined)
    }

    fn start(&self, host: &Host, address: &Address, scope: &Scope, vault: &Vault) -> Result<String> {
        match &address.start {
            Start::Base => Err(Error::schema("`http.base` cannot be its own beginning")),
            Start::Written(text) => Ok(text.clone()),
            Start::Field(key) => Ok(host.field(key)?.trim().to_owned()),
            Start::Whole(template) => {
                Ok(vault.reveal(&self.engine.render(template, scope)?, Encoding::None)?.0.trim().to_owned())
            }
            Start::Found(expression) => self
                .engine
                .text_of(expression, scope)?
                .ok_or_else(|| Error::schema("The address that this request is made to is missing")),
        }
    }
}

/// The text may hold a secret: it is not repeated.
pub fn parse(text: &str) -> Result<Url> {
    let url = Url::parse(text)
        .map_err(|error| Error::schema(format!("What is made of the manifest is no address: {error}")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(Error::schema(format!("An address begins with https:// or http://, and not with {other}:"))),
    }
}
