//! What the store promises, through its public API.

mod accepting;
mod attachments;
mod documents;
mod duplicates;
mod faults;
mod fences;
mod interleaving;
mod leaving;
mod postgres_away;
mod postgres_opening;
mod runs;
mod schemas;
mod small_tables;
mod world;
