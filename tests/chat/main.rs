//! Talking to a bot: in one call, over a stream, with files, sound and tools of the client's own.

mod attachments;
mod client_tools;
mod mirror;
mod pictures;
mod speech;
mod streams;
mod talk;
