//! The program: HTTP in, agent runs, HTTP out.

pub mod api;
pub mod app;
pub mod attachments;
pub mod bot;
pub mod catalog;
pub mod ceilings;
pub mod channel;
pub mod cli;
pub mod config;
pub mod connection;
pub mod disk;
pub mod hooks;
pub mod inject;
pub mod live;
pub mod mirror;
pub mod outbound;
pub mod outbox;
pub mod part;
pub mod queue;
pub mod redact;
pub mod runner;
pub mod serve;
pub mod speech;
pub mod telemetry;
pub mod trace;
pub mod webhook;
