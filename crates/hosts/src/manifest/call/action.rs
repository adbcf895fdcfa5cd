//! A request as it was compiled, and how it is put together.

use super::{Address, Answer, Meaning, Service};
use crate::manifest::template::{Encoding, Expression, Scope, Shape, Template, Vault, calendar};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderName, Method};
use serde_json::Value as Plain;
use tercel_sdk::{Error, Host, Result};
use url::{Url, form_urlencoded};

#[derive(Debug, Clone)]
pub struct Action {
    pub method: Method,
    pub address: Address,
    pub query: Vec<(String, Shape)>,
    pub headers: Vec<(HeaderName, Shape)>,
    pub body: Body,
    pub ok: Option<Expression>,
    /// What it means when that does not hold.
    pub otherwise: Option<Meaning>,
    pub before: Vec<(String, Action)>,
    /// What is looked for in the answer, for requests that are made after it.
    pub found: Option<Expression>,
    /// The header by which the service knows a repetition.
    pub idempotency: Option<HeaderName>,
    /// How often it is sent at the most, where that does no harm.
    pub attempts: u32,
}

#[derive(Debug, Clone)]
pub enum Body {
    None,
    Json(Shape),
    Form(Vec<(String, Shape)>),
    Text(Template),
    Xml(Template),
    Calendar(Template),
}

impl Action {
    /// Whether a repetition does no harm.
    pub fn is_idempotent(&self) -> bool {
        self.idempotency.is_some() || self.method.is_idempotent()
    }
}

