//! Integrations that are a manifest and nothing else.

mod examples;
mod phone;
mod world;
