//! Manifests, from their text to what is sent and what comes of it.

mod calls;
mod dispatch;
mod events;
mod grants;
mod hooks;
mod hostile;
mod hostile_answers;
mod hostile_values;
mod panels;
mod polls;
mod schema;
mod strict;
mod sync;
mod tools;
mod webdav;
mod webhooks;

use super::{Manifest, parse};
use crate::integration::without_code;
use std::sync::Arc;
use tercel_sdk::{
    Integration,
    testing::{self, Bench, Fake},
};

/// One of each kind.
const SAMPLES: [&str; 5] = [tools::SEARCH, events::ALERTS, sync::SYNC, hooks::WATCHES, hostile::FORGE];

/// A manifest of `forge`, with the beginning that all have.
fn text(rest: &str) -> String {
    format!("schema: 1\nname: forge\n{rest}")
}

#[track_caller]
fn manifest(rest: &str) -> Manifest {
    match parse("forge", &text(rest), false) {
        Ok(manifest) => manifest,
        Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

#[track_caller]
fn made(rest: &str) -> Integration {
    let manifest = manifest(rest);
    let (mut made, problems) = without_code("forge", &manifest.description, std::path::Path::new("/nowhere"));
    assert_eq!(problems, []);
    manifest.parts.put_into(&mut made);
    made
}

/// An integration and the service that it calls.
#[track_caller]
fn bench(rest: &str) -> (Bench, Arc<Fake>) {
    let fake = Fake::new();
    (testing::check(made(rest)).world(&fake), fake)
}

/// Everything that is wrong with a manifest.
#[track_caller]
fn wrong(rest: &str) -> String {
    match parse("forge", &text(rest), false) {
        Ok(_) => panic!("nothing is wrong with it"),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}
