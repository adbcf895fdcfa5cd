//! Hooks of a worker.

use crate::{
    Problem,
    call::{Part, Risk},
    description::Description,
    worker::Supervisor,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_sdk::hook::{self, Hook};

pub fn hooks(described: &Description, worker: &Supervisor, problems: &mut Vec<Problem>) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for name in &described.hooks {
        let Some(event) = hook::NAMES.iter().find(|event| *event == name) else {
            let known = hook::NAMES.join(", ");
            problems.push(Problem::new("hooks.py", format!("There is no event `{name}`; known are {known}")));
            continue;
        };
        let part = Part { worker: worker.clone(), kind: "hook", name: name.clone(), risk: Risk::None };
        hooks.push(Hook {
            event,
            watches: described.watches,
            handler: Arc::new(move |host, mut call| {
                let part = part.clone();
                Box::pin(async move {
                    let audio = call.blobs.first().map(|audio| BASE64.encode(audio));
                    // Where it happened is in the context of the call.
                    let (_, extra) = hook::split(call.json.take());
                    let mut arguments = json!({ "extra": extra });
                    if let Some(audio) = audio {
                        arguments["audio"] = Value::String(audio);
                    }
                    part.call(&host, &arguments).await
                })
            }),
        });
    }
    hooks
}
