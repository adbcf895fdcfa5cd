//! What `IntegrationMeta` says of a service: how people are shown there, what its places are called, how they are answered.

use crate::{
    call::{Part, Risk},
    description::{Description, Meta},
    worker::Supervisor,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tercel_sdk::{Handler, Host, Target};

type Parts = Arc<[(Meta, Part)]>;

/// Of the one whose dispatch type the target of the call has, else of the first.
pub fn user_attribution(described: &Description, worker: &Supervisor) -> Option<Handler> {
    let parts = parts(described, worker, "user_attribution", |meta| meta.user_attribution)?;
    Some(Arc::new(move |host, call| {
        let part = of_target(&parts, &host).clone();
        Box::pin(async move { part.call(&host, &call.json).await })
    }))
}

pub fn display_names(described: &Description, worker: &Supervisor) -> Option<Handler> {
    let parts = parts(described, worker, "resolve_display_names", |meta| meta.resolve_display_names)?;
    Some(Arc::new(move |host, call| {
        let parts = parts.clone();
        Box::pin(async move {
            let places: Vec<String> = serde_json::from_value(call.json)?;
            let mut names = Map::new();
            for (meta, part) in parts.iter() {
                let of_it = |place: &&String| of_place(&parts, place).is_some_and(|(owner, _)| owner == meta);
                let own: Vec<&String> = places.iter().filter(of_it).collect();
                if own.is_empty() {
                    continue;
                }
                if let Value::Object(found) = part.call(&host, &json!(own)).await? {
                    names.extend(found);
                }
            }
            Ok(Value::Object(names))
        })
    }))
}

pub fn place_target(described: &Description, worker: &Supervisor) -> Option<Handler> {
    let parts = parts(described, worker, "resolve_dispatch_config", |meta| meta.resolve_dispatch_config)?;
    Some(Arc::new(move |host, call| {
        let parts = parts.clone();
        Box::pin(async move {
            let place: String = serde_json::from_value(call.json)?;
            let Some((meta, part)) = of_place(&parts, &place) else { return Ok(Value::Null) };
            let Value::Object(mut config) = part.call(&host, &json!({ "client_id": place })).await? else {
                return Ok(Value::Null);
            };
            let kind = config.shift_remove("type").and_then(|kind| Some(kind.as_str()?.to_owned()));
            let kind = kind.unwrap_or_else(|| meta.integration_type.clone());
            Ok(serde_json::to_value(Target { config, ..Target::new(&kind, Value::Null) })?)
        })
    }))
}

fn parts(
    described: &Description,
    worker: &Supervisor,
    kind: &'static str,
    has: impl Fn(&Meta) -> bool,
) -> Option<Parts> {
    let part =
        |meta: &Meta| Part { worker: worker.clone(), kind, name: meta.integration_type.clone(), risk: Risk::None };
    let parts: Parts = described.meta.iter().filter(|meta| has(meta)).map(|meta| (meta.clone(), part(meta))).collect();
    (!parts.is_empty()).then_some(parts)
}

fn of_target<'a>(parts: &'a Parts, host: &Host) -> &'a Part {
    let kind = host.ids().target.as_ref().map(|target| target.kind.as_str());
    let of_kind = parts.iter().find(|(meta, _)| Some(meta.integration_type.as_str()) == kind);
    &of_kind.unwrap_or(&parts[0]).1
}

/// The one whose prefix says most of the place. One without a prefix has them all.
fn of_place<'a>(parts: &'a Parts, place: &str) -> Option<&'a (Meta, Part)> {
    let prefix = |meta: &Meta| meta.client_id_prefix.clone().unwrap_or_default();
    let fitting = parts.iter().filter(|(meta, _)| place.starts_with(&prefix(meta)));
    // Of several that say as much, the first.
    fitting.rev().max_by_key(|(meta, _)| prefix(meta).len())
}
