//! Integrations that are a manifest and nothing else.

mod caldav;
mod clocks;
mod consent;
mod device;
mod discord;
mod dying;
mod examples;
mod failures;
mod growing;
mod home_assistant;
mod inbox;
mod meanwhile;
mod nextcloud;
mod ntfy;
mod phone;
mod provider;
mod pushing;
mod real;
mod recording;
mod registering;
mod replaced;
mod slack;
mod telegram;
mod tokens;
mod waiting;
mod world;
