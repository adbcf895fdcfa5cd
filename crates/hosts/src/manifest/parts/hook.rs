//! Requests that are made when something happens in a run.

use crate::manifest::{
    call::{Action, Shared},
    compile::{Attempts, Compiler},
    keys,
    template::{Expression, value},
};
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::{
    Host, Result,
    hook::{self, Watches},
};

const CONTEXT: [&str; 5] = ["bot_id", "session_id", "channel_id", "client_id", "correlation_id"];
/// It is asked for an answer, which no request has.
const ASKS: &str = "before_transcription";

pub struct Hook {
    event: &'static str,
    watches: Watches,
    when: Option<Expression>,
    action: Action,
}

pub fn compile(c: &mut Compiler) -> Vec<Hook> {
    let target = c.keys.dispatch.iter().flat_map(|dispatch| &dispatch.target.0);
    let target: Vec<String> = target.map(|(name, _)| name.clone()).collect();
    let names = c.names().any("event").only("context", CONTEXT).only("target", target);
    let mut hooks = Vec::new();
    for keys in &c.keys.hooks {
        let known = hook::NAMES.iter().copied().filter(|name| *name != ASKS);
        let Some(event) = known.clone().find(|name| *name == keys.on.value) else {
            let near = keys::nearest(&keys.on.value, known);
            let meant = near.map_or_else(String::new, |near| format!("; is `{near}` meant?"));
            c.wrong(keys.on.at, format!("There is no event `{}`{meant}", keys.on.value));
            continue;
        };
        let Some(request) = keys.request() else {
            c.wrong(keys.on.at, "A hook needs a request: what is asked for when it happens");
            continue;
        };
        let when = c.maybe(keys.when.as_ref(), &names);
        let action = c.action(&request, &names, Attempts::One);
        hooks.extend(action.map(|action| Hook { event, watches: keys.runs.into(), when, action }));
    }
    hooks
}

pub fn part(service: Shared, hook: Hook) -> hook::Hook {
    let (event, watches, hook) = (hook.event, hook.watches, Arc::new(hook));
    let handler = move |host: Host, call: tercel_sdk::Call| {
        let (service, hook) = (service.clone(), hook.clone());
        let told: futures::future::BoxFuture<'static, Result<Value>> =
            Box::pin(async move { hook.tell(&service, &host, call.json).await });
        told
    };
    hook::Hook { event, watches, handler: Arc::new(handler) }
}

impl Hook {
    async fn tell(&self, service: &Shared, host: &Host, told: Value) -> Result<Value> {
        let (context, event) = hook::split(told);
        // The target of another integration is none of ours.
        let own = host.ids().target.as_ref().filter(|target| target.kind == host.integration());
        let target = Value::Object(own.map(|target| target.config.clone()).unwrap_or_default());
        let mut scope = service
            .scope(host)
            .with("event", value(&Value::Object(event)))
            .with("context", value(&context))
            .with("target", value(&target));
        if let Some(when) = &self.when
            && !service.engine.holds(when, &scope)?
        {
            return Ok(Value::Null);
        }
        service.act(host, &self.action, &mut scope, &Default::default()).await?;
        Ok(Value::Null)
    }
}
