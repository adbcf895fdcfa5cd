//! Tools that an agent can call.

use crate::{FromHost, Handler, Result, chat::ToolSpec, erased::erase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::future::Future;

/// What calling a tool changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing: may be repeated, and is allowed in runs with untrusted text.
    Read,
    #[default]
    Write,
    /// Something is gone afterwards: always asked for.
    Destroy,
}

#[derive(Clone)]
pub struct Tool {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
    pub effect: Effect,
    /// Somebody said what the effect is. Otherwise it is taken to be a write.
    pub declared: bool,
    /// A repetition does no harm, though it is not a read.
    pub idempotent: bool,
    pub handler: Handler,
}

impl Tool {
    /// As a model sees it.
    pub fn spec(&self) -> ToolSpec {
        ToolSpec { name: self.name.clone(), description: self.description.clone(), parameters: self.parameters.clone() }
    }

    /// Whether a call that was started and never finished may be made again.
    pub fn may_repeat(&self) -> bool {
        self.effect == Effect::Read || self.idempotent
    }
}

/// A tool without its name. The schema and the description come from the argument type and its docs.
pub struct Unnamed {
    effect: Effect,
    idempotent: bool,
    schema: Value,
    handler: Handler,
}

/// A tool that changes nothing.
pub fn reads<H, A, T, F, Fut>(function: F) -> Unnamed
where
    H: FromHost,
    A: DeserializeOwned + JsonSchema + Send + 'static,
    T: Serialize,
    F: Fn(H, A) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    unnamed(Effect::Read, function)
}

/// A tool that changes something.
pub fn writes<H, A, T, F, Fut>(function: F) -> Unnamed
where
    H: FromHost,
    A: DeserializeOwned + JsonSchema + Send + 'static,
    T: Serialize,
    F: Fn(H, A) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    unnamed(Effect::Write, function)
}

/// A tool after which something is gone.
pub fn destroys<H, A, T, F, Fut>(function: F) -> Unnamed
where
    H: FromHost,
    A: DeserializeOwned + JsonSchema + Send + 'static,
    T: Serialize,
    F: Fn(H, A) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    unnamed(Effect::Destroy, function)
}

fn unnamed<H, A, T, F, Fut>(effect: Effect, function: F) -> Unnamed
where
    H: FromHost,
    A: DeserializeOwned + JsonSchema + Send + 'static,
    T: Serialize,
    F: Fn(H, A) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    Unnamed { effect, idempotent: false, schema: schemars::schema_for!(A).to_value(), handler: erase(function) }
}

impl Unnamed {
    /// Says that a repetition of the same call does no harm.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    pub(crate) fn named(self, name: &str) -> Tool {
        let mut parameters = self.schema;
        let mut description = String::new();
        if let Some(schema) = parameters.as_object_mut() {
            schema.remove("$schema");
            schema.remove("title");
            if let Some(Value::String(text)) = schema.remove("description") {
                description = text;
            }
        }
        Tool {
            name: name.into(),
            description,
            parameters,
            effect: self.effect,
            declared: true,
            idempotent: self.idempotent,
            handler: self.handler,
        }
    }
}
