//! Folders of integrations, through the front door: real Python in a root, requests in, answers out.

mod acting;
mod canary;
mod card;
mod connectors;
mod deliveries;
mod environments;
mod faults;
mod helpers;
mod hooks;
mod living;
mod path;
mod places;
mod routes;
mod syncing;
mod world;
