//! Confinement: a process of an integration sees its own files, reaches what it may, and hurts nobody else.
//!
//! The server writes down what shall be started and starts itself anew, as [`SUBCOMMAND`]. That process gives up, in
//! this order, descriptors, terminal, resources, its user, files and ports, system calls, and becomes the program.
//! Nothing of it needs a namespace, so it holds in containers too. What a kernel has not got is left out and said by
//! [`Abilities`].

mod abilities;
mod cgroup;
mod command;
mod exec;
mod files;
mod identity;
mod interpreter;
mod order;
mod policy;
mod running;
mod spawner;
mod system_calls;

pub use abilities::Abilities;
pub use cgroup::Group;
pub use command::{Command, SUBCOMMAND, Sandbox};
pub(crate) use exec::close_all_but;
pub use exec::{FAILED, exec};
pub use interpreter::{Interpreter, python};
pub use policy::{Identity, Limits, Network, Policy};
pub use running::Running;
