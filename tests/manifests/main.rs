//! Integrations that are a manifest and nothing else.

mod discord;
mod examples;
mod inbox;
mod ntfy;
mod phone;
mod recording;
mod registering;
mod telegram;
mod tokens;
mod world;
