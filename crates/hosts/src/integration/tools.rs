//! Tools that a worker answers.

use crate::{
    call::{Part, Risk},
    description::Description,
    worker::Supervisor,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_sdk::{Effect, Tool};

pub fn tools(described: &Description, worker: &Supervisor) -> Vec<Tool> {
    let tools = described.tools.iter().filter(|tool| !tool.name.is_empty());
    tools
        .map(|tool| {
            let effect = tool.effect.unwrap_or_default();
            let risk = if effect == Effect::Read || tool.idempotent { Risk::None } else { Risk::Effect };
            let part = Part { worker: worker.clone(), kind: "tool", name: tool.name.clone(), risk };
            let mut parameters = tool.parameters.clone();
            parameters.entry("type").or_insert_with(|| json!("object"));
            Tool {
                name: tool.name.clone(),
                description: tool.description.clone(),
                parameters: Value::Object(parameters),
                effect,
                declared: tool.effect.is_some(),
                idempotent: tool.idempotent,
                handler: Arc::new(move |host, call| {
                    let part = part.clone();
                    Box::pin(async move { part.call(&host, &call.json).await })
                }),
            }
        })
        .collect()
}
