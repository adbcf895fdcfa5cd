//! The integrations that ship with Tercel and are written in Rust: two lines for each.

use tercel_sdk::Integration;

mod github;

pub fn all() -> Vec<Integration> {
    vec![github::integration()]
}
