//! Folders of integrations, through the front door: real Python in a root, requests in, answers out.

mod acting;
mod deliveries;
mod faults;
mod living;
mod path;
mod places;
mod routes;
mod world;
