//! Folders of integrations, through the front door: real Python in a root, requests in, answers out.

mod acting;
mod card;
mod deliveries;
mod faults;
mod helpers;
mod living;
mod path;
mod places;
mod routes;
mod world;
