//! Names: of who typed at the server, and of the places that client ids mean.

use crate::{
    call::{Part, Risk},
    description::{Description, Meta},
    worker::Supervisor,
};
use std::sync::Arc;
use tercel_sdk::Handler;

pub fn user_attribution(described: &Description, worker: &Supervisor) -> Option<Handler> {
    handler(described, worker, "user_attribution", |meta| meta.user_attribution)
}

pub fn display_names(described: &Description, worker: &Supervisor) -> Option<Handler> {
    handler(described, worker, "resolve_display_names", |meta| meta.resolve_display_names)
}

fn handler(
    described: &Description,
    worker: &Supervisor,
    kind: &'static str,
    has: impl Fn(&Meta) -> bool,
) -> Option<Handler> {
    let meta = described.meta.iter().find(|meta| has(meta))?;
    let part = Part { worker: worker.clone(), kind, name: meta.integration_type.clone(), risk: Risk::None };
    Some(Arc::new(move |host, call| {
        let part = part.clone();
        Box::pin(async move { part.call(&host, &call.json).await })
    }))
}
