//! The world of a whole-program test: a server as users start it, and everything it talks to, on loopback.
//!
//! Tests are plain functions without `async`: what has to run meanwhile runs on a runtime of the harness.

pub mod anthropic;
pub mod cli;
pub mod client;
pub mod disk;
pub mod engine;
pub mod environments;
pub mod events;
pub mod github;
pub mod life;
pub mod loopback;
pub mod model;
pub mod options;
pub mod postgres;
pub mod python;
pub mod receiver;
pub mod server;
pub mod stream;
pub mod tree;
pub mod wait;
pub mod wire;

pub use anthropic::FakeAnthropic;
pub use client::{Answer, Client};
pub use engine::Engine;
pub use events::Event;
pub use github::FakeGitHub;
pub use life::Life;
pub use model::{Asked, FakeModel, Turn};
pub use options::{Options, fetching};
pub use receiver::Receiver;
pub use server::Server;
pub use stream::{EventStream, Heard, shown};
pub use wait::until;

use std::sync::LazyLock;
use tokio::runtime::Runtime;

/// Where the fakes and the clients run.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // reqwest is built without a provider of its own; an error means that another caller was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// A server with a scripted model and a scripted GitHub.
pub struct World {
    pub server: Server,
    pub github: FakeGitHub,
    pub model: FakeModel,
}

impl World {
    pub fn start() -> Self {
        Self::start_with(|options| options)
    }

    pub fn start_with(change: impl FnOnce(Options) -> Options) -> Self {
        let github = FakeGitHub::start();
        let model = FakeModel::start();
        let server = Server::start(change(Options::new().github(&github).model(&model)));
        Self { server, github, model }
    }
}
