//! What a confined process cannot do, tried from inside: a real Python, a real kernel.

mod ending;
mod files;
mod groups;
mod limits;
mod network;
mod starting;
mod system_calls;
mod world;
