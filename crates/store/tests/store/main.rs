//! What the store promises, through its public API.

mod accepting;
mod documents;
mod duplicates;
mod faults;
mod fences;
mod interleaving;
mod leaving;
mod polls;
mod postgres_away;
mod postgres_opening;
mod retention;
mod providers;
mod runs;
mod schedules;
mod schemas;
mod small_tables;
mod snapshots;
mod world;
