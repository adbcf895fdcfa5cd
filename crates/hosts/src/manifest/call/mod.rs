//! Calling the service: from an action to an answer.

mod action;
mod address;
pub mod answer;
mod auth;
mod pages;
mod send;

pub use action::{Action, Body};
pub use address::{Address, Start};
pub use answer::Answer;
pub use auth::Auth;
pub use pages::{Into, Pages};

use super::{
    keys::Per,
    template::{Engine, Expression, Scope, Shape, Template, Value, Vault, json},
};
use hosts::Hosts;
use http::HeaderName;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tercel_sdk::{
    Error, Field, Host, Kind, Result,
    field::FieldType,
    rate::{Limiter, Rate},
};

pub mod hosts;
pub mod moment;

/// The service of one integration, and how it is called.
pub struct Service {
    pub engine: Engine,
    pub fields: Vec<Field>,
    pub base: Option<Address>,
    pub auth: Option<Auth>,
    pub headers: Vec<(HeaderName, Shape)>,
    pub rate: Option<Rate>,
    pub per: Per,
    pub turns: Limiter,
    pub timeout: Option<Duration>,
    pub failures: Vec<Failure>,
    pub hosts: Hosts,
}

/// What a failure means.
pub struct Failure {
    pub when: Expression,
    pub meaning: Meaning,
    pub retry_after: Option<Expression>,
}

#[derive(Debug, Clone)]
pub struct Meaning {
    pub kind: Kind,
    /// Instead of what the service said.
    pub message: Option<Template>,
    pub hint: Option<String>,
}

impl Service {
    /// The names that every text can use.
    pub fn scope(&self, host: &Host) -> Scope {
        let mut fields = BTreeMap::new();
        for field in self.fields.iter().filter(|field| !field.secret) {
            fields.extend(host.optional(&field.key).map(|value| (field.key.clone(), typed(field, value))));
        }
        let connection = [
            ("name", Value::from(host.connection())),
            ("account", host.account().map_or(Value::UNDEFINED, Value::from)),
        ];
        Scope::default()
            .with("now", moment::now())
            .with("fields", Value::from_pairs(fields))
            .with("connection", Value::from_pairs(connection))
    }

    pub fn vault(&self, host: &Host) -> Vault {
        let secrets = self.fields.iter().filter(|field| field.secret);
        let values = secrets.filter_map(|field| Some((field.key.clone(), host.optional(&field.key)?.to_owned())));
        Vault::new(values.collect())
    }

    /// A value that is made of an answer; the answer has to be what it is read as.
    pub fn pick(&self, expression: &Expression, scope: &Scope, answer: &Answer) -> Result<Value> {
        answer.must_be(expression.reads)?;
        self.engine.eval(expression, scope)
    }

    /// The items of an answer.
    pub fn items(&self, expression: &Expression, scope: &Scope, answer: &Answer) -> Result<Vec<Value>> {
        let value = self.pick(expression, scope, answer)?;
        if value.is_undefined() || value.is_none() {
            return Ok(Vec::new());
        }
        match json(&value)? {
            serde_json::Value::Array(_) => Ok(value.try_iter().map_err(no_list)?.collect()),
            _ => Err(Error::schema("`items` of the manifest found something that is no list")),
        }
    }
}

fn no_list(error: minijinja::Error) -> Error {
    Error::schema(format!("`items` of the manifest found no list: {error}"))
}

fn typed(field: &Field, value: &str) -> Value {
    match field.kind {
        FieldType::Number => match (value.trim().parse::<i64>(), value.trim().parse::<f64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(number)) => number.into(),
            _ => value.into(),
        },
        FieldType::Checkbox => matches!(value, "true" | "1" | "on" | "yes").into(),
        _ => value.into(),
    }
}

pub type Shared = Arc<Service>;
