//! What happens when a part of an integration, a stored row or the moment is bad: nothing is lost, nothing happens twice,
//! and it is said why.

mod asking;
mod busy;
mod capacity;
mod chat;
mod clock;
mod connections;
mod dispatchers;
mod hooks;
mod mentions;
mod order;
mod repeated;
mod restarts;
mod syncs;
mod tiers;
mod tools;
mod webhooks;
mod world;
