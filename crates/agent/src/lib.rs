//! What an agent run does next, as a pure function of its committed steps.
//!
//! [`next()`] looks at a [`Run`] and says what to do; whoever runs it does that, commits the result as a [`Step`] and asks
//! again. Going on after a crash is the same call with a higher attempt. Nothing here has a clock, a database or a socket.

pub mod arguments;
mod bounds;
mod calls;
mod coerce;
pub mod context;
mod fallback;
pub mod fence;
mod history;
pub mod limits;
mod nearest;
mod next;
pub mod policy;
mod repeats;
pub mod run;
mod started;
mod transcript;

pub use calls::reads_untrusted;
pub use context::{Parts, Past, assemble, skill_tags};
pub use fallback::awaited;
pub use limits::Limits;
pub use nearest::nearest;
pub use next::{next, tools_used};
pub use run::{Action, Committed, Finish, Next, Offered, Picture, Planned, Run, Step, ToolOutput};
pub use started::started;