/// A request that is complete but for who makes it. It has secrets in it.
#[derive(Clone)]
pub struct Filled {
    pub method: Method,
    pub url: Url,
    /// With whether there is a secret in the value.
    pub headers: Vec<(HeaderName, String, bool)>,
    pub body: Option<(&'static str, Bytes)>,
    pub repeatable: bool,
    pub attempts: u32,
}

/// What a page changes in the request for it.
#[derive(Debug, Clone, Default)]
pub struct Turned {
    pub query: Option<(String, String)>,
    pub json: Option<(String, Plain)>,
    pub url: Option<Url>,
}

impl Service {
    /// Makes the requests of an action, those before it first. The scope has the answer as `response` afterwards.
    pub fn act<'a>(
        &'a self,
        host: &'a Host,
        action: &'a Action,
        scope: &'a mut Scope,
        turned: &'a Turned,
    ) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let mut earlier = Vec::new();
            for (name, before) in &action.before {
                let mut own = scope.clone().with("before", minijinja::Value::from_pairs(earlier.clone()));
                let answer = self.act(host, before, &mut own, &Turned::default()).await?;
                let found = before.found.as_ref().map(|found| self.pick(found, &own, &answer)).transpose()?;
                earlier.push((name.clone(), answer.with(found).value()));
            }
            if !action.before.is_empty() {
                scope.set("before", minijinja::Value::from_pairs(earlier));
            }
            let vault = self.vault(host);
            let inside = scope.clone().with("secrets", vault.value());
            let filled = self.fill(host, action, &inside, &vault, turned)?;
            let answer = self.send(host, &filled, action, scope).await?;
            scope.set("response", answer.value());
            Ok(answer)
        })
    }

    fn fill(&self, host: &Host, action: &Action, scope: &Scope, vault: &Vault, turned: &Turned) -> Result<Filled> {
        let base = self.base.as_ref().map(|base| self.address(host, base, scope, vault)).transpose();
        let mut url = match &turned.url {
            Some(url) => url.clone(),
            None => self.address(host, &action.address, scope, vault)?,
        };
        self.check_host(host, &url, base.ok().flatten().as_ref())?;
        if turned.url.is_none() {
            self.add_query(&mut url, action, scope, vault, turned)?;
        }
        let mut filled = Filled {
            method: action.method.clone(),
            url,
            headers: Vec::new(),
            body: self.body(&action.body, scope, vault, turned)?,
            repeatable: action.idempotency.is_some(),
            attempts: action.attempts,
        };
        for (name, shape) in self.headers.iter().chain(&action.headers) {
            let Some(value) = self.engine.fill(shape, scope)? else { continue };
            let (value, secret) = vault.reveal(&plain(name.as_str(), &value)?, Encoding::None)?;
            filled.headers.retain(|(other, ..)| other != name);
            filled.headers.push((name.clone(), value, secret));
        }
        if let Some(name) = &action.idempotency {
            let key = host.idempotency_key().map_or_else(|| host.call().to_string(), str::to_owned);
            filled.headers.push((name.clone(), key, false));
        }
        Ok(filled)
    }

    fn add_query(&self, url: &mut Url, action: &Action, scope: &Scope, vault: &Vault, turned: &Turned) -> Result<()> {
        let mut pairs = Vec::new();
        for (name, shape) in &action.query {
            if turned.query.as_ref().is_some_and(|(other, _)| other == name) {
                continue;
            }
            match self.engine.fill(shape, scope)? {
                None | Some(Plain::Null) => {}
                Some(Plain::Array(list)) => {
                    for item in list.iter().filter(|item| !item.is_null()) {
                        pairs.push((name.clone(), plain(name, item)?));
                    }
                }
                Some(value) => pairs.push((name.clone(), plain(name, &value)?)),
            }
        }
        pairs.extend(turned.query.clone());
        if !pairs.is_empty() {
            let mut query = url.query_pairs_mut();
            for (name, value) in pairs {
                query.append_pair(&name, &vault.reveal(&value, Encoding::None)?.0);
            }
        }
        Ok(())
    }

    fn body(
        &self,
        body: &Body,
        scope: &Scope,
        vault: &Vault,
        turned: &Turned,
    ) -> Result<Option<(&'static str, Bytes)>> {
        Ok(Some(match body {
            Body::None if turned.json.is_none() => return Ok(None),
            Body::None => ("application/json", json_body(Plain::Null, turned)?),
            Body::Json(shape) => {
                let mut value = self.engine.fill(shape, scope)?.unwrap_or_default();
                vault.reveal_in(&mut value)?;
                ("application/json", json_body(value, turned)?)
            }
            Body::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, shape) in fields {
                    let values = match self.engine.fill(shape, scope)? {
                        None | Some(Plain::Null) => Vec::new(),
                        Some(Plain::Array(list)) => list,
                        Some(value) => vec![value],
                    };
                    for value in values {
                        form.append_pair(name, &vault.reveal(&plain(name, &value)?, Encoding::None)?.0);
                    }
                }
                ("application/x-www-form-urlencoded", form.finish().into())
            }
            Body::Text(template) => {
                let text = self.engine.render(template, scope)?;
                ("text/plain; charset=utf-8", vault.reveal(&text, Encoding::None)?.0.into())
            }
            Body::Xml(template) => {
                let xml = self.engine.render(template, scope)?;
                ("application/xml; charset=utf-8", vault.reveal(&xml, Encoding::Xml)?.0.into())
            }
            Body::Calendar(template) => {
                let lines = vault.reveal(&self.engine.render(template, scope)?, Encoding::Calendar)?.0;
                ("text/calendar; charset=utf-8", calendar::finish(&lines).into())
            }
        }))
    }
}

/// A value where only text can stand.
fn plain(name: &str, value: &Plain) -> Result<String> {
    match value {
        Plain::String(text) => Ok(text.clone()),
        Plain::Null => Ok(String::new()),
        Plain::Bool(_) | Plain::Number(_) => Ok(value.to_string()),
        Plain::Array(_) | Plain::Object(_) => {
            Err(Error::schema(format!("`{name}` would be a list or a mapping, and only text can stand there")))
        }
    }
}

fn json_body(mut value: Plain, turned: &Turned) -> Result<Bytes> {
    if let Some((key, page)) = &turned.json {
        if value.is_null() {
            value = Plain::Object(Default::default());
        }
        match value.as_object_mut() {
            Some(map) => _ = map.insert(key.clone(), page.clone()),
            None => return Err(Error::schema("Only in a mapping there is room for the next page")),
        }
    }
    Ok(serde_json::to_vec(&value)?.into())
}
