//! Folders as they run: real workers in Python and Node, confined by the real program.

mod environments;
mod faults;
mod life;
mod node;
mod parts;
mod processes;
mod routes;
mod world;
