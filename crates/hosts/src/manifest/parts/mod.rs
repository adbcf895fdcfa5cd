//! The parts that a manifest describes: each is compiled first, and can be called then.

mod dispatch;
mod event;
mod grant;
mod hook;
mod inbound;
mod markdown;
mod panel;
mod poll;
mod schema;
mod service;
mod sync;
mod test;
mod tool;
mod verify;

use panel::Panels;
pub use tool::effect;

use super::{compile::Compiler, keys::Keys};
use crate::Problem;
use std::{collections::BTreeMap, sync::Arc};
use tercel_sdk::{
    Dispatcher, Handler, Integration, Verify, grant::Grants, hook::Hook, inbound::Webhook, poll::Poll, sync::Part,
    tool::Tool,
};

/// Everything of a manifest that needs no code.
#[derive(Clone, Default)]
pub struct Parts {
    pub connector: Option<Handler>,
    pub grant: Option<Grants>,
    pub dispatcher: Option<Dispatcher>,
    pub tools: Vec<Tool>,
    pub webhook: Option<Webhook>,
    pub missed: Option<Handler>,
    pub polls: Vec<Poll>,
    pub sync: Option<Part>,
    pub hooks: Vec<Hook>,
    pub panels: Option<Panels>,
    /// Tiers that single actions need.
    pub features: BTreeMap<String, String>,
    /// How code that is given what came knows that it was verified.
    pub verify: Option<Verify>,
    /// Why nobody checks who sends.
    pub unchecked: Option<String>,
}

/// Compiles the parts.
///
/// # Errors
/// Everything that is wrong with them.
pub fn compile(id: &str, keys: &Keys, has_code: bool) -> Result<Parts, Vec<Problem>> {
    let mut compiler = Compiler::new(id, keys);
    let c = &mut compiler;
    let half = service::compile(c);
    let grant = grant::compile(c);
    let test = test::compile(c);
    let dispatch = dispatch::compile(c);
    let tools = tool::compile(c, has_code);
    let verify = verify::compile(c);
    let (webhook, polls) = event::compile(c, has_code);
    let sync = sync::compile(c);
    let hooks = hook::compile(c);
    let panels = panel::compile(c, has_code);
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    let service = Arc::new(half.with(compiler));
    let unchecked = verify.as_ref().and_then(verify::Check::unchecked);
    let mut parts = Parts {
        connector: test.map(|test| test::part(service.clone(), test)),
        grant: grant.map(|grant| grant::part(service.clone(), grant)),
        dispatcher: dispatch.map(|dispatch| dispatch::part(service.clone(), dispatch)),
        tools: tools.into_iter().map(|tool| tool::part(service.clone(), tool)).collect(),
        polls: polls.into_iter().map(|poll| poll::part(service.clone(), poll)).collect(),
        sync: sync.map(|sync| sync::part(service.clone(), sync)),
        hooks: hooks.into_iter().map(|hook| hook::part(service.clone(), hook)).collect(),
        panels: (!panels.is_empty()).then(|| Panels::new(service.clone(), panels)),
        features: keys.features.iter().map(|(name, tier)| (name.clone(), tier.as_str().to_owned())).collect(),
        unchecked,
        ..Parts::default()
    };
    match (webhook, verify) {
        (Some(webhook), Some(verify)) => {
            let webhook = Arc::new(webhook);
            parts.missed = inbound::missed(&service, &webhook);
            parts.webhook = Some(inbound::part(service, webhook, verify));
        }
        (None, Some(verify)) => parts.verify = verify.for_code(),
        _ => {}
    }
    Ok(parts)
}

impl Parts {
    /// Puts the parts into an integration, beside those of its code.
    pub fn put_into(&self, made: &mut Integration) {
        if self.grant.is_some() {
            made.grant.clone_from(&self.grant);
        }
        made.features.extend(self.features.clone());
        if self.connector.is_some() {
            made.connector.clone_from(&self.connector);
        }
        if let Some(dispatcher) = &self.dispatcher {
            made.dispatchers.insert(made.name.clone(), dispatcher.clone());
        }
        let own: BTreeMap<&str, &Tool> = self.tools.iter().map(|tool| (tool.name.as_str(), tool)).collect();
        made.tools.retain(|tool| !own.contains_key(tool.name.as_str()));
        made.tools.extend(self.tools.iter().cloned());
        made.polls.extend(self.polls.iter().cloned());
        made.hooks.extend(self.hooks.iter().cloned());
        if self.webhook.is_some() {
            made.webhook.clone_from(&self.webhook);
        }
        if self.missed.is_some() {
            made.missed.clone_from(&self.missed);
        }
        if let Some(panels) = &self.panels {
            made.routes = Some(panels.before(made.routes.take()));
        }
        if self.sync.is_some() {
            made.sync.clone_from(&self.sync);
        }
    }
}
