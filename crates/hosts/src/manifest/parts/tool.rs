//! Tools that agents call.

use super::schema::{self, Object};
use crate::manifest::{
    call::{Action, Pages, Shared},
    compile::{Attempts, Compiler},
    keys,
    template::{Expression, Shape, json, value},
};
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::{Effect, Error, Host, Result};
use uuid::Uuid;

pub struct Tool {
    name: String,
    description: String,
    effect: Effect,
    declared: bool,
    arguments: Object,
    action: Action,
    items: Option<Expression>,
    pages: Option<Pages>,
    item: Option<Vec<(String, Shape)>>,
    result: Option<Expression>,
}

/// Those that have a request; the others are the code's.
pub fn compile(c: &mut Compiler, has_code: bool) -> Vec<Tool> {
    let mut tools = Vec::new();
    let mut seen = Vec::new();
    for tool in &c.keys.tools {
        let prefix = format!("{}_", c.id);
        if !tool.name.value.starts_with(&prefix) {
            c.wrong(tool.name.at, format!("The name of a tool begins with the integration's: `{prefix}…`"));
        }
        if seen.contains(&&tool.name.value) {
            c.wrong(tool.name.at, format!("There are two tools `{}`", tool.name.value));
        }
        seen.push(&tool.name.value);
        match tool.request() {
            Some(request) => tools.extend(one(c, tool, &request)),
            None if has_code => {}
            None => c.wrong(tool.name.at, "A tool needs a request: there is no code"),
        }
    }
    tools
}

fn one(c: &mut Compiler, tool: &keys::Tool, request: &keys::Request) -> Option<Tool> {
    let arguments = schema::compile(c, "argument", &tool.args, None)?;
    let names = c.names().only("args", arguments.names()).any("key");
    let action = c.action(request, &names, Attempts::Several)?;
    if tool.idempotent {
        c.wrong(tool.name.at, "`idempotent` is for code; a request says it by `idempotency`, the header for it");
    }
    let answered = names.answered().only("before", action.before.iter().map(|(name, _)| name.clone()));
    if (tool.pages.is_some() || tool.item.is_some()) && tool.items.is_none() {
        c.wrong(tool.name.at, "`pages` and `item` need `items`: the list that they are of");
    }
    let inside = answered.clone().without("secrets").any("item");
    let effect = tool.effect.map(effect);
    Some(Tool {
        name: tool.name.value.clone(),
        description: tool.description.clone(),
        declared: effect.is_some(),
        effect: effect.unwrap_or_default(),
        items: c.maybe(tool.items.as_ref(), &answered),
        pages: c.pages(tool.pages.as_ref(), &answered, Some(&action)),
        item: tool.item.as_ref().map(|item| c.entries(item, &inside)),
        result: c.maybe(tool.result.as_ref(), &answered.any("items")),
        arguments,
        action,
    })
}

pub fn effect(effect: keys::Effect) -> Effect {
    match effect {
        keys::Effect::Read => Effect::Read,
        keys::Effect::Write => Effect::Write,
        keys::Effect::Destroy => Effect::Destroy,
    }
}

pub fn part(service: Shared, tool: Tool) -> tercel_sdk::Tool {
    let tool = Arc::new(tool);
    tercel_sdk::Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.arguments.schema.clone(),
        effect: tool.effect,
        declared: tool.declared,
        idempotent: tool.action.idempotency.is_some(),
        handler: Arc::new(move |host, call| {
            let (service, tool) = (service.clone(), tool.clone());
            Box::pin(async move { tool.call(&service, &host, call.json).await })
        }),
    }
}

impl Tool {
    async fn call(&self, service: &Shared, host: &Host, given: Value) -> Result<Value> {
        // As one word that can stand in an address.
        let named = |key: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes());
        let key = host.idempotency_key().map_or_else(|| host.call(), named).to_string();
        let mut scope = service.scope(host).with("key", key);
        let mut given = match given {
            Value::Object(map) => map,
            Value::Null => Default::default(),
            _ => return Err(Error::schema("The arguments of a tool are an object")),
        };
        self.arguments.complete(&service.engine, &mut given, &scope)?;
        let given = Value::Object(given);
        self.arguments.check("An argument", &given)?;
        scope.set("args", value(&given));
        let paged = service.list(host, &self.action, self.items.as_ref(), self.pages.as_ref(), &mut scope).await?;
        if self.items.is_some() {
            let shown = |item: minijinja::Value| match &self.item {
                Some(shape) => {
                    let filled = service.engine.fill_map(shape, &scope.clone().with("item", item))?;
                    Ok(value(&filled.into()))
                }
                None => Ok(item),
            };
            let items = paged.items.into_iter().map(shown).collect::<Result<Vec<_>>>()?;
            scope.set("items", items.into_iter().collect::<minijinja::Value>());
        }
        match (&self.result, &self.items) {
            (Some(result), _) => json(&service.pick(result, &scope, &paged.answer)?),
            (None, Some(_)) => json(scope.get("items").unwrap_or(&minijinja::Value::UNDEFINED)),
            (None, None) => {
                let response = paged.answer.response();
                Ok(serde_json::from_slice(&response.body).unwrap_or_else(|_| response.text().into()))
            }
        }
    }
}
