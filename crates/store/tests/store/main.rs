//! What the store promises, through its public API.

mod accepting;
mod documents;
mod duplicates;
mod faults;
mod fences;
mod interleaving;
mod leaving;
mod runs;
mod small_tables;
mod world;
