//! The contract between Tercel and an integration: what an integration is made of, what it is given, what it may answer.
//!
//! An [`Integration`] is a value made of parts. A part is a plain function whose first argument is anything that can be
//! made from [`Host`], and whose failure is an [`Error`].

pub mod chat;
pub mod dispatch;
pub mod erased;
pub mod error;
pub mod field;
pub mod grant;
pub mod hook;
pub mod host;
pub mod http;
pub mod inbound;
pub mod integration;
pub mod jwt;
pub mod poll;
pub mod process;
pub mod quality;
pub mod rate;
pub mod routes;
pub mod signature;
pub mod skill;
pub mod sync;
pub mod testing;
pub mod text;
pub mod tool;
pub mod xml;

pub use dispatch::{Approval, Dispatcher, Outbound, Receipt, Target, dispatcher};
pub use erased::{Call, Handler};
pub use error::{Error, Kind, Result};
pub use field::Field;
pub use host::{FromHost, Host, Mode, Trust};
pub use inbound::{Brief, Cooldown, Dedupe, Event, Inbound, Merge, Outcome, Received, Refusal, Reply, Signed};
pub use integration::{Checked, Depth, Integration, Revoked, User};
pub use poll::{Cursor, Gap, Missed, News, Polled};
pub use process::Process;
pub use routes::{Route, Routes, Verify};
pub use signature::Scheme;
pub use skill::Skill;
pub use sync::{Push, Pushed, syncs};
pub use tool::{Effect, Tool, destroys, reads, writes};
